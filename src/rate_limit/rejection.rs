//! What a rejected request is told.

use std::sync::Arc;

use http::StatusCode;

use super::RateLimitRule;
use crate::{
    backend::{Decision, Retry},
    observe::LayerName,
    respond::{GrpcCode, Rejection},
};

/// The limits do not admit it, now or ever.
pub(super) fn denied(rule: &RateLimitRule, names: &[Arc<str>], decision: &Decision) -> Rejection {
    let violated = violated(names, decision);
    let rejection = Rejection::quota_exceeded(LAYER, rule.shared_name(), violated);
    with_retry(rejection, decision.retry())
}

/// The subject was denied so often that it is banned: `abnormal-usage-detected` of
/// draft-ietf-httpapi-ratelimit-headers-11 §5.3. The limits may deny for longer than the ban lasts.
pub(super) fn banned(rule: &RateLimitRule, decision: &Decision) -> Rejection {
    let rejection = rejection(
        rule,
        StatusCode::TOO_MANY_REQUESTS,
        GrpcCode::RESOURCE_EXHAUSTED,
        "Request not satisfied due to detection of abnormal request pattern",
    )
    .with_type("https://iana.org/assignments/http-problem-types#abnormal-usage-detected");
    with_retry(rejection, decision.retry())
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
    Rejection::outage(LAYER, rule.shared_name())
}

/// The request does not say whose limits it counts in, and the rule insists.
pub(super) fn missing_key(rule: &RateLimitRule) -> Rejection {
    Rejection::missing_key(LAYER, rule.shared_name())
}

/// Whether a layer like this one denied a request, because of its limits.
pub(super) fn is_of_limits(rejection: &Rejection) -> bool {
    rejection.layer() == LAYER && rejection.violated_policies().next().is_some()
}

fn with_retry(rejection: Rejection, retry: Retry) -> Rejection {
    match retry {
        Retry::After(wait) => rejection.with_retry_after(wait),
        Retry::Never => rejection.permanent(),
        Retry::Now => rejection,
    }
}

/// The names of the limits that deny it.
fn violated(names: &[Arc<str>], decision: &Decision) -> impl Iterator<Item = Arc<str>> {
    let limits = names.iter().zip(&decision.limits);
    limits
        .filter(|(_, state)| state.retry != Retry::Now)
        .map(|(name, _)| Arc::clone(name))
}

fn rejection(
    rule: &RateLimitRule,
    status: StatusCode,
    code: GrpcCode,
    title: &'static str,
) -> Rejection {
    let name: &Arc<str> = rule.shared_name();
    Rejection::new(LAYER, name, status, code, title)
}

