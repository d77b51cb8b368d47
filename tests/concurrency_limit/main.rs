//! The concurrency limit layer in the stacks that people build, over real sockets, and what every
//! service here keeps.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod answers;
mod bounds;
mod cancellation;
mod configuration;
mod endless;
#[path = "../support/http_client.rs"]
mod http_client;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outage;
mod readiness;
mod release;
mod renewal;
mod stacks;
#[path = "../support/strict.rs"]
mod strict;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "concurrency_limit";
