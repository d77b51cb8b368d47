//! The promises of the cache layer, on the memory backend.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and says where"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "tests measure time, most of them where it stands still"
)]
#![allow(
    clippy::len_zero,
    clippy::match_wildcard_for_single_variants,
    clippy::needless_pass_by_value,
    clippy::single_match,
    clippy::trivially_copy_pass_by_ref,
    clippy::type_complexity,
    clippy::unnecessary_wraps,
    clippy::unused_async,
    reason = "handlers and their helpers have the form that the layer asks for"
)]

mod allocations;
mod basics;
mod bodies;
mod coalescing;
mod compression;
mod early;
mod explain;
mod fixture;
mod freshness;
mod grpc;
mod limits;
mod near;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outage;
mod privacy;
mod purge;
mod purge_service;
mod readiness;
mod rig;
mod schedule_runs;
mod schedules;
mod stacks;
#[path = "../support/stress.rs"]
mod stress;
mod values;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "cache";
