//! What a rejected request is told.

use std::{sync::Arc, time::Duration};

use http::StatusCode;

use super::RateLimitRule;
use crate::{
    backend::{Decision, Retry},
    observe::LayerName,
    respond::{GrpcCode, Rejection},
};

/// The limits do not admit it: `quota-exceeded` of draft-ietf-httpapi-ratelimit-headers-11.
pub(super) fn denied(rule: &RateLimitRule, names: &[Arc<str>], decision: &Decision) -> Rejection {
    let limits = names.iter().zip(&decision.limits);
    let violated: Vec<&str> = limits
        .filter(|(_, state)| state.retry != Retry::Now)
        .map(|(name, _)| &**name)
        .collect();
    let rejection = rejection(
        rule,
        StatusCode::TOO_MANY_REQUESTS,
        GrpcCode::RESOURCE_EXHAUSTED,
        "Request cannot be satisfied as assigned quota has been exceeded",
    )
    .with_type("https://iana.org/assignments/http-problem-types#quota-exceeded")
    .with_member("violated-policies", violated);
    match decision.retry() {
        Retry::After(wait) => rejection.with_retry_after(wait),
        Retry::Never => rejection.permanent(),
        Retry::Now => rejection,
    }
}

/// The subject was denied too often: `abnormal-usage-detected` of the same draft.
pub(super) fn banned(rule: &RateLimitRule, left: Duration) -> Rejection {
    rejection(
        rule,
        StatusCode::TOO_MANY_REQUESTS,
        GrpcCode::RESOURCE_EXHAUSTED,
        "Request not satisfied due to detection of abnormal request pattern",
    )
    .with_type("https://iana.org/assignments/http-problem-types#abnormal-usage-detected")
    .with_retry_after(left)
}

/// The request is on the rule's deny list.
pub(super) fn deny_listed(rule: &RateLimitRule) -> Rejection {
    rejection(
        rule,
        StatusCode::FORBIDDEN,
        GrpcCode::PERMISSION_DENIED,
        "Forbidden",
    )
}

/// The backend does not answer, and the rule denies while it does not.
pub(super) fn outage(rule: &RateLimitRule) -> Rejection {
    rejection(
        rule,
        StatusCode::SERVICE_UNAVAILABLE,
        GrpcCode::UNAVAILABLE,
        "Request cannot be satisfied due to temporary server capacity constraints",
    )
    .with_type("https://iana.org/assignments/http-problem-types#temporary-reduced-capacity")
    .with_retry_after(Duration::from_secs(1))
}

/// The request does not say whose limits it counts in, and the rule insists.
pub(super) fn missing_key(rule: &RateLimitRule) -> Rejection {
    rejection(
        rule,
        StatusCode::BAD_REQUEST,
        GrpcCode::INVALID_ARGUMENT,
        "Bad Request",
    )
    .with_member(
        "detail",
        "the request does not say whose limit it counts in",
    )
}

fn rejection(
    rule: &RateLimitRule,
    status: StatusCode,
    code: GrpcCode,
    title: &'static str,
) -> Rejection {
    let name: &Arc<str> = rule.shared_name();
    Rejection::new(LayerName::RateLimit.as_str(), name, status, code, title)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::{LimitState, Quota},
        clock::Timestamp,
        policy::{KeyExtractor as _, peer_ip},
    };

    fn denied_with(retries: [Retry; 2]) -> Rejection {
        let quotas = [("a", Quota::per_minute(5)), ("b", Quota::per_hour(5))];
        let rule = RateLimitRule::new("rule", peer_ip().or_shared(), quotas).unwrap();
        let limits = retries.map(|retry| LimitState::new(5, 0, retry, None, 0));
        denied(
            &rule,
            &rule.limits().all().names,
            &Decision::denied(Timestamp::default(), limits.into()),
        )
    }

    #[test]
    fn a_cost_that_never_fits_is_permanent() {
        let minute = Retry::After(Duration::from_secs(60));
        let rejection = denied_with([minute, Retry::Never]);
        assert!(rejection.is_permanent());
        assert_eq!(rejection.retry_after(), None);
        assert_eq!(rejection.to_json()["permanent"], true);
    }

    #[test]
    fn the_longest_wait_of_the_limits_that_deny_is_told() {
        let second = Retry::After(Duration::from_secs(1));
        let rejection = denied_with([second, Retry::Now]);
        assert_eq!(rejection.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(
            rejection.to_json()["violated-policies"],
            serde_json::json!(["rule.a"])
        );
    }
}
