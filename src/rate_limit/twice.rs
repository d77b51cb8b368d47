//! Noticing that a rule counts one request twice: its layer is there twice,
//! or another one has it too.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use http::Extensions;

use super::RateLimitRule;
use crate::observe::WarnOnce;

/// How many requests a rule has looked at; clones of a rule look together.
#[derive(Clone, Default)]
pub(super) struct Looks(Arc<AtomicU32>);

/// The rules that count a request, in its extensions.
#[derive(Clone, Default)]
struct CountedBy(Vec<Arc<str>>);

/// Warns, once, if one of these rules counts this request already.
///
/// Only the first requests of a rule are looked at: how layers are put together does not change,
/// and the mark costs an allocation.
pub(super) fn watch<'a>(
    rules: impl Iterator<Item = &'a RateLimitRule>,
    extensions: &mut Extensions,
) {
    if TWICE.has_warned() {
        return;
    }
    for rule in rules.filter(|rule| rule.looks().are_left()) {
        let CountedBy(names) = extensions.get_or_insert_default();
        if names.contains(rule.shared_name()) {
            TWICE.warn(&format_args!(
                "rule {:?} counts a request twice: it is in two layers around one service, in one \
                 that is there twice, or twice in a chain of rules",
                rule.name()
            ));
        }
        names.push(Arc::clone(rule.shared_name()));
    }
}

impl Looks {
    fn are_left(&self) -> bool {
        let Self(looks) = self;
        looks.load(Ordering::Relaxed) < MAX_LOOKS
            && looks.fetch_add(1, Ordering::Relaxed) < MAX_LOOKS
    }
}

/// Where a rule counts a request twice.
static TWICE: WarnOnce = WarnOnce::new("rate_limit: rule applied twice");

const MAX_LOOKS: u32 = 64;

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http::{Request, Response};
    use tower::{Layer as _, Service, ServiceExt as _, service_fn};

    use super::*;
    use crate::{
        backend::MemoryBackend,
        observe::tests::logged,
        policy::{KeyExtractor as _, header},
        rate_limit::{Quota, RateLimitLayer},
    };

    fn rule(name: &str) -> RateLimitRule {
        let quotas = [("minute", Quota::per_minute(1_000))];
        RateLimitRule::new(name, header("x-key").or_shared(), quotas).unwrap()
    }

    fn layer(rule: RateLimitRule) -> RateLimitLayer {
        RateLimitLayer::new(MemoryBackend::new(), rule).unwrap()
    }

    async fn hello(_: Request<Bytes>) -> Result<Response<Bytes>, Infallible> {
        Ok(Response::default())
    }

    /// What is warned of while a hundred requests run.
    fn warnings(
        service: &(impl Service<Request<Bytes>, Response = Response<Bytes>, Error = Infallible> + Clone),
    ) -> Vec<String> {
        let mut log = logged(async {
            for _ in 0..100 {
                let Ok(_) = service.clone().oneshot(Request::default()).await;
            }
        });
        log.retain(|line| line.contains("WARN"));
        log
    }

    /// One test, for it is warned of once in a process.
    #[test]
    fn a_rule_that_counts_a_request_twice_is_warned_of_once_and_no_other_is() {
        let chain = rule("a").with_and(rule("b"));
        let each_once = layer(chain).layer(layer(rule("c")).layer(service_fn(hello)));
        assert_eq!(warnings(&each_once), [""; 0]);

        let api = layer(rule("api"));
        let warned_of = warnings(&api.layer(api.layer(service_fn(hello))));
        assert_eq!(warned_of.len(), 1);
        assert!(warned_of[0].contains(r#"rule "api" counts a request twice"#));

        let in_a_chain = layer(rule("a").with_and(rule("a"))).layer(service_fn(hello));
        assert_eq!(warnings(&in_a_chain), [""; 0], "it is told once");
    }

    #[test]
    fn only_the_first_requests_are_looked_at() {
        let rule = rule("a");
        let looked_at = (0..100).filter(|_| rule.clone().looks().are_left()).count();
        assert_eq!(looked_at, 64);
    }
}
