//! What is read of a request before it may run.

#[cfg(feature = "testing")]
mod doorway;
pub(super) mod key_syntax;
mod structured;
