//! Purges: their stamps, the journal that tells every process of them, and a process's mirror of
//! both.
//!
//! A stamp says when a tag was purged last. The stamp of a purge is written first, then the purge
//! is added to the journal, then the journal is published; so who reads the journal knows of every
//! purge that has ended.

mod backend_time;
mod journal;
pub(in crate::cache) mod mirror;
mod stamp;
mod tag_map;

pub(in crate::cache) use self::{
    journal::{JOURNAL_CAPACITY, Journal},
    mirror::{Doubt, Mirror, Verdict},
    stamp::{Purge, Severity, StampRecord, StampState, Tag},
};
