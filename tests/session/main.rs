//! Promises of the session layer, on memory.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
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
mod limits;
mod login;
mod logout;
mod outage;
mod parallel;
mod rotation;
mod routes;
mod spy;
mod typed;
mod users;

