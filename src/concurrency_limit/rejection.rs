//! What a rejected request is told.

use std::{sync::Arc, time::Duration};

use super::ConcurrencyLimitRule;
use crate::{observe::LayerName, respond::Rejection};

/// As many requests of the subject run as may; requests at once are a quota too.
///
/// Nobody knows when one of them ends; a second is the least that can be told.
pub(super) fn denied(rule: &ConcurrencyLimitRule) -> Rejection {
    let name = rule.shared_name();
    Rejection::quota_exceeded(LAYER, name, [Arc::clone(name)])
        .with_retry_after(Duration::from_secs(1))
}

/// The backend does not answer, and the rule denies while it does not.
pub(super) fn outage(rule: &ConcurrencyLimitRule) -> Rejection {
    Rejection::outage(LAYER, rule.shared_name())
}

/// The request does not say whose slots it needs, and the rule insists.
pub(super) fn missing_key(rule: &ConcurrencyLimitRule) -> Rejection {
    Rejection::missing_key(LAYER, rule.shared_name())
}

const LAYER: &str = LayerName::ConcurrencyLimit.as_str();
