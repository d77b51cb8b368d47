//! Runs each request with an idempotency key once, and gives its one answer to every repetition.

mod answer;
mod engine;
mod intake;
mod protocol;

pub use self::answer::body::{RequestBody, ResponseBody};
