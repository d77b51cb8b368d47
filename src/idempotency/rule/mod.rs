//! What holds for the requests of a route.

mod choices;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, Method, request, response};

pub use self::choices::{InProgress, KeyPresence, Outage, Recovery, StorePolicy, Unrecorded};
use super::{
    answer::Hygiene,
    intake::{KeySyntax, Recipe},
    outcome::Outcome,
    protocol::Terms,
};
use crate::{
    error::ConfigError,
    key::KeyParts,
    observe::{Decisions, LayerName},
    policy::Policy,
    rule_name::check_name,
};

/// How requests of a route are made to run once; cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::idempotency::{IdempotencyRule, InProgress, Recovery};
///
/// let orders = IdempotencyRule::new("orders", Recovery::ReExecute)?
///     .with_in_progress(InProgress::Wait(Duration::from_secs(5)))
///     .with_retention(Duration::from_secs(3 * 24 * 3600))?;
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct IdempotencyRule {
    shape: Arc<Shape>,
}

#[derive(Clone)]
pub(super) struct Shape {
    pub(super) name: Arc<str>,
    pub(super) decisions: Arc<Decisions>,
    pub(super) recovery: Recovery,
    pub(super) terms: Terms,
    pub(super) max_execution: Duration,
    pub(super) methods: Vec<Method>,
    pub(super) presence: KeyPresence,
    pub(super) header: HeaderName,
    pub(super) syntax: KeySyntax,
    pub(super) key_check: Option<Arc<KeyCheck>>,
    pub(super) recipe: Recipe,
    pub(super) body_limit: usize,
    pub(super) body_timeout: Duration,
    pub(super) answer_limit: usize,
    pub(super) in_progress: InProgress,
    pub(super) store: StorePolicy,
    pub(super) outage: Outage,
    pub(super) outcome_of: Option<Arc<OutcomeOf>>,
    pub(super) hygiene: Hygiene,
    pub(super) on_replay: Option<Arc<OnReplay>>,
}

type KeyCheck = dyn Fn(&str) -> bool + Send + Sync;
type OutcomeOf = dyn Fn(&response::Parts) -> Option<Outcome> + Send + Sync;
type OnReplay = dyn Fn(&mut response::Parts) + Send + Sync;

