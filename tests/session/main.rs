//! Promises of the session layer, on memory.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    reason = "a test fails by panicking, and says where"
)]

mod allocations;
mod basics;
mod caches;
mod cancel;
mod csrf;
mod exact;
mod expiry;
mod fixture;
mod flash;
mod hostile;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "../support/http_client.rs"]
mod http_client;
mod limits;
mod login;
mod logout;
mod markers;
mod misuse;
mod model;
mod model_runs;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outage;
mod parallel;
mod readiness;
mod rotation;
mod routes;
mod spy;
mod stacks;
#[path = "../support/stress.rs"]
mod stress;
#[path = "../support/strict.rs"]
mod strict;
mod transport;
mod typed;
mod users;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "session";
