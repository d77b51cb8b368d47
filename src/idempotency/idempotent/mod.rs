//! Work that runs once and is no request: jobs of a queue, webhooks, messages.

mod error;
mod records;

use std::{fmt, future::Future, time::Duration};

use bytes::Bytes;
use tokio::sync::oneshot;

pub use self::error::RunError;
#[cfg(feature = "sealed-answers")]
use super::{AnswerKeys, engine::Sealing};
use super::{
    Execution, IdempotencyRule, InProgress, Outage, Outcome, Recovery, Unrecorded,
    admission::Admission,
    catch_panic::CatchPanic,
    conduct::{Run, Told, Writing},
    engine::Store,
    problem::Problem,
    protocol::{Fingerprint, Flags, Record},
    rule::Shape,
    shared::Core,
    tally::Tally,
};
use crate::{
    backend::KeyValue,
    error::ConfigError,
    key::{Digester, Key, KeyPart, KeyParts, Kind},
    observe::in_current_span,
};

/// Runs work once for each key, whichever instance it is given to; cheap to clone.
///
/// A queue delivers a job at least once, and sometimes to two workers. With this, one of them does
/// it, and the others get what it came to:
///
/// ```
/// use tower_stash::{
///     backend::MemoryBackend,
///     idempotency::{Done, Idempotent, IdempotencyRule, Recovery},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let invoices = IdempotencyRule::new("invoices", Recovery::ReExecute)?;
/// let invoices = Idempotent::new(MemoryBackend::new(), invoices)?;
///
/// for delivery in 1..=2 {
///     let job = b"customer 7, March";
///     let done = invoices
///         .run("job-4711", job, async |run| {
///             // Sends the invoice, with run.downstream_key("mail") and run.fence().
///             Ok::<_, std::io::Error>("invoice 2026-031")
///         })
///         .await?;
///     assert_eq!(done.is_replay(), delivery == 2);
///     assert_eq!(done.into_result(), "invoice 2026-031");
/// }
/// # Ok(())
/// # }
/// ```
///
/// The rule says what it says of requests, as far as there is something to say: recovery, lease,
/// retention, the longest execution, waiting, and how large a result may be to be kept. Rules of
/// different names have keys of their own.
#[derive(Clone)]
pub struct Idempotent {
    core: Core,
    rule: IdempotencyRule,
}

/// What work came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It was done now.
    Ran(Bytes),
    /// It had been done before.
    Replayed(Bytes),
}

impl Idempotent {
    /// Runs work by this rule, and keeps what it comes to in this backend.
    ///
    /// # Errors
    ///
    /// A rule with [`Outage::PassThrough`]: work that runs unprotected needs no key.
    pub fn new(backend: impl KeyValue, rule: IdempotencyRule) -> Result<Self, ConfigError> {
        if rule.shape().outage == Outage::PassThrough {
            return Err(ConfigError::new(format!(
                "rule {:?}: work cannot pass unprotected; write Outage::Reject, and run it without a key where RunError::Unavailable says so",
                rule.name()
            )));
        }
        Ok(Self {
            core: Core::new(backend),
            rule,
        })
    }

