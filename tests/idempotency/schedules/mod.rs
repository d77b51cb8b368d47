//! Schedules: a few requests with one key, at instances whose calls to the backend fail, and which
//! die. Each is run by the real layer, and then looked at: was every promise kept?
//!
//! The backend is a parameter. In memory time is virtual, and a schedule is over in a moment.

pub(crate) mod chance;
mod instance;
mod ledger;
mod network;
pub(crate) mod oracle;
mod record;
pub(crate) mod schedule;
pub(crate) mod shrink;
pub(crate) mod stage;
pub(crate) mod time;

/// What is wrong, in words.
pub(crate) type Verdict<T = ()> = Result<T, String>;