impl IdempotencyRule {
    /// The rule of this name, which is what operators read in metrics.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`.
    pub fn new(name: &str, recovery: Recovery) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        let shared_name = Arc::<str>::from(name);
        Ok(Self {
            shape: Arc::new(Shape {
                decisions: Arc::new(Decisions::new(LayerName::Idempotency, &shared_name)),
                name: shared_name,
                recovery,
                terms: Terms {
                    rule: Bytes::copy_from_slice(name.as_bytes()),
                    lease: Duration::from_secs(10),
                    retention: DAY,
                    never_again: matches!(recovery, Recovery::Never(_)),
                },
                max_execution: Duration::from_secs(120),
                methods: vec![Method::POST, Method::PATCH],
                presence: KeyPresence::default(),
                header: HeaderName::from_static("idempotency-key"),
                syntax: KeySyntax::default(),
                key_check: None,
                recipe: Recipe::default(),
                body_limit: 1024 * 1024,
                body_timeout: Duration::from_secs(30),
                answer_limit: 256 * 1024,
                in_progress: InProgress::default(),
                store: StorePolicy::default(),
                outage: Outage::default(),
                outcome_of: None,
                hygiene: Hygiene::default(),
                on_replay: None,
            }),
        })
    }

    /// The rule for what must not happen twice whatever happens: an orphan never runs again, an
    /// answer leaves even if it could not be recorded, whatever was answered is final, and it is
    /// kept for three days.
    ///
    /// So a 503 of the handler's is final as well, unless it says
    /// [`Outcome::Retryable`] or [`Outcome::NotExecuted`].
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new).
    pub fn payments(name: &str) -> Result<Self, ConfigError> {
        Self::new(name, Recovery::Never(Unrecorded::Answer))?
            .with_store(StorePolicy::Executed)
            .with_retention(3 * DAY)
    }

    /// Whether requests need a key; by default they do.
    #[must_use]
    pub fn with_key(self, presence: KeyPresence) -> Self {
        self.with(|shape| shape.presence = presence)
    }

    /// The methods that are protected; by default POST and PATCH. Requests of other methods run as if
    /// there were no rule.
    ///
    /// # Errors
    ///
    /// Others than POST, PATCH, PUT and DELETE; none at all.
    pub fn with_methods(
        self,
        methods: impl IntoIterator<Item = Method>,
    ) -> Result<Self, ConfigError> {
        let methods: Vec<_> = methods.into_iter().collect();
        if methods.is_empty() || !methods.iter().all(|method| PROTECTABLE.contains(method)) {
            return Err(self.mistake(
                "only POST, PATCH, PUT and DELETE can be protected; write one or more of these",
            ));
        }
        Ok(self.with(|shape| shape.methods = methods))
    }

    /// The header that has the key; by default `Idempotency-Key`.
    #[must_use]
    pub fn with_header(self, name: HeaderName) -> Self {
        self.with(|shape| shape.header = name)
    }

    /// How a key is written; by default with quotes or without.
    #[must_use]
    pub fn with_syntax(self, syntax: KeySyntax) -> Self {
        self.with(|shape| shape.syntax = syntax)
    }

    /// Keys for which this does not hold get 400; for keys that must be UUIDs, say.
    #[must_use]
    pub fn with_key_check(self, check: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        self.with(|shape| shape.key_check = Some(Arc::new(check)))
    }

    /// How long an answer is kept after it was recorded; by default 24 hours.
    ///
    /// # Errors
    ///
    /// Less than the longest execution and two leases, or more than ten years.
    pub fn with_retention(self, retention: Duration) -> Result<Self, ConfigError> {
        self.with(|shape| shape.terms.retention = whole_millis(retention))
            .checked()
    }

    /// How long after its last sign of life an instance is taken for dead; by default 10 s. It gives
    /// one every third of that.
    ///
    /// # Errors
    ///
    /// Less than 100 ms, or more than an hour; so long that two of them and the longest execution are
    /// above the retention.
    pub fn with_lease(self, lease: Duration) -> Result<Self, ConfigError> {
        self.with(|shape| shape.terms.lease = whole_millis(lease))
            .checked()
    }

    /// How long a handler may take; by default 2 min.
    ///
    /// One that takes longer is not stopped. But its claim is not renewed any more, so a lease later
    /// the client is told that nobody knows, and another request may take over.
    ///
    /// # Errors
    ///
    /// Zero; so long that it and two leases are above the retention.
    pub fn with_max_execution(self, max_execution: Duration) -> Result<Self, ConfigError> {
        self.with(|shape| shape.max_execution = max_execution)
            .checked()
    }

    /// How many bytes the body of a request may have; by default 1 MiB. It is read as a whole before
    /// anything is claimed.
    #[must_use]
    pub fn with_body_limit(self, bytes: usize) -> Self {
        self.with(|shape| shape.body_limit = bytes)
    }

    /// How long a client may take to send the body; by default 30 s.
    #[must_use]
    pub fn with_body_timeout(self, timeout: Duration) -> Self {
        self.with(|shape| shape.body_timeout = timeout)
    }

    /// How many bytes the body of an answer may have to be kept; by default 256 KiB. Of a larger
    /// one, which passes whole, status and `Location` are kept, and a repetition is told so.
    #[must_use]
    pub fn with_answer_limit(self, bytes: usize) -> Self {
        self.with(|shape| shape.answer_limit = bytes)
    }

    /// What becomes of a request whose key is at work elsewhere; by default it gets 409.
    #[must_use]
    pub fn with_in_progress(self, in_progress: InProgress) -> Self {
        self.with(|shape| shape.in_progress = in_progress)
    }

    /// Which answers are the last word on their key; by default [`StorePolicy::Settled`].
    #[must_use]
    pub fn with_store(self, store: StorePolicy) -> Self {
        self.with(|shape| shape.store = store)
    }

    /// What this says of the head of an answer goes before what the store policy says, and after
    /// what the handler says; `None` leaves it to the policy.
    ///
    /// For answers that come before the handler does anything, such as those of extractors:
    ///
    /// ```
    /// use tower_stash::idempotency::{IdempotencyRule, Outcome, Recovery};
    ///
    /// let payments = IdempotencyRule::new("payments", Recovery::ReExecute)?
    ///     // A form that axum could not read: the corrected one may have the same key.
    ///     .with_outcome_of(|head| matches!(head.status.as_u16(), 400 | 415 | 422).then_some(Outcome::NotExecuted));
    /// # Ok::<(), tower_stash::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_outcome_of(
        self,
        outcome_of: impl Fn(&response::Parts) -> Option<Outcome> + Send + Sync + 'static,
    ) -> Self {
        self.with(|shape| shape.outcome_of = Some(Arc::new(outcome_of)))
    }

    /// What becomes of requests while the backend does not answer; by default they get 503.
    ///
    /// # Errors
    ///
    /// [`Outage::PassThrough`] beside [`Recovery::Never`].
    pub fn with_outage(self, outage: Outage) -> Result<Self, ConfigError> {
        self.with(|shape| shape.outage = outage).checked()
    }

    /// These headers of a request belong to what it asks for: a key that comes again with another
    /// value of one is refused.
    #[must_use]
    pub fn with_fingerprinted_headers(self, names: impl IntoIterator<Item = HeaderName>) -> Self {
        self.with(|shape| shape.recipe = shape.recipe.clone().with_headers(names))
    }

    /// What this makes of a body stands for the body and its content type; for clients that write one
    /// thing in several ways. [`canonical_json`](super::canonical_json) is one.
    #[must_use]
    pub fn with_canonical_body(
        self,
        canonical: impl Fn(&request::Parts, &Bytes) -> KeyParts + Send + Sync + 'static,
    ) -> Self {
        self.with(|shape| shape.recipe = shape.recipe.clone().with_body_hook(Arc::new(canonical)))
    }

    /// The request's `Content-Digest` (RFC 9530) stands for its body where it has one; it is not
    /// checked.
    #[must_use]
    pub fn with_content_digest(self) -> Self {
        self.with(|shape| shape.recipe = shape.recipe.clone().with_content_digest())
    }

    /// Answers are kept with their `Set-Cookie`; by default without.
    #[must_use]
    pub fn with_stored_cookies(self) -> Self {
        self.with(|shape| shape.hygiene.keeps_cookies = true)
    }

    /// Rewrites the head of each replay.
    #[must_use]
    pub fn with_on_replay(
        self,
        rewrite: impl Fn(&mut response::Parts) + Send + Sync + 'static,
    ) -> Self {
        self.with(|shape| shape.on_replay = Some(Arc::new(rewrite)))
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    fn with(mut self, change: impl FnOnce(&mut Shape)) -> Self {
        change(Arc::make_mut(&mut self.shape));
        self
    }

    fn checked(self) -> Result<Self, ConfigError> {
        let Shape {
            terms,
            max_execution,
            outage,
            ..
        } = &*self.shape;
        let needed = max_execution.saturating_add(terms.lease.saturating_mul(2));
        let mistake = if !(SHORTEST_LEASE..=LONGEST_LEASE).contains(&terms.lease) {
            "a lease has 100 ms to one hour; ten seconds are usual"
        } else if max_execution.is_zero() {
            "a handler that may take no time never answers; write with_max_execution(..) of more"
        } else if terms.retention < needed {
            "an answer must be kept for at least the longest execution and two leases; write with_retention(..) of more, and before the other two"
        } else if terms.retention > LONGEST_RETENTION {
            "an answer is kept for ten years at most; write with_retention(..) of less"
        } else if *outage == Outage::PassThrough && terms.never_again {
            "Outage::PassThrough may run a handler twice, which Recovery::Never promises not to; write Outage::Reject, or Recovery::ReExecute"
        } else {
            return Ok(self);
        };
        Err(self.mistake(mistake))
    }

    fn mistake(&self, text: &str) -> ConfigError {
        ConfigError::new(format!("rule {:?}: {text}", self.name()))
    }
}

impl Shape {
    /// Whether requests of this method are protected.
    pub(super) fn protects(&self, method: &Method) -> bool {
        self.methods.contains(method)
    }
}

/// A rule alone is the policy that applies it to every request.
impl Policy<IdempotencyRule> for IdempotencyRule {
    fn rule(&self, _: &request::Parts) -> Option<IdempotencyRule> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&IdempotencyRule)) {
        visit(self);
    }
}

impl fmt::Debug for IdempotencyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.shape();
        f.debug_struct("IdempotencyRule")
            .field("name", &shape.name)
            .field("recovery", &shape.recovery)
            .field("terms", &shape.terms)
            .field("max_execution", &shape.max_execution)
            .finish_non_exhaustive()
    }
}

/// Rounded up, since that is what is stored.
pub(super) fn whole_millis(duration: Duration) -> Duration {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// The methods whose requests change something (RFC 9110 §9.2.1) and have one answer.
pub(super) const PROTECTABLE: [Method; 4] =
    [Method::POST, Method::PATCH, Method::PUT, Method::DELETE];

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const SHORTEST_LEASE: Duration = Duration::from_millis(100);
const LONGEST_LEASE: Duration = Duration::from_secs(60 * 60);
const LONGEST_RETENTION: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);
