//! When limits admit again.

use std::time::Duration;

use super::{ALGORITHMS, first, limit, retries};
use crate::{
    backend::{Acquire, Decision, Quota, Quotas, Retry, Take},
    testing::conformance::{Case, Fixture, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        a_log_admits_after_its_retry_and_not_before,
        a_counter_admits_after_its_retry_and_not_before,
        a_fixed_window_admits_after_its_retry_and_not_before,
        an_aligned_window_admits_after_its_retry_and_not_before,
        buckets_admit_after_their_retry_and_not_before,
        a_token_bucket_admits_after_its_retry_and_not_before,
        several_limits_admit_after_the_longest_retry_and_not_before,
        a_limit_has_more_left_after_its_reset_and_not_before,
        silence_makes_a_limit_whole_again,
        no_window_holds_more_than_the_algorithm_says,
    ]
}

async fn a_log_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    scene.admits_when_due(Quota::log, 100).await;
}

async fn a_counter_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    scene.admits_when_due(Quota::counter, 60).await;
}

async fn a_fixed_window_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    scene.admits_when_due(Quota::fixed, 100).await;
}

async fn an_aligned_window_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    scene.admits_when_due(Quota::fixed_aligned, 100).await;
    let late = |limit, window| Quota::fixed_aligned(limit, window).with_offset(37 * MILLISECOND);
    scene.admits_when_due(late, 101).await;
}

async fn buckets_admit_after_their_retry_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let tenths = |limit, window| Quota::buckets(limit, window, 10);
    scene.admits_when_due(tenths, 100).await;
    let uneven = |limit, window| Quota::buckets(limit, window, 7);
    scene.admits_when_due(uneven, 80).await;
}

async fn a_token_bucket_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    scene.admits_when_due(Quota::token_bucket, 101).await;
    let burst = |limit, window| Quota::token_bucket(7, window).with_burst(limit);
    scene.admits_when_due(burst, 100).await;
}

async fn several_limits_admit_after_the_longest_retry_and_not_before<
    F: Fixture<Backend: Quotas>,
>(
    scene: Scene<F>,
) {
    let limits = [
        limit("short", Quota::sliding(2, 50 * MILLISECOND)),
        limit("long", Quota::fixed(2, 120 * MILLISECOND)),
    ];
    let request = scene.request("a", limits).with_cost(2);
    let both = scene.exhaust(&request).await;
    assert!(
        matches!(retries(&both)[..], [Retry::After(short), Retry::After(long)] if short < long),
        "each limit tells its own wait: {both:?}"
    );
    let longest = retries(&both).into_iter().max();
    assert_eq!(Some(both.retry()), longest, "the longest of any");
    scene.admitted_when_due(&request, &both).await;
}

async fn a_limit_has_more_left_after_its_reset_and_not_before<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(4, 70 * MILLISECOND))]);
        scene.acquire(&request.clone().with_cost(2)).await;
        scene.pass(10 * MILLISECOND).await;
        scene.acquire(&request.clone().with_take(Take::UpTo)).await;
        let seen = scene.look(&request).await;
        let before = first(&seen).remaining;
        let Some(reset) = first(&seen).reset else {
            // The window is over: this machine was busy with something else.
            assert_eq!(before, 4, "{name}: a reset, since some is taken");
            continue;
        };
        let due = seen.now + reset;
        scene.pass(reset.saturating_sub(MILLISECOND)).await;
        loop {
            let seen = scene.look(&request).await;
            let grown = first(&seen).remaining > before;
            let over = seen.now >= due;
            assert!(grown || !over, "{name}: the reset is over, none was given");
            let nearly_over = seen.now + MILLISECOND > due;
            assert!(
                nearly_over || !grown,
                "{name}: some was given before the reset"
            );
            if grown {
                break;
            }
            scene.pass(MILLISECOND).await;
        }
    }
}

async fn silence_makes_a_limit_whole_again<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(4, 60 * MILLISECOND))]);
        scene.acquire(&request.clone().with_cost(4)).await;
        scene.pass(122 * MILLISECOND).await;
        let seen = scene.look(&request).await;
        assert_eq!(first(&seen).remaining, 4, "{name}: two windows passed");
        assert_eq!(first(&seen).reset, None, "{name}: nothing is taken");
        let decision = scene.acquire(&request.with_cost(4)).await;
        assert!(decision.admitted, "{name}: all of it is there");
    }
}

async fn no_window_holds_more_than_the_algorithm_says<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = 40;
    let most = [4, 2 * 4 - 1, 2 * 4 - 1, 2 * 4, 4, 2 * 4 - 1];
    for ((name, quota), most) in ALGORITHMS.into_iter().zip(most) {
        let request = scene.request(name, [limit("a", quota(4, window * MILLISECOND))]);
        let mut admitted = Vec::new();
        for _ in 0..30 {
            for _ in 0..2 {
                let decision = scene.acquire(&request).await;
                if decision.admitted {
                    admitted.push(decision.now.as_millis());
                }
            }
            scene.pass(5 * MILLISECOND).await;
        }
        for start in &admitted {
            let end = start + u64::from(window);
            let within = admitted.iter().filter(|hit| (*start..end).contains(*hit));
            let within = within.count();
            assert!(within <= most, "{name}: {within} in one window, not {most}");
        }
        assert!(admitted.len() >= 8, "{name}: windows pass, and admit again");
    }
}

impl<F: Fixture<Backend: Quotas>> Scene<F> {
    /// Checks the waits that this quota tells, for costs small and large, at
    /// windows in milliseconds.
    async fn admits_when_due(&self, quota: impl Fn(u64, Duration) -> Quota, window: u32) {
        for cost in [1, 3] {
            let subject = format!("{window} ms, cost {cost}");
            let limits = [limit("a", quota(4, window * MILLISECOND))];
            let request = self.request(&subject, limits);
            self.acquire(&request.clone().with_cost(2)).await;
            self.pass(MILLISECOND * (window / 5)).await;
            self.exhaust(&request).await;
            let request = request.with_cost(cost);
            let denied = self.exhaust(&request).await;
            self.admitted_when_due(&request, &denied).await;
        }
    }

    /// Waits as long as a denied call was told, and checks that no less and no more was needed.
    async fn admitted_when_due(&self, request: &Acquire, denied: &Decision) {
        let Retry::After(wait) = denied.retry() else {
            panic!("denied, but the retry is {:?}", denied.retry());
        };
        let due = denied.now + wait;
        self.pass(wait.saturating_sub(MILLISECOND)).await;
        loop {
            let decision = self.acquire(request).await;
            let now = decision.now;
            if decision.admitted {
                // All but the token bucket count milliseconds from their beginning.
                assert!(
                    now + MILLISECOND > due,
                    "admitted {:?} too early",
                    due - now
                );
                return;
            }
            assert!(now < due, "denied {:?} after the retry was over", now - due);
            self.pass(MILLISECOND).await;
        }
    }
}
