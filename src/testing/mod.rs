//! Tools for tests: of your service, and of a backend of your own.
//!
//! [`ManualClock`] makes a [`MemoryBackend`](crate::backend::MemoryBackend) pass days in no time.
//! [`FaultBackend`] makes any backend fail when you say. [`conformance`] asks a backend for all that
//! the layers rely on.

mod clock;
pub mod conformance;
mod fault;

pub use self::{
    clock::ManualClock,
    fault::{Fault, FaultBackend},
};
