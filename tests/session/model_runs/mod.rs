//! The model of sessions at work, in memory.

mod random;
mod targeted;
mod toy;