const LAYER: &str = LayerName::RateLimit.as_str();

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, Request, header::RETRY_AFTER};
    use proptest::{collection::vec, prelude::*};
    use tonic_types::StatusExt as _;

    use super::*;
    use crate::{
        backend::{LimitState, Quota},
        clock::Timestamp,
        policy::{KeyExtractor as _, peer_ip},
        respond::{ProblemDetails, whole_seconds},
    };

    fn rule() -> RateLimitRule {
        let quotas = [("a", Quota::per_minute(5)), ("b", Quota::per_hour(5))];
        RateLimitRule::new("rule", peer_ip().or_shared(), quotas).unwrap()
    }

    fn denied_with(retries: [Retry; 2]) -> Rejection {
        let limits = retries.map(|retry| LimitState::new(5, 0, retry, None, 0));
        let rule = rule();
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

    #[test]
    fn a_ban_is_abnormal_usage_and_ends_with_its_rest() {
        let decision = Decision::denied(Timestamp::default(), Vec::new());
        let decision = decision.with_banned(Some(Duration::from_millis(1_500)));
        let rejection = banned(&rule(), &decision);
        assert_eq!(rejection.retry_after(), Some(Duration::from_millis(1_500)));
        assert_eq!(
            rejection.to_json(),
            serde_json::json!({
                "type": "https://iana.org/assignments/http-problem-types#abnormal-usage-detected",
                "title": "Request not satisfied due to detection of abnormal request pattern",
                "status": 429,
            })
        );
    }

    #[test]
    fn who_is_on_a_deny_list_is_forbidden_and_told_no_more() {
        let rejection = deny_listed(&rule());
        assert_eq!(rejection.grpc_code(), GrpcCode::PERMISSION_DENIED);
        assert_eq!(rejection.retry_after(), None);
        assert_eq!(
            rejection.to_json(),
            serde_json::json!({"type": "about:blank", "title": "Forbidden", "status": 403})
        );
    }

    #[test]
    fn an_outage_is_reduced_capacity_for_a_second() {
        let rejection = outage(&rule());
        assert_eq!(rejection.retry_after(), Some(Duration::from_secs(1)));
        assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rejection.grpc_code(), GrpcCode::UNAVAILABLE);
        assert_eq!(
            rejection.problem_type(),
            "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
        );
    }

    /// What the sender of a request with this content type reads.
    fn answer(rejection: Rejection, content_type: &str) -> HeaderMap {
        let request = Request::get("/").header("content-type", content_type);
        let (request, ()) = request.body(()).unwrap().into_parts();
        let response = rejection.answer::<Bytes>(&ProblemDetails, &request);
        response.into_parts().0.headers
    }

    /// States in which some limit denies, and resets before it would admit.
    fn denying() -> impl Strategy<Value = Vec<LimitState>> {
        let retry = prop_oneof![
            2 => Just(Retry::Now),
            4 => (1..=u64::from(u32::MAX)).prop_map(Duration::from_millis).prop_map(Retry::After),
            1 => Just(Retry::Never),
        ];
        let state = (retry, 0.0..=1.0_f64).prop_map(|(retry, fraction)| {
            let reset = match retry {
                Retry::After(wait) => wait.mul_f64(fraction),
                Retry::Now | Retry::Never => Duration::from_secs(60),
            };
            LimitState::new(5, 0, retry, Some(reset), 0)
        });
        vec(state, 2).prop_filter("a denial", |states| {
            states.iter().any(|state| state.retry != Retry::Now)
        })
    }

    proptest! {
        // P23
        #[test]
        fn retry_after_is_absent_iff_never_and_never_too_early(states in denying()) {
            let rule = rule();
            let decision = Decision::denied(Timestamp::default(), states.clone());
            let rejection = denied(&rule, &rule.limits().all().names, &decision);
            let page = answer(rejection.clone(), "text/html");
            let call = answer(rejection, "application/grpc");
            let told = page.get(RETRY_AFTER).map(|value| value.to_str().unwrap().parse::<u64>().unwrap());
            let push_back = call["grpc-retry-pushback-ms"].to_str().unwrap().parse::<i64>().unwrap();
            let retry_info = tonic::Status::from_header_map(&call).unwrap().get_details_retry_info();

            let is_never = states.iter().any(|state| state.retry == Retry::Never);
            prop_assert_eq!(told.is_none(), is_never);
            let is_too_long = |state: &LimitState| match state.retry {
                Retry::After(wait) => i32::try_from(wait.as_millis()).is_err(),
                Retry::Now | Retry::Never => false,
            };
            let is_pushed_away = is_never || states.iter().any(is_too_long);
            prop_assert_eq!(push_back == -1, is_pushed_away);
            prop_assert_eq!(retry_info.is_none(), is_never);
            prop_assert_eq!(call.get(RETRY_AFTER), page.get(RETRY_AFTER));
            for state in states {
                let (Some(told), Retry::After(wait)) = (told, state.retry) else {
                    continue;
                };
                prop_assert!(told >= 1 && told >= state.reset.map_or(0, whole_seconds));
                prop_assert!(Duration::from_secs(told) >= wait);
                if !is_pushed_away {
                    prop_assert!(Duration::from_millis(push_back.try_into().unwrap()) >= wait);
                }
                let delay = retry_info.as_ref().and_then(|info| info.retry_delay);
                prop_assert!(delay.unwrap() >= wait);
            }
        }
    }
}
