//! The limits of a rule, and which of them a request is under.

use std::{fmt, sync::Arc};

use http::{HeaderValue, request::Parts};

use crate::{
    backend::{Acquire, Algorithm, Limit, LimitState, Quota},
    error::ConfigError,
    rate_limit::headers,
    rule_name::check_name,
};

/// All limits of a rule.
#[derive(Clone)]
pub(in crate::rate_limit) struct Limits {
    all: NamedLimits,
    /// How large each limit is for a request; as long as the limits, or
    /// empty if all are as they are.
    sizes: Vec<Option<Size>>,
}

/// Limits and their names, in the same order; cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) struct NamedLimits {
    /// As clients see them: rule, dot, limit.
    pub(in crate::rate_limit) names: Arc<[Arc<str>]>,
    pub(in crate::rate_limit) limits: Arc<[Limit]>,
    /// What `RateLimit-Policy` says, if it was worked out beforehand.
    pub(in crate::rate_limit) policy_header: Option<HeaderValue>,
}

/// How large a limit is for a request; `None` where it does not apply.
pub(super) type Size = Arc<dyn Fn(&Parts) -> Option<u64> + Send + Sync>;

impl Limits {
    /// The limits of the rule with this name.
    pub(super) fn new<'a>(
        rule: &str,
        quotas: impl IntoIterator<Item = (&'a str, Quota)>,
    ) -> Result<Self, ConfigError> {
        let mut names: Vec<Arc<str>> = Vec::new();
        let mut limits = Vec::new();
        for (name, quota) in quotas {
            check_name("limit", name)?;
            let full_name: Arc<str> = format!("{rule}.{name}").into();
            if names.contains(&full_name) {
                return Err(ConfigError::new(format!(
                    "rule {rule:?} has two limits named {name:?}; give each a name of its own"
                )));
            }
            let limit = Limit::new((rule, name), quota)
                .map_err(|error| ConfigError::new(format!("limit \"{full_name}\": {error}")))?;
            names.push(full_name);
            limits.push(limit);
        }
        if limits.is_empty() || limits.len() > Acquire::MAX_LIMITS {
            return Err(ConfigError::new(format!(
                "rule {rule:?} has {} limits; write one to {}",
                limits.len(),
                Acquire::MAX_LIMITS
            )));
        }
        let policy_header = headers::policy(&names, &limits)?;
        Ok(Self {
            all: NamedLimits {
                names: names.into(),
                limits: limits.into(),
                policy_header: Some(policy_header),
            },
            sizes: Vec::new(),
        })
    }

    /// As they are written, whatever a request says.
    pub(in crate::rate_limit) fn all(&self) -> &NamedLimits {
        &self.all
    }

    /// Those that a request is under, in its sizes.
    pub(in crate::rate_limit) fn of(&self, request: &Parts) -> NamedLimits {
        if self.sizes.is_empty() {
            return self.all.clone();
        }
        let (names, limits) = self
            .all
            .iter()
            .zip(&self.sizes)
            .filter_map(|((name, limit), size)| {
                let limit = match size {
                    Some(size) => sized(limit, size(request)?),
                    None => *limit,
                };
                Some((Arc::clone(name), limit))
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        NamedLimits {
            names: names.into(),
            limits: limits.into(),
            policy_header: None,
        }
    }

    /// Sizes the limit of this full name by this; whether there is one.
    pub(super) fn resize_by(&mut self, full_name: &str, size: Size) -> bool {
        let Some(index) = self.all.names.iter().position(|name| **name == *full_name) else {
            return false;
        };
        self.sizes.resize(self.all.names.len(), None);
        if let Some(slot) = self.sizes.get_mut(index) {
            *slot = Some(size);
        }
        true
    }

    /// The name of a limit whose window has no end.
    pub(super) fn without_an_end(&self) -> Option<&Arc<str>> {
        let mut limits = self.all.iter();
        let (name, _) = limits.find(|(_, limit)| {
            let algorithm = limit.quota().algorithm();
            !matches!(algorithm, Algorithm::Fixed | Algorithm::FixedAligned { .. })
        })?;
        Some(name)
    }

    /// The name of a limit that a request of this cost would never fit.
    pub(super) fn too_small_for(&self, cost: u64) -> Option<&Arc<str>> {
        let mut limits = self.all.iter();
        let (name, _) = limits.find(|(_, limit)| {
            let quota = limit.quota();
            quota.weighed(cost) > quota.capacity()
        })?;
        Some(name)
    }
}

impl NamedLimits {
    /// The limit of this name, of the rule with that one.
    pub(in crate::rate_limit) fn find(&self, rule: &str, name: &str) -> Option<Limit> {
        let full_name = format!("{rule}.{name}");
        let mut limits = self.iter();
        let (_, limit) = limits.find(|(name, _)| ***name == *full_name)?;
        Some(*limit)
    }

    /// The same, but for one limit, which has this size instead of the one that it was written with.
    pub(in crate::rate_limit) fn resized(&self, written: &Limit, size: u64) -> Self {
        let resize = |limit: &Limit| {
            if limit.id == written.id {
                sized(written, size)
            } else {
                *limit
            }
        };
        Self {
            names: Arc::clone(&self.names),
            limits: self.limits.iter().map(resize).collect(),
            policy_header: None,
        }
    }

    pub(in crate::rate_limit) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &Limit)> + Clone {
        self.names.iter().zip(&*self.limits)
    }
}

/// A dynamic limit in this size: at most the one that it was written with.
fn sized(written: &Limit, size: u64) -> Limit {
    written.resized(size.min(written.quota().limit()))
}

/// What a limit admits in the size that the backend applied.
pub(in crate::rate_limit) fn applied(limit: &Limit, state: &LimitState) -> Quota {
    if limit.quota().limit() == state.limit {
        *limit.quota()
    } else {
        *limit.resized(state.limit).quota()
    }
}

/// The same limits in the same order, which says that the names are too.
impl PartialEq for NamedLimits {
    fn eq(&self, other: &Self) -> bool {
        self.limits == other.limits
    }
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all.fmt(f)
    }
}
