//! The claim protocol of the idempotency layer, checked exhaustively: every order in which the
//! calls of a few requests with one key can reach the backend, with replies lost, calls that arrive
//! late, leases that end, and records that are gone.
//!
//! A step is one backend call, as each is atomic, or the beginning or the end of a handler. A call
//! that times out stays under way and may arrive at any later step or never, which is a call lost, a
//! reply lost, and a late duplicate in one. A crash is no step: who takes no further step is dead,
//! and who takes one after its lease is a process that was stopped.
//!
//! Each model can be changed in one place of the protocol; the checker must find what that breaks.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{collections::BTreeSet, fmt::Debug, hash::Hash};

use stateright::{Checker, HasDiscoveries, Model};

mod cases;
mod forms;
mod promises;
mod protocol;
mod steps;
mod world;

/// Asserts that every property holds, in all that can happen.
fn holds<M>(model: M)
where
    M: Model<State: Checked + Hash, Action: Checked> + Send + Sync + 'static,
{
    let checked = model.checker().spawn_bfs().join();
    println!("{} states", checked.unique_state_count());
    checked.assert_properties();
}

/// Asserts that this property does not hold.
fn breaks<M>(model: M, property: &'static str)
where
    M: Model<State: Checked + Hash, Action: Checked> + Send + Sync + 'static,
{
    let checked = model
        .checker()
        .finish_when(HasDiscoveries::AnyOf(BTreeSet::from([property])))
        .spawn_bfs()
        .join();
    println!("{}", checked.assert_any_discovery(property));
}

/// What the checker owes to say how it came somewhere.
trait Checked: Clone + Debug + PartialEq + Send + Sync + 'static {}

impl<T: Clone + Debug + PartialEq + Send + Sync + 'static> Checked for T {}
