//! The promises of the idempotency layer, on the memory backend.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and says where"
)]

mod allocations;
mod basics;
mod crashes;
mod detached;
mod fixture;
mod handle;
mod keys;
mod large;
mod late_writes;
mod leases;
mod lost_replies;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outcomes;
mod readiness;
mod renewals;
mod replays;
mod sameness;
mod schedule_runs;
mod schedules;
#[cfg(feature = "sealed-answers")]
mod sealed;
mod stacks;
#[path = "../support/stress.rs"]
mod stress;
#[path = "../support/strict.rs"]
mod strict;
mod unreadable;
mod uploads;
mod waiting;
mod work;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "idempotency";
