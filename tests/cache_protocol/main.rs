//! The protocols of the cache, checked exhaustively: purges with their stamps, journal and mirrors,
//! and fills with their leases, in every order in which the calls of two processes can reach the
//! backend, with replies and messages lost, crashes, and clocks that are set back.
//!
//! The pure parts of the layer are compiled into this test, so what is checked is what runs. A
//! step is one backend call, as each is atomic, or something that a process does by itself.
//!
//! Each model can be changed in one place of the protocol; the checker must find what that breaks.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::collapsible_match,
    clippy::enum_variant_names,
    clippy::match_same_arms,
    clippy::needless_pass_by_value,
    clippy::single_match,
    clippy::single_match_else,
    clippy::too_many_lines,
    clippy::unused_self,
    reason = "a model lists what can happen, case by case"
)]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the parts of the layer are here without those that use them"
)]

use std::{collections::BTreeSet, fmt::Debug, hash::Hash};

use stateright::{Checker, HasDiscoveries, Model};

mod backend {
    pub(crate) use tower_stash::backend::{Precondition, Version};
}

mod cache {
    mod fills;
    #[path = "../../../src/cache/protocol/mod.rs"]
    mod protocol;
    mod purges;
    #[path = "../../../src/cache/stamps/mod.rs"]
    mod stamps;
}

mod clock {
    pub(crate) use tower_stash::clock::Timestamp;

    pub(crate) type Monotonic = tokio::time::Instant;

    #[expect(
        clippy::disallowed_methods,
        reason = "an instant to count from, whichever it is"
    )]
    pub(crate) fn monotonic_now() -> Monotonic {
        Monotonic::now()
    }
}

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
