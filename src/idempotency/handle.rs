//! For programs: what is recorded under a key, and shutting down.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::Response;

use super::{
    answer::StoredAnswer,
    engine::Store,
    inspection::{Inspection, Payload},
    protocol::Record,
    record_error::{RecordError, RecordErrorKind},
    shared::{Shared, http_scope},
};
use crate::{backend::Version, key::Key, policy::SubjectId};

/// What programs do with the keys of a layer; made by
/// [`IdempotencyLayer::handle`](super::IdempotencyLayer::handle), cheap to clone.
///
/// A key is named as its handler knows it: by whose it is, which is the value that the layer's
/// scope finds in a request, and by [`Execution::key`](super::Execution::key). The backend cannot
/// list keys, since it stores digests: a program that wants a list of them writes them down itself.
///
/// An operator's page: which of these payments ended in a way that nobody knows, and then, when the
/// payment provider has been asked, what the customer is to be answered.
///
/// ```
/// use std::convert::Infallible;
///
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt as _, Full};
/// use tower::{Layer as _, ServiceExt as _, service_fn};
/// use tower_stash::{
///     backend::MemoryBackend,
///     idempotency::{
///         IdempotencyHandle, IdempotencyLayer, IdempotencyRule, RecordError, RequestBody,
///     },
///     policy::{KeyExtractor as _, SubjectId, header},
/// };
///
/// /// The keys that an operator has to look after.
/// async fn unknown<'a>(
///     payments: &IdempotencyHandle,
///     ledger: &[(&str, &'a str)],
/// ) -> Result<Vec<&'a str>, RecordError> {
///     let mut unknown = Vec::new();
///     for &(customer, key) in ledger {
///         let found = payments.inspect(&SubjectId::from(customer), key).await?;
///         if found.is_some_and(|found| found.is_outcome_unknown()) {
///             unknown.push(key);
///         }
///     }
///     Ok(unknown)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let layer = IdempotencyLayer::new(
///     MemoryBackend::new(),
///     header("x-customer").or_reject(),
///     IdempotencyRule::payments("payments")?,
/// )?;
/// let payments = layer.handle();
/// # std::panic::set_hook(Box::new(|_| ()));
/// let service = layer.layer(service_fn(async |_: Request<RequestBody<Full<Bytes>>>| {
///     if true {
///         panic!("after the provider was called");
///     }
///     Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
/// }));
/// let pay = || {
///     let request = Request::post("/payments").header("x-customer", "ada");
///     let request = request.header("idempotency-key", "8e03978e").body(Full::from("12 EUR"));
///     service.clone().oneshot(request.unwrap())
/// };
/// assert_eq!(pay().await?.status(), 500);
/// let ledger = [("ada", "8e03978e"), ("bob", "8e03978e")];
/// assert_eq!(unknown(&payments, &ledger).await?, ["8e03978e"]);
///
/// let ada = SubjectId::from("ada");
/// let found = payments.inspect(&ada, "8e03978e").await?.ok_or("it has expired")?;
/// let answer = Response::builder().status(201).body(Bytes::from("paid"))?;
/// assert!(payments.settle(&ada, "8e03978e", found.version(), answer).await?);
///
/// let response = pay().await?;
/// assert_eq!(response.status(), 201);
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "paid");
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A call that is dropped has changed the record, or has not, or will: look at it again.
#[derive(Clone)]
pub struct IdempotencyHandle {
    shared: Arc<Shared>,
}