    /// Derives the names of what is stored from this secret, which all instances must share; see
    /// [`IdempotencyLayer::with_key_secret`](super::IdempotencyLayer::with_key_secret).
    #[must_use]
    pub fn with_key_secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.core.digester = Digester::with_secret(secret.as_ref());
        self
    }

    /// Encrypts results and [recovery points](Execution::checkpoint) in the store; see
    /// [`IdempotencyLayer::with_answer_keys`](super::IdempotencyLayer::with_answer_keys). Where one
    /// cannot be read, that is [`RunError::Unavailable`].
    #[cfg(feature = "sealed-answers")]
    #[cfg_attr(docsrs, doc(cfg(feature = "sealed-answers")))]
    #[must_use]
    pub fn with_answer_keys(mut self, keys: AnswerKeys) -> Self {
        self.core.store.sealing = Sealing::with(keys);
        self
    }

    /// Does this work, unless it was done under this key; `request` stands for what is to be done,
    /// and must be the same whenever the key comes again: of a webhook, what it tells, without
    /// signatures and counters of deliveries. Work without a result returns `""`.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    ///
    /// # Cancel safety
    ///
    /// Dropped, the work goes on if it had begun, in a task of its own.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub async fn run<W, F, T, E>(
        &self,
        key: impl KeyPart,
        request: impl AsRef<[u8]>,
        work: W,
    ) -> Result<Done, RunError<E>>
    where
        W: FnOnce(Execution) -> F + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
        T: Into<Bytes>,
        E: Send + 'static,
    {
        let rule = self.rule.shape();
        let (key, fingerprint) = self.names(key, request.as_ref());
        let claim = match self.core.admit(&key, &fingerprint, rule).await {
            Admission::Run(claim) => claim,
            Admission::Replay(record) => {
                Tally::Replayed.record(&self.rule);
                return self.replay(&key, &record);
            }
            Admission::Reject(problem) => return Err(self.refused(problem)),
            Admission::Bypass => return Err(self.refused(Problem::Unavailable)),
        };
        let Some(run) = Run::begin(&self.core, &self.rule, &claim, "") else {
            return Err(self.refused(Problem::Unavailable));
        };
        let execution = run.execution.clone();
        let work = CatchPanic::new(async move { work(execution).await.map(Into::into) });
        let (sender, told) = oneshot::channel();
        tokio::spawn(in_current_span(run.conduct(work, judge, sender)));
        match told.await {
            Ok(Told::Own(result)) => result.map(Done::Ran),
            Ok(Told::Unrecorded(result)) => self.unrecorded(result),
            Ok(Told::Theirs(record)) => self.replay(&key, &record),
            Ok(Told::AtWork) => self.await_answer(&key, &fingerprint).await,
            Ok(Told::Problem(problem)) => Err(problem.into()),
            Err(_) => Err(RunError::OutcomeUnknown),
        }
    }

    /// Lets no work begin any more, and waits for what runs; says how much had not ended in this
    /// time. See [`IdempotencyHandle::drain`](super::IdempotencyHandle::drain).
    pub async fn drain(&self, budget: Duration) -> usize {
        self.core.tracker.drain(budget).await
    }

    /// Where work with this key is recorded, and what stands for it.
    fn names(&self, key: impl KeyPart, request: &[u8]) -> (Key, Fingerprint) {
        let parts = self.parts(key);
        let fingerprint = self.core.digester.hash_with_tail(&parts, request);
        let key = Key::new(Kind::EXECUTION, self.core.digester.digest(&parts));
        (key, Fingerprint::from_bytes(*fingerprint.as_bytes()))
    }

    /// Where work with this key is recorded.
    fn record_key(&self, key: impl KeyPart) -> Key {
        let name = self.core.digester.digest(&self.parts(key));
        Key::new(Kind::EXECUTION, name)
    }

    fn parts(&self, key: impl KeyPart) -> KeyParts {
        KeyParts::new().with(GROUP).with(self.rule.name()).with(key)
    }

    fn store(&self) -> &Store {
        &self.core.store
    }

    /// Whether work that may have begun must not begin again.
    fn never_again(&self) -> bool {
        self.rule.shape().terms.never_again
    }

    fn refused<E>(&self, problem: Problem) -> RunError<E> {
        Tally::of_problem(&problem).record(&self.rule);
        problem.into()
    }

    fn unrecorded<E>(&self, result: Result<Bytes, RunError<E>>) -> Result<Done, RunError<E>> {
        match (result, self.rule.shape().recovery) {
            (Ok(result), Recovery::Never(Unrecorded::Answer)) => Ok(Done::Ran(result)),
            (Err(RunError::Failed(error)), _) => Err(RunError::Failed(error)),
            _ => Err(RunError::OutcomeUnknown),
        }
    }

    fn replay<E>(&self, key: &Key, record: &Record) -> Result<Done, RunError<E>> {
        if record.flags.is_unknown {
            return Err(RunError::OutcomeUnknown);
        }
        if record.flags.is_not_replayable {
            return Err(RunError::NotKept);
        }
        let result = self.store().sealing.open(key, record);
        result.map(Done::Replayed).ok_or(RunError::Unavailable)
    }

    async fn await_answer<E>(
        &self,
        key: &Key,
        fingerprint: &Fingerprint,
    ) -> Result<Done, RunError<E>> {
        if let InProgress::Wait(budget) = self.rule.shape().in_progress
            && let Some(record) = self.core.await_answer(key, fingerprint, budget).await
        {
            return self.replay(key, &record);
        }
        Err(Problem::in_progress().into())
    }
}

impl fmt::Debug for Idempotent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idempotent")
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

impl Done {
    /// The result, whoever made it.
    #[must_use]
    pub fn into_result(self) -> Bytes {
        match self {
            Self::Ran(result) | Self::Replayed(result) => result,
        }
    }

    /// Whether it had been done before.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replayed(_))
    }
}

/// What is to be recorded of work that ended, and what its caller is told.
fn judge<E>(
    ended: Option<Result<Bytes, E>>,
    rule: &Shape,
    execution: &Execution,
) -> (Writing, Result<Bytes, RunError<E>>) {
    let said = execution.outcome();
    match ended {
        Some(Ok(result)) => {
            let writing = Writing::of(said.unwrap_or(Outcome::Final), || kept(&result, rule));
            (writing, Ok(result))
        }
        Some(Err(error)) => (
            Writing::of_no_answer(rule, said),
            Err(RunError::Failed(error)),
        ),
        None => (Writing::of_no_answer(rule, None), Err(RunError::Panicked)),
    }
}

/// What is kept of a result: nothing, if it is too large.
fn kept(result: &Bytes, rule: &Shape) -> (Bytes, Flags) {
    if result.len() <= rule.answer_limit {
        return (result.clone(), Flags::default());
    }
    let flags = Flags {
        is_not_replayable: true,
        ..Flags::default()
    };
    (Bytes::new(), flags)
}

/// Keys of work, as against those of requests.
const GROUP: &str = "run";
