//! What is taken from limits, and what they say is left.

use super::{ALGORITHMS, first, left, limit, reset_at, retries};
use crate::{
    backend::{Acquire, BackendErrorKind, Quota, Quotas, Retry, Take},
    testing::conformance::{Case, Fixture, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        every_algorithm_admits_exactly_its_limit,
        a_decision_tells_the_backends_time,
        a_larger_cost_takes_more,
        a_weight_multiplies_every_cost,
        a_cost_of_zero_only_looks,
        a_cost_above_the_limit_is_never_admitted,
        a_limit_of_size_zero_admits_only_what_costs_nothing,
        a_decision_tells_the_size_that_was_applied,
        a_denied_call_writes_nothing,
        several_limits_take_all_or_nothing,
        limits_answer_in_the_order_of_the_request,
        as_many_limits_as_may_be_are_decided_in_one_call,
        one_counter_twice_in_a_call_is_refused,
        more_limits_than_allowed_are_refused,
        up_to_takes_what_fits,
        up_to_takes_what_fits_all_limits,
    ]
}

async fn every_algorithm_admits_exactly_its_limit<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(5, window))]);
        for left in (0..5).rev() {
            let decision = scene.acquire(&request).await;
            assert!(decision.admitted, "{name}: {left} were to be left of 5");
            assert_eq!(decision.taken, 1, "{name}");
            assert_eq!(decision.retry(), Retry::Now, "{name}: it was admitted");
            assert_eq!(first(&decision).remaining, left, "{name}");
        }
        let decision = scene.acquire(&request).await;
        assert!(
            !decision.admitted,
            "{name}: the limit is 5, and this the 6th"
        );
        assert_eq!(decision.taken, 0, "{name}: what is denied takes nothing");
        assert_eq!(first(&decision).remaining, 0, "{name}");
        let retry = decision.retry();
        assert!(
            matches!(retry, Retry::After(wait) if wait <= 2 * window && !wait.is_zero()),
            "{name}: {retry:?}"
        );
    }
}

async fn a_decision_tells_the_backends_time<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.request("a", [limit("a", Quota::per_hour(1))]);
    for denied in [false, true] {
        let before = scene.now().await;
        let decision = scene.acquire(&request).await;
        let after = scene.now().await;
        assert_eq!(decision.admitted, !denied);
        assert!(
            before <= decision.now + MILLISECOND && decision.now <= after + MILLISECOND,
            "{before:?} <= {:?} <= {after:?}",
            decision.now,
        );
    }
}

async fn a_larger_cost_takes_more<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(5, window))]);
        let three = request.clone().with_cost(3);
        let decision = scene.acquire(&three).await;
        assert_eq!((decision.admitted, decision.taken), (true, 3), "{name}");
        assert_eq!(first(&decision).remaining, 2, "{name}");
        let decision = scene.acquire(&three).await;
        assert!(!decision.admitted, "{name}: 2 are left, and 3 were asked");
        assert_eq!(first(&decision).remaining, 2, "{name}");
        let decision = scene.acquire(&request.with_cost(2)).await;
        assert!(decision.admitted, "{name}: 2 are left, and 2 were asked");
        assert_eq!(first(&decision).remaining, 0, "{name}");
    }
}

async fn a_weight_multiplies_every_cost<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(5, window).with_weight(2))]);
        let decision = scene.acquire(&request).await;
        assert_eq!((decision.admitted, decision.taken), (true, 1), "{name}");
        let left = first(&decision).remaining;
        assert_eq!(left, 1, "{name}: one more call of 2 fits, of 3 left");
        assert!(
            scene.acquire(&request).await.admitted,
            "{name}: 3 were left"
        );
        let decision = scene.acquire(&request).await;
        assert!(!decision.admitted, "{name}: 1 was left, a call counts 2");
        let decision = scene.acquire(&request.with_cost(3)).await;
        assert_eq!(decision.retry(), Retry::Never, "{name}: 6 of 5");
    }
}

