//! What RFC 9111 and its neighbours say, without async and without a clock: each rule beside its
//! section.

mod age;
mod conditional;
mod dates;
mod directives;
mod freshness;
mod groups;
mod hygiene;
mod invalidate;
mod merge;
mod range;
mod reuse;
mod status;
mod storable;
mod structured;
mod targeted;
mod vary;
