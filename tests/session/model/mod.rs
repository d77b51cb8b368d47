//! A model of sessions: requests in flight, one backend call a step, and an oracle that says at each
//! step whether that is what the promises allow.

pub(crate) mod driver;
mod oracle;
pub(crate) mod program;
mod record;
pub(crate) mod request;
pub(crate) mod stepped;
pub(crate) mod world;

/// What is wrong, in words.
type Verdict<T = ()> = Result<T, String>;

fn claim(holds: bool, otherwise: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(otherwise()) }
}
