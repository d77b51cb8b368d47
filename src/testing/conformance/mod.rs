//! What every backend owes, as cases that any test harness can run.
//!
//! There is a list of cases for each capability; each case is a test with a name that says what is
//! promised. A case that fails panics, and says which promise is broken. What the cases need
//! of a backend, and how they let time pass, is a [`Fixture`] that you write:
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//! use tower_stash::{
//!     backend::MemoryBackend,
//!     clock::{Clock, Timestamp},
//!     testing::{ManualClock, conformance::{self, Fixture}},
//! };
//!
//! struct Memory {
//!     backend: MemoryBackend,
//!     clock: ManualClock,
//! }
//!
//! impl Fixture for Memory {
//!     type Backend = MemoryBackend;
//!
//!     fn backend(&self) -> &MemoryBackend {
//!         &self.backend
//!     }
//!
//!     async fn now(&self) -> Timestamp {
//!         self.clock.now()
//!     }
//!
//!     async fn pass(&self, time: Duration) {
//!         self.clock.advance(time); // a backend on real time sleeps instead
//!     }
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap().block_on(async {
//! for case in conformance::index::<Memory>() {
//!     println!("{}", case.name());
//!     let clock = ManualClock::new();
//!     let backend = MemoryBackend::new().with_clock(clock.clone());
//!     case.run(Arc::new(Memory { backend, clock })).await;
//! }
//! # });
//! ```
//!
//! In a harness that takes tests as values, such as `libtest-mimic`, each case becomes a test of
//! its own: `Trial::test(case.name(), move || Ok(runtime.block_on(case.run(fixture))))`.
//!
//! The cases run on tokio, with its time enabled; some start tasks, and those about concurrency
//! find more on a runtime with several threads. Keys are new in every run, so a server that is used
//! for other things, or by several cases at once, is no hindrance. Waits are at most 150 ms each.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a case fails by a panic, as every test does"
)]

mod broadcast;
mod index;
mod key_value;
mod quotas;
mod slots;

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

pub use self::{
    broadcast::broadcast, index::index, key_value::key_value, quotas::quotas, slots::slots,
};
use crate::{
    clock::Timestamp,
    key::{Key, KeyParts},
};

/// A backend to be tested, and its clock.
///
/// If the clock only moves when it is told to, a fixture serves one case at a time.
pub trait Fixture: Send + Sync + 'static {
    /// What is tested.
    type Backend: Send + Sync + 'static;

    /// The backend.
    fn backend(&self) -> &Self::Backend;

    /// Reads the backend's clock; the version of a fresh record will do
    /// ([`Version::written_at`](crate::backend::Version::written_at)).
    fn now(&self) -> impl Future<Output = Timestamp> + Send;

    /// Lets this much time, or a little more, pass on the backend's clock.
    fn pass(&self, time: Duration) -> impl Future<Output = ()> + Send;
}

/// One promise of a backend, and how it is tested.
pub struct Case<F> {
    name: &'static str,
    test: fn(Scene<F>) -> Test,
}

/// A case under way.
type Test = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Fixture> Case<F> {
    /// What is promised, as a sentence in snake case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Tests the promise.
    ///
    /// # Panics
    ///
    /// If the backend breaks it; the message says how.
    pub async fn run(&self, fixture: Arc<F>) {
        (self.test)(Scene::new(fixture)).await;
    }
}

impl<F> Clone for Case<F> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<F> Copy for Case<F> {}

impl<F> fmt::Debug for Case<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The fixture in one run of one case, with keys that no other run has.
struct Scene<F> {
    fixture: Arc<F>,
    run: u64,
}

impl<F: Fixture> Scene<F> {
    fn new(fixture: Arc<F>) -> Self {
        Self {
            fixture,
            run: getrandom::u64().expect("the operating system gives random numbers"),
        }
    }

    fn backend(&self) -> &F::Backend {
        self.fixture.backend()
    }

    async fn now(&self) -> Timestamp {
        self.fixture.now().await
    }

    async fn pass(&self, time: Duration) {
        self.fixture.pass(time).await;
    }

    /// A key of this run; the same name is the same key.
    fn key(&self, name: &str) -> Key {
        Key::custom("conformance", &KeyParts::new().with(self.run).with(name))
    }
}

impl<F> Clone for Scene<F> {
    fn clone(&self) -> Self {
        Self {
            fixture: Arc::clone(&self.fixture),
            run: self.run,
        }
    }
}

/// Runs this many tasks of one kind at the same time, and gives what they gave.
async fn at_once<T: Send + 'static, R: Future<Output = T> + Send + 'static>(
    tasks: u64,
    task: impl Fn(u64) -> R,
) -> Vec<T> {
    let tasks: Vec<_> = (0..tasks).map(|n| tokio::spawn(task(n))).collect();
    let mut results = Vec::with_capacity(tasks.len());
    for task in tasks {
        results.push(task.await.expect("no task panics"));
    }
    results
}

/// The cases with the names of these functions.
macro_rules! cases {
    ($($name:ident,)*) => {
        vec![$($crate::testing::conformance::Case {
            name: stringify!($name),
            test: |scene| Box::pin($name(scene)),
        },)*]
    };
}
use cases;

/// Long enough that nothing expires during a case.
const LONG: Duration = Duration::from_secs(600);

/// Resolution of times to live and windows.
const MILLISECOND: Duration = Duration::from_millis(1);
