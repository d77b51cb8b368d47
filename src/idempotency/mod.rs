//! Runs each request with an idempotency key once, and gives its one answer to every repetition.

mod admission;
mod answer;
mod catch;
mod conduct;
mod engine;
mod execution;
mod future;
mod gather;
mod handle;
mod handler;
mod intake;
mod judge;
mod layer;
mod lease;
mod outcome;
mod problem;
mod protocol;
mod race;
mod recovery_points;
mod rooms;
mod rule;
mod run;
mod service;
mod shared;
mod steps;
mod tally;
mod tracker;

pub use self::{
    answer::{RequestBody, ResponseBody},
    execution::{CheckpointError, Execution},
    future::ResponseFuture,
    handle::IdempotencyHandle,
    intake::{KeySyntax, canonical_json},
    layer::IdempotencyLayer,
    lease::{Lease, LeaseError, Leases},
    outcome::Outcome,
    rule::{IdempotencyRule, InProgress, KeyPresence, Outage, Recovery, StorePolicy, Unrecorded},
    run::{Done, Idempotent, RunError},
    service::Idempotency,
};
