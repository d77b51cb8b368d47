//! What RFC 9111 and its neighbours say, without async and without a clock: each rule beside its
//! section.

pub(in crate::cache) mod accept_encoding;
pub(in crate::cache) mod age;
#[cfg(feature = "testing")]
mod answer_doorway;
pub(in crate::cache) mod coding;
pub(in crate::cache) mod conditional;
pub(in crate::cache) mod dates;
pub(in crate::cache) mod directives;
#[cfg(feature = "testing")]
mod doorway;
mod entity_tag;
pub(in crate::cache) mod freshness;
pub(in crate::cache) mod groups;
pub(in crate::cache) mod hygiene;
pub(in crate::cache) mod invalidate;
mod lines;
pub(in crate::cache) mod merge;
mod not_stored;
pub(in crate::cache) mod range;
pub(in crate::cache) mod reuse;
pub(in crate::cache) mod status;
pub(in crate::cache) mod storable;
mod structured;
pub(in crate::cache) mod targeted;
pub(in crate::cache) mod vary;

pub use self::not_stored::NotStored;