async fn a_cost_of_zero_only_looks<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(2, window))]);
        for left in [2, 1, 0] {
            for _ in 0..3 {
                let seen = scene.look(&request).await;
                assert!(seen.admitted, "{name}: nothing asked is never denied");
                assert_eq!((seen.taken, seen.retry()), (0, Retry::Now), "{name}");
                assert_eq!(first(&seen).remaining, left, "{name}");
                let whole = first(&seen).reset.is_none();
                assert_eq!(whole, left == 2, "{name}: a reset if any is taken");
            }
            scene.acquire(&request).await;
        }
    }
}

async fn a_cost_above_the_limit_is_never_admitted<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [
            limit("small", quota(3, window)),
            limit("large", quota(9, window)),
        ];
        let request = scene.request(name, limits).with_cost(4);
        let decision = scene.acquire(&request).await;
        assert!(!decision.admitted, "{name}: 4 of 3");
        assert_eq!(decision.retry(), Retry::Never, "{name}: never, if any is");
        assert_eq!(retries(&decision), [Retry::Never, Retry::Now], "{name}");
        assert_eq!(left(&decision), [3, 9], "{name}: nothing is taken");
        let huge = request.with_cost(u64::MAX);
        let decision = scene.acquire(&huge).await;
        assert_eq!(retries(&decision), [Retry::Never; 2], "{name}: no overflow");
    }
}

async fn a_limit_of_size_zero_admits_only_what_costs_nothing<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let some = limit("a", quota(3, window));
        let none = some.resized(0);
        for taken in [false, true] {
            if taken {
                scene.acquire(&scene.request(name, [some])).await;
            }
            let request = scene.request(name, [none]);
            let decision = scene.acquire(&request).await;
            assert!(!decision.admitted, "{name}: nothing fits");
            assert_eq!(decision.retry(), Retry::Never, "{name}: nor ever will");
            assert_eq!(left(&decision), [0], "{name}");
            assert_eq!(first(&decision).reset, None, "{name}: no more will come");
            let decision = scene.acquire(&request.with_take(Take::UpTo)).await;
            assert_eq!((decision.admitted, decision.taken), (false, 0), "{name}");
            let seen = scene.look(&scene.request(name, [none])).await;
            assert!(seen.admitted, "{name}: nothing asked is never denied");
        }
        let seen = scene.look(&scene.request(name, [some])).await;
        assert_eq!(left(&seen), [2], "{name}: it took nothing of the whole");
    }
}

async fn a_decision_tells_the_size_that_was_applied<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [
            limit("a", quota(3, window)).resized(7),
            limit("b", quota(4, window).with_weight(2)),
        ];
        let decision = scene.acquire(&scene.request(name, limits)).await;
        let sizes: Vec<_> = decision.limits.iter().map(|limit| limit.limit).collect();
        assert_eq!(sizes, [7, 4], "{name}: in units");
        assert_eq!(left(&decision), [6, 1], "{name}: in calls");
    }
}

async fn a_denied_call_writes_nothing<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(4, window))]);
        scene.acquire(&request.clone().with_cost(3)).await;
        let before = scene.look(&request).await;
        for _ in 0..20 {
            scene.pass(MILLISECOND).await;
            let decision = scene.acquire(&request.clone().with_cost(2)).await;
            assert!(!decision.admitted, "{name}: 1 is left, and 2 were asked");
        }
        let after = scene.look(&request).await;
        assert_eq!(left(&before), left(&after), "{name}");
        assert_eq!(reset_at(&before), reset_at(&after), "{name}: no later");
    }
}

async fn several_limits_take_all_or_nothing<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [
            limit("large", quota(9, window)),
            limit("small", quota(2, window)),
        ];
        let request = scene.request(name, limits);
        for expected in [[8, 1], [7, 0]] {
            let decision = scene.acquire(&request).await;
            assert!(decision.admitted, "{name}: both have room");
            assert_eq!(left(&decision), expected, "{name}: both are taken from");
        }
        for _ in 0..3 {
            let decision = scene.acquire(&request).await;
            assert!(!decision.admitted, "{name}: the small one has no room");
            assert_eq!(left(&decision), [7, 0], "{name}: neither is taken from");
            let small = retries(&decision);
            assert!(
                matches!(small[..], [Retry::Now, Retry::After(_)]),
                "{name}: each limit tells its own wait, {small:?}"
            );
        }
    }
}

