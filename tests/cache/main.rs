//! The promises of the cache layer, on the memory backend.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and says where"
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
