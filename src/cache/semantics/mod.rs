//! What RFC 9111 and its neighbours say, without async and without a clock: each rule beside its
//! section.

pub(in crate::cache) mod age;
mod conditional;
pub(in crate::cache) mod dates;
pub(in crate::cache) mod directives;
#[cfg(feature = "testing")]
mod doorway;
pub(in crate::cache) mod freshness;
mod groups;
mod hygiene;
mod invalidate;
mod merge;
mod not_stored;
mod range;
pub(in crate::cache) mod reuse;
mod status;
pub(in crate::cache) mod storable;
mod structured;
pub(in crate::cache) mod targeted;
mod vary;

pub use self::not_stored::NotStored;