async fn limits_answer_in_the_order_of_the_request<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    let [a, b, c, d, ..] = ALGORITHMS;
    let limits = [
        limit("z", d.1(30, window)),
        limit("a", c.1(10, window)),
        limit("m", b.1(40, window)),
        limit("b", a.1(20, window)),
    ];
    let request = scene.request("forwards", limits);
    assert_eq!(left(&scene.acquire(&request).await), [29, 9, 39, 19]);
    let reversed = scene.request("forwards", limits.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(left(&scene.acquire(&reversed).await), [18, 38, 8, 28]);
}

async fn as_many_limits_as_may_be_are_decided_in_one_call<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    let mut limits = Vec::new();
    for (n, (_, quota)) in (1_u32..).zip(ALGORITHMS.iter().cycle().take(Acquire::MAX_LIMITS)) {
        let quota = quota(10 * u64::from(n), window + n * MILLISECOND);
        limits.push(limit("a", quota));
    }
    let request = scene.request("a", limits).with_cost(10);
    let decision = scene.acquire(&request).await;
    assert_eq!(left(&decision), [0, 10, 20, 30, 40, 50, 60, 70]);
    let decision = scene.acquire(&request).await;
    assert!(!decision.admitted, "the first of them has no room");
    assert_eq!(left(&decision), [0, 10, 20, 30, 40, 50, 60, 70]);
}

async fn one_counter_twice_in_a_call_is_refused<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(5, window)), limit("a", quota(9, window))];
        let request = scene.request(name, limits);
        scene.refused(&request).await;
        scene.refused(&request.with_cost(0)).await;
        let seen = scene.look(&scene.request(name, [limits[0]])).await;
        assert_eq!(left(&seen), [5], "{name}: what is refused takes nothing");
    }
}

async fn more_limits_than_allowed_are_refused<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limit = |n: usize| limit(&n.to_string(), quota(5, window));
        let limits: Vec<_> = (0..=Acquire::MAX_LIMITS).map(limit).collect();
        scene.refused(&scene.request(name, limits)).await;
        let seen = scene.look(&scene.request(name, [limit(0)])).await;
        assert_eq!(left(&seen), [5], "{name}: what is refused takes nothing");
    }
}

async fn up_to_takes_what_fits<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(5, window))]);
        let request = request.with_take(Take::UpTo).with_cost(3);
        let decision = scene.acquire(&request).await;
        assert_eq!(
            (decision.admitted, decision.taken),
            (true, 3),
            "{name}: all"
        );
        let decision = scene.acquire(&request).await;
        assert_eq!(
            (decision.admitted, decision.taken),
            (true, 2),
            "{name}: some"
        );
        assert_eq!(first(&decision).remaining, 0, "{name}");
        let decision = scene.acquire(&request).await;
        assert_eq!(
            (decision.admitted, decision.taken),
            (false, 0),
            "{name}: none"
        );
        assert!(matches!(decision.retry(), Retry::After(_)), "{name}: later");
        let subject = format!("{name}, anew");
        let request = scene.request(&subject, request.limits).with_cost(9);
        let decision = scene.acquire(&request.with_take(Take::UpTo)).await;
        assert_eq!(
            decision.taken, 5,
            "{name}: also if the cost is above the limit"
        );
    }
}

async fn up_to_takes_what_fits_all_limits<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [
            limit("a", quota(9, window)),
            limit("b", quota(7, window).with_weight(2)),
            limit("c", quota(5, window)),
        ];
        let request = scene.request(name, limits).with_take(Take::UpTo);
        let decision = scene.acquire(&request.with_cost(8)).await;
        assert_eq!(decision.taken, 3, "{name}: the least that fits any");
        assert_eq!(left(&decision), [6, 0, 2], "{name}: the same from each");
    }
}

impl<F: Fixture<Backend: Quotas>> Scene<F> {
    async fn refused(&self, request: &Acquire) {
        let decision = self.backend().acquire(request).await;
        let kind = decision.map_err(|error| error.kind());
        assert_eq!(kind, Err(BackendErrorKind::InvalidInput));
    }
}
