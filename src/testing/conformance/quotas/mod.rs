//! Cases of [`Quotas`].

mod bans;
mod concurrency;
mod counters;
mod limits;
mod refund;
mod retry;
mod sizes;

use std::time::Duration;

use super::{Case, Fixture, Scene};
use crate::backend::{Acquire, Decision, Limit, LimitState, Quota, Quotas, Receipt, Retry, Take};

/// What [`Quotas`] owes.
#[must_use]
pub fn quotas<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: Quotas,
{
    [
        limits::cases(),
        counters::cases(),
        retry::cases(),
        refund::cases(),
        bans::cases(),
        sizes::cases(),
        concurrency::cases(),
    ]
    .concat()
}

impl<F: Fixture<Backend: Quotas>> Scene<F> {
    /// A request of cost one for a subject of this run.
    fn request(&self, subject: &str, limits: impl Into<std::sync::Arc<[Limit]>>) -> Acquire {
        Acquire::new(self.key(subject), limits)
    }

    async fn acquire(&self, request: &Acquire) -> Decision {
        let decision = self.backend().acquire(request).await;
        let decision = decision.expect("acquire answers");
        let (asked, told) = (request.limits.len(), decision.limits.len());
        assert_eq!(asked, told, "a decision tells the state of each limit");
        decision
    }

    async fn look(&self, request: &Acquire) -> Decision {
        self.acquire(&request.clone().with_cost(0).with_take(Take::All))
            .await
    }

    async fn refund(&self, receipt: &Receipt) {
        let refund = self.backend().refund(receipt).await;
        refund.expect("refund answers");
    }

    async fn reset(&self, request: &Acquire) {
        let Acquire {
            subject, limits, ..
        } = request;
        let reset = self.backend().reset(subject, limits).await;
        reset.expect("reset answers");
    }

    /// Asks until the answer is no.
    async fn exhaust(&self, request: &Acquire) -> Decision {
        for _ in 0..1_000 {
            let decision = self.acquire(request).await;
            if !decision.admitted {
                return decision;
            }
        }
        panic!("1000 calls in a row were admitted");
    }

    /// A window of an hour or more, no edge of which, if it is aligned, is near.
    async fn calm_window(&self) -> Duration {
        let now = self.now().await.as_millis();
        let minute = 60_000;
        let mut windows = (60..).map(|minutes| minutes * minute);
        let calm = windows.find(|window| now % window < window - 10 * minute);
        Duration::from_millis(calm.unwrap_or(60 * minute))
    }
}

fn limit(name: &str, quota: Quota) -> Limit {
    Limit::new(name, quota).expect("the quota is a valid one")
}

fn first(decision: &Decision) -> &LimitState {
    decision.limits.first().expect("one limit was asked for")
}

fn left(decision: &Decision) -> Vec<u64> {
    let limits = decision.limits.iter();
    limits.map(|limit| limit.remaining).collect()
}

fn retries(decision: &Decision) -> Vec<Retry> {
    let limits = decision.limits.iter();
    limits.map(|limit| limit.retry).collect()
}

/// The millisecond in which more is left of the first limit.
fn reset_at(decision: &Decision) -> Option<u64> {
    let reset = first(decision).reset?;
    Some((decision.now + reset).as_millis())
}

/// Every algorithm and its name; the last is the token bucket, which
/// measures what is taken in time.
const ALGORITHMS: [(&str, NewQuota); 6] = [
    ("log", Quota::log),
    ("counter", Quota::counter),
    ("fixed", Quota::fixed),
    ("fixed_aligned", Quota::fixed_aligned),
    ("buckets", |limit, window| Quota::buckets(limit, window, 10)),
    ("token_bucket", Quota::token_bucket),
];

type NewQuota = fn(u64, Duration) -> Quota;
