//! The promises of the idempotency layer, on the memory backend.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod basics;
mod fixture;
