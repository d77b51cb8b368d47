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
#[path = "../rate_limit/http_client.rs"]
mod http_client;
mod observability;
mod outage;
mod readiness;
mod release;
mod renewal;
mod stacks;
