//! What a request is limited by.

use std::{fmt, sync::Arc};

use http::{HeaderValue, request::Parts};

use super::headers;
use crate::{
    backend::{Acquire, Limit, Quota},
    error::ConfigError,
    policy::{Policy, Subject},
};

/// Some limits and whose they are; cheap to clone.
///
/// A request that a rule applies to is admitted if all of its limits admit it, and then counts in
/// all of them; else it counts in none.
///
/// ```
/// use tower_stash::{
///     policy::{KeyExtractor as _, peer_ip},
///     rate_limit::{Outage, Quota, RateLimitRule},
/// };
///
/// let login = RateLimitRule::new(
///     "login",
///     peer_ip().or_reject(),
///     [("burst", Quota::per_minute(5)), ("daily", Quota::per_day(50))],
/// )?
/// .with_outage(Outage::Deny);
/// # Ok::<(), tower_stash::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct RateLimitRule {
    shape: Arc<Shape>,
}

#[derive(Clone)]
struct Shape {
    name: Arc<str>,
    subject: Subject,
    /// Names of the limits as clients see them: rule, dot, limit.
    limit_names: Arc<[Arc<str>]>,
    limits: Arc<[Limit]>,
    outage: Outage,
    policy_header: HeaderValue,
}

/// What becomes of requests while the backend does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outage {
    /// They go through, uncounted.
    #[default]
    Allow,
    /// They get 503 (gRPC: `UNAVAILABLE`), to be retried after a second.
    Deny,
}

impl RateLimitRule {
    /// The rule of this name, which limits each subject by these named quotas.
    ///
    /// Names are what clients read in `RateLimit` headers and operators in metrics; together with
    /// algorithm and window they decide which limits share a counter. Rules of one name share
    /// counters, also across layers and services on one backend.
    ///
    /// # Errors
    ///
    /// A name that is not one to 64 of `A-Z a-z 0-9 _ . -`, no quota or more than eight, two quotas
    /// of one name, or a quota that cannot work.
    pub fn new<'a>(
        name: &str,
        subject: Subject,
        quotas: impl IntoIterator<Item = (&'a str, Quota)>,
    ) -> Result<Self, ConfigError> {
        check_name("rule", name)?;
        let mut limit_names: Vec<Arc<str>> = Vec::new();
        let mut limits = Vec::new();
        for (limit_name, quota) in quotas {
            check_name("limit", limit_name)?;
            let full_name: Arc<str> = format!("{name}.{limit_name}").into();
            if limit_names.contains(&full_name) {
                return Err(ConfigError::new(format!(
                    "rule {name:?} has two limits named {limit_name:?}; give each a name of its own"
                )));
            }
            let limit = Limit::new((name, limit_name), quota)
                .map_err(|error| ConfigError::new(format!("limit \"{full_name}\": {error}")))?;
            limit_names.push(full_name);
            limits.push(limit);
        }
        if limits.is_empty() || limits.len() > Acquire::MAX_LIMITS {
            return Err(ConfigError::new(format!(
                "rule {name:?} has {} limits; write one to {}",
                limits.len(),
                Acquire::MAX_LIMITS
            )));
        }
        subject
            .check()
            .map_err(|error| ConfigError::new(format!("rule {name:?}: {error}")))?;
        let policy_header = headers::policy(&limit_names, &limits)?;
        Ok(Self {
            shape: Arc::new(Shape {
                name: name.into(),
                subject,
                limit_names: limit_names.into(),
                limits: limits.into(),
                outage: Outage::default(),
                policy_header,
            }),
        })
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

    pub(super) fn shared_name(&self) -> &Arc<str> {
        &self.shape.name
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.shape.subject
    }

    pub(super) fn limit_names(&self) -> &[Arc<str>] {
        &self.shape.limit_names
    }

    pub(super) fn limits(&self) -> &Arc<[Limit]> {
        &self.shape.limits
    }

    pub(super) fn outage(&self) -> Outage {
        self.shape.outage
    }

    pub(super) fn policy_header(&self) -> &HeaderValue {
        &self.shape.policy_header
    }

    /// Whether two rules, which share a name, have the same limits.
    pub(super) fn has_same_limits(&self, other: &Self) -> bool {
        self.limits() == other.limits() && self.limit_names() == other.limit_names()
    }
}

/// A rule alone is the policy that applies it to every request.
impl Policy<RateLimitRule> for RateLimitRule {
    fn rule(&self, _: &Parts) -> Option<RateLimitRule> {
        Some(self.clone())
    }

    fn each_rule(&self, visit: &mut dyn FnMut(&RateLimitRule)) {
        visit(self);
    }
}

impl fmt::Debug for RateLimitRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitRule")
            .field("name", &self.shape.name)
            .field("limits", &self.shape.limits)
            .field("outage", &self.shape.outage)
            .finish_non_exhaustive()
    }
}

/// Names go into headers, metrics and logs, so they are short and plain.
fn check_name(what: &str, name: &str) -> Result<(), ConfigError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ConfigError::new(format!(
        "{what} name {name:?}: write one to 64 of the characters A-Z a-z 0-9 _ . -"
    )))
}
