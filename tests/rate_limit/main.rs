//! The rate limit layer in the stacks that people build, over real sockets, and what every service
//! here keeps.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod allocations;
mod answers;
mod axum_stack;
mod ban;
mod bounds;
mod chain;
mod coalescing;
mod conditions;
mod configuration;
mod cost;
mod deny_cache;
mod explain;
mod fixture;
mod giving_back;
mod grpc_refund;
mod hostile;
#[path = "../support/http_client.rs"]
mod http_client;
mod hyper_stack;
mod leases;
mod limiter;
mod local_outage;
mod network;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outage;
mod readiness;
mod shadow;
#[path = "../support/stress.rs"]
mod stress;
#[path = "../support/strict.rs"]
mod strict;
mod styles;
mod tonic_stack;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "rate_limit";
