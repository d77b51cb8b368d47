//! Schedules: requests, purges and writes at two instances whose calls to the backend fail, come late,
//! or come when nobody waits for them any more. Each is run by the real layer in virtual time, and then
//! looked at: was every promise kept?

#[path = "../../idempotency/schedules/chance.rs"]
pub(crate) mod chance;
mod line;
pub(crate) mod oracle;
mod origin;
pub(crate) mod schedule;
pub(crate) mod shrink;
pub(crate) mod stage;
#[path = "../../idempotency/schedules/time.rs"]
pub(crate) mod time;

/// What is wrong, in words.
pub(crate) type Verdict<T = ()> = Result<T, String>;