impl IdempotencyHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What is recorded under this key of this subject; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](RecordErrorKind::Unavailable), [`Unreadable`](RecordErrorKind::Unreadable).
    /// An answer that cannot be read is no error:
    /// [`KeyState::Unreadable`](super::KeyState::Unreadable).
    pub async fn inspect(
        &self,
        whose: &SubjectId,
        key: &str,
    ) -> Result<Option<Inspection>, RecordError> {
        let key = self.key(whose, key);
        let store = self.store();
        let read = store.inspect(&key).await?;
        Ok(read.map(|read| {
            let never_again = self.never_again(&read.record);
            let answer = |found: &Record| store.sealing.open(&key, found);
            Inspection::of(read, never_again, |found| status(answer(found)))
        }))
    }

    /// Deletes what is recorded under this key, if it is what an [`inspect`](Self::inspect) has
    /// shown, and says whether it is gone; `false`: something else is there by now, or nothing.
    ///
    /// The next request with the key runs, whatever the earlier ones did, as the first one. A
    /// handler that still runs although its lease is over puts its answer back when it ends, unless
    /// somebody has claimed the key by then.
    ///
    /// # Errors
    ///
    /// [`Running`](RecordErrorKind::Running): the lease is not over;
    /// [`Unavailable`](RecordErrorKind::Unavailable),
    /// [`Unreadable`](RecordErrorKind::Unreadable): nothing was deleted;
    /// [`Indeterminate`](RecordErrorKind::Indeterminate).
    pub async fn forget(
        &self,
        whose: &SubjectId,
        key: &str,
        version: Version,
    ) -> Result<bool, RecordError> {
        let key = self.key(whose, key);
        self.store().forget(&key, version).await
    }

    /// As [`forget`](Self::forget), also if the handler may be running.
    ///
    /// It is not stopped. If it is alive, the key is free only until its next sign of life, which
    /// puts the record back; a request that comes in between runs beside it.
    ///
    /// # Errors
    ///
    /// Those of [`forget`](Self::forget) but [`Running`](RecordErrorKind::Running).
    pub async fn forget_running(
        &self,
        whose: &SubjectId,
        key: &str,
        version: Version,
    ) -> Result<bool, RecordError> {
        let key = self.key(whose, key);
        self.store().forget_running(&key, version).await
    }

    /// Gives this answer to a request of which nobody knows what became, if what is recorded is
    /// what an [`inspect`](Self::inspect) has shown, and says whether it has it; `false`: something
    /// else is there by now, or nothing.
    ///
    /// Repetitions get it as they would get a handler's: headers that belong to one exchange are
    /// left out, and cookies unless the rule keeps them. Should the handler be alive after all, its
    /// own answer is dropped for this one. It is kept for as long as the rule's retention was when
    /// the key was claimed, from now on. Trailers cannot be given; so a gRPC answer is a status
    /// alone.
    ///
    /// # Errors
    ///
    /// [`Running`](RecordErrorKind::Running): the lease is not over;
    /// [`NotUnknown`](RecordErrorKind::NotUnknown): there is an answer, or the next request with
    /// the key makes one; [`TooLarge`](RecordErrorKind::TooLarge),
    /// [`NoRandomness`](RecordErrorKind::NoRandomness),
    /// [`Unavailable`](RecordErrorKind::Unavailable), [`Unreadable`](RecordErrorKind::Unreadable):
    /// nothing was written; [`Indeterminate`](RecordErrorKind::Indeterminate).
    pub async fn settle(
        &self,
        whose: &SubjectId,
        key: &str,
        version: Version,
        answer: Response<Bytes>,
    ) -> Result<bool, RecordError> {
        let key = self.key(whose, key);
        let never_again = |found: &Record| self.never_again(found);
        let answer = |found: &Record| self.stored(found, answer);
        let store = self.store();
        store.settle(&key, version, never_again, answer).await
    }

    /// Lets no handler begin any more, and waits for those that run; says how many had not ended in
    /// this time.
    ///
    /// From now on requests with a key get 503, to be sent again to another instance. Call it when
    /// the server has stopped, before the program ends: handlers whose clients are gone still run.
    /// Those that do not end in time are left to their leases and to their rules'
    /// [`Recovery`](super::Recovery).
    ///
    /// # Cancel safety
    ///
    /// Dropped, no handler begins all the same.
    pub async fn drain(&self, budget: Duration) -> usize {
        self.shared.core.tracker.drain(budget).await
    }

    fn store(&self) -> &Store {
        &self.shared.core.store
    }

    fn key(&self, whose: &SubjectId, key: &str) -> Key {
        self.shared.key(&http_scope(whose), key)
    }

    /// Whether what may have begun must not begin again, by what the rule that the key was claimed
    /// under says now.
    fn never_again(&self, found: &Record) -> bool {
        let rule = self.shared.rule_named(&found.rule);
        rule.is_some_and(|rule| rule.shape().terms.never_again)
    }

    /// This answer, as it is stored by the rule that the key was claimed under.
    fn stored(&self, found: &Record, answer: Response<Bytes>) -> Result<Bytes, RecordError> {
        let rule = self.shared.rule_named(&found.rule);
        let hygiene = rule.map(|rule| rule.shape().hygiene).unwrap_or_default();
        let (head, body) = answer.into_parts();
        let stored = StoredAnswer::of(head.status, &head.headers, None, body, hygiene);
        Ok(stored.encode().ok_or(RecordErrorKind::TooLarge)?)
    }
}

impl fmt::Debug for IdempotencyHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyHandle").finish_non_exhaustive()
    }
}

/// What an operator is told of a recorded answer, if it could be opened.
fn status(answer: Option<Bytes>) -> Payload {
    match answer.and_then(StoredAnswer::decode) {
        Some(answer) => Payload::Response(answer.status),
        None => Payload::Unreadable,
    }
}
