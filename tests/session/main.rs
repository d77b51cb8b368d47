//! Promises of the session layer, on memory.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::unchecked_time_subtraction,
    reason = "a test fails by panicking, and says where"
)]

mod basics;
mod caches;
mod cancel;
mod csrf;
mod exact;
mod expiry;
mod fixture;
mod flash;
mod hostile;
mod limits;
mod login;
mod logout;
mod observability;
#[path = "../support/observed.rs"]
mod observed;
mod outage;
mod parallel;
mod rotation;
mod routes;
mod spy;
mod transport;
mod typed;
mod users;

/// The layer that is tested, as metrics name it.
const LAYER: &str = "session";
