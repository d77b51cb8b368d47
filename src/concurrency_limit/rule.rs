//! How many requests may run at once, and whose.

use std::{fmt, sync::Arc, time::Duration};

use http::request::Parts;

use crate::{
    backend::SlotLimit,
    error::ConfigError,
    observe::{Decisions, LayerName},
    policy::{Policy, Subject},
    rule_name::check_name,
};

/// How many requests of each subject may run at once, over all instances; cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use tower_stash::{
///     concurrency_limit::{ConcurrencyLimitRule, Outage},
///     policy::{KeyExtractor as _, header},
/// };
///
/// let exports = ConcurrencyLimitRule::new("exports", header("x-api-key").or_reject(), 2)?
///     .with_lease(Duration::from_secs(10))?
///     .with_outage(Outage::Deny);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct ConcurrencyLimitRule {
    shape: Arc<Shape>,
}

#[derive(Clone)]
struct Shape {
    name: Arc<str>,
    decisions: Arc<Decisions>,
    subject: Subject,
    limit: SlotLimit,
    outage: Outage,
}

/// What becomes of requests while the backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// They go through, uncounted; those that still run when it answers again are counted then.
    #[default]
    Allow,
    /// They get 503 (gRPC: `UNAVAILABLE`), to be retried after a second.
    Deny,
}

impl ConcurrencyLimitRule {
    /// The lease of a rule that does not say another: 30 s.
    pub const DEFAULT_LEASE: Duration = Duration::from_secs(30);

    /// The shortest lease: a second.
    pub const MIN_LEASE: Duration = Duration::from_secs(1);

    /// The rule of this name, which lets so many requests of each subject run at once.
    ///
    /// The name is what operators read in metrics and clients in a denial. Rules of one name and
    /// lease share their slots, also across layers and services on one backend.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`, a limit that is not 1 to 1,000,000, or
    /// what the subject reports.
    pub fn new(name: &str, subject: Subject, limit: u64) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        subject
            .check()
            .map_err(|error| ConfigError::new(format!("rule {name:?}: {error}")))?;
        let shared_name: Arc<str> = name.into();
        Ok(Self {
            shape: Arc::new(Shape {
                decisions: Arc::new(Decisions::new(LayerName::ConcurrencyLimit, &shared_name)),
                name: shared_name,
                subject,
                limit: slot_limit(name, limit, Self::DEFAULT_LEASE)?,
                outage: Outage::default(),
            }),
        })
    }

    /// A slot is free this long after its process crashed or lost the backend; by default 30 s.
    ///
    /// A process renews the slots that it holds three times in a lease, so a shorter one costs more
    /// calls, if requests run that long. Rules with different leases share no slots.
    ///
    /// # Errors
    ///
    /// A lease that is not whole milliseconds from a second to a day.
    pub fn with_lease(mut self, lease: Duration) -> Result<Self, ConfigError> {
        let name = self.name();
        if lease < Self::MIN_LEASE {
            return Err(ConfigError::new(format!(
                "rule {name:?}: a lease of {lease:?}: write a second or more"
            )));
        }
        let limit = slot_limit(name, self.shape.limit.limit(), lease)?;
        Arc::make_mut(&mut self.shape).limit = limit;
        Ok(self)
    }

    /// What becomes of requests while the backend does not answer; by default they go through.
    #[must_use]
    pub fn with_outage(mut self, outage: Outage) -> Self {
        Arc::make_mut(&mut self.shape).outage = outage;
        self
    }

    /// The rule's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shape.name
    }

    pub(super) fn decisions(&self) -> &Decisions {
        &self.shape.decisions
    }

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.shape.name
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.shape.subject
    }

    pub(super) fn limit(&self) -> &SlotLimit {
        &self.shape.limit
    }

    pub(super) fn outage(&self) -> Outage {
        self.shape.outage
    }

    /// Whether two rules, which share a name, have the same limit and lease.
    pub(super) fn has_same_limit(&self, other: &Self) -> bool {
        self.limit() == other.limit()
    }
}

/// A rule alone is the policy that applies it to every request.
impl Policy<ConcurrencyLimitRule> for ConcurrencyLimitRule {
    fn rule(&self, _: &Parts) -> Option<ConcurrencyLimitRule> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&ConcurrencyLimitRule)) {
        visit(self);
    }
}

impl fmt::Debug for ConcurrencyLimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLimitRule")
            .field("name", &self.shape.name)
            .field("limit", &self.shape.limit.limit())
            .field("lease", &self.shape.limit.lease())
            .field("outage", &self.shape.outage)
            .finish_non_exhaustive()
    }
}

fn slot_limit(name: &str, limit: u64, lease: Duration) -> Result<SlotLimit, ConfigError> {
    SlotLimit::new(name, limit, lease)
        .map_err(|error| ConfigError::new(format!("rule {name:?}: {error}")))
}
