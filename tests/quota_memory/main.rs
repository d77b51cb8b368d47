//! The limits are theorems: random calls on the memory backend, against brute force and against
//! what the documentation of `Quota` promises. P1 to P26 are the properties that the
//! design of rate limits lists.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by a panic"
)]

#[path = "../support/quota_oracle.rs"]
mod quota_oracle;
#[path = "../support/stress.rs"]
mod stress;

mod bounds;
mod clock;
mod costs;
mod memory;
mod sizes;
mod table;
mod waits;
