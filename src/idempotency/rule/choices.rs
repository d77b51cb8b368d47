//! What a rule may choose between.

use std::time::Duration;

/// What becomes of a key whose handler may have begun, and whose instance is gone.
///
/// There is no way to say "run again, and send answers that are not recorded": two requests with one
/// key could then get two answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// The next request with the key runs the handler again, which sees an
    /// [`attempt`](super::super::Execution::attempt) above one. An answer leaves only when it is
    /// recorded.
    ///
    /// For handlers whose effects can be repeated: they pass
    /// [`downstream_key`](super::super::Execution::downstream_key) on, or write under the
    /// [`fence`](super::super::Execution::fence).
    ReExecute,
    /// The handler never runs again: the next request with the key is told that nobody knows what
    /// became of the first one, until an operator [settles](super::super::IdempotencyHandle::settle) it.
    ///
    /// A claim costs one round trip more, which writes down that the handler begins.
    Never(Unrecorded),
}

/// What becomes of an answer that could not be recorded before the lease was over, where nobody runs
/// the handler again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unrecorded {
    /// The client is told that nobody knows what became of its request.
    #[default]
    Withhold,
    /// It leaves, with `Idempotency-Stored: ?0`; a repetition is told that nobody knows.
    Answer,
}

/// Whether requests need a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPresence {
    /// Those without one get 400.
    #[default]
    Required,
    /// Those without one run as if there were no rule. A malformed one is 400 all the same.
    Optional,
}

/// What becomes of a request whose key is at work elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum InProgress {
    /// It gets 409, to be sent again after what is left of the lease, or two seconds.
    #[default]
    Reject,
    /// It waits so long for the answer, and then gets 409.
    ///
    /// Those that wait for one key in one process ask as one, every 50 to 500 ms. At most 1,024
    /// wait in a process; others get 409.
    Wait(Duration),
}

/// Which answers are the last word on their key.
///
/// The handler can always say otherwise, by an [`Outcome`](super::super::Outcome).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorePolicy {
    /// All but those after which a client is expected to try again: 401, 403, 407, 408, 425, 429
    /// and 5xx; in gRPC `CANCELLED`, `UNKNOWN`, `DEADLINE_EXCEEDED`, `PERMISSION_DENIED`,
    /// `RESOURCE_EXHAUSTED`, `ABORTED`, `INTERNAL`, `UNAVAILABLE`, `DATA_LOSS`, `UNAUTHENTICATED`.
    #[default]
    Settled,
    /// All: what has run has run.
    Executed,
    /// 2xx and 3xx; in gRPC `OK`.
    SuccessOnly,
}

/// What becomes of a request while the backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// It gets 503 (gRPC: `UNAVAILABLE`) and does not run.
    #[default]
    Reject,
    /// It runs without protection, and its answer says `Idempotency-Stored: ?0`: two requests with
    /// one key may run twice.
    PassThrough,
}
