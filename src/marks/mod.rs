//! What layers tell each other: typed extensions of requests and responses.
//!
//! No layer here knows another one. What one must tell the others, and caches and middleware of
//! yours, it puts into the extensions as one of these types.

#[cfg(feature = "cache")]
mod no_store;
#[cfg(feature = "idempotency")]
mod replayed;
#[cfg(feature = "session")]
mod session_accessed;

#[cfg(feature = "cache")]
pub use self::no_store::NoStore;
#[cfg(feature = "idempotency")]
pub use self::replayed::Replayed;
#[cfg(feature = "session")]
pub(crate) use self::session_accessed::Flag;
#[cfg(feature = "session")]
pub use self::session_accessed::SessionAccessed;
