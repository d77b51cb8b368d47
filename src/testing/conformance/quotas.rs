//! Cases of [`Quotas`].

use std::time::Duration;

use super::{Case, Fixture, MILLISECOND, Scene, at_once, cases};
use crate::backend::{Acquire, Decision, Limit, LimitState, Quota, Quotas, Receipt, Retry, Take};

/// What [`Quotas`] owes.
#[must_use]
pub fn quotas<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: Quotas,
{
    cases![
        every_algorithm_admits_exactly_its_limit,
        a_decision_tells_the_backends_time,
        a_larger_cost_takes_more,
        a_weight_multiplies_every_cost,
        a_cost_of_zero_only_looks,
        a_cost_above_the_limit_is_never_admitted,
        a_denied_call_writes_nothing,
        several_limits_take_all_or_nothing,
        limits_answer_in_the_order_of_the_request,
        as_many_limits_as_may_be_are_decided_in_one_call,
        a_log_admits_after_its_retry_and_not_before,
        a_counter_admits_after_its_retry_and_not_before,
        a_fixed_window_admits_after_its_retry_and_not_before,
        an_aligned_window_admits_after_its_retry_and_not_before,
        several_limits_admit_after_the_longest_retry_and_not_before,
        a_limit_has_more_left_after_its_reset_and_not_before,
        silence_makes_a_limit_whole_again,
        no_window_holds_more_than_the_algorithm_says,
        up_to_takes_what_fits,
        up_to_takes_what_fits_all_limits,
        a_refund_gives_back_what_was_taken,
        a_refund_of_nothing_changes_nothing,
        a_refund_without_a_counter_makes_none,
        a_refund_after_the_window_gives_no_credit,
        a_refund_sent_twice_gives_no_more_than_the_limit,
        a_reset_forgets_what_was_taken,
        a_reset_leaves_other_limits_and_subjects,
        concurrent_calls_admit_exactly_the_limit,
        concurrent_calls_share_what_fits,
        limits_of_one_name_share_a_counter,
        other_names_windows_algorithms_and_subjects_share_nothing,
        lowering_a_limit_forgives_nothing,
        raising_a_limit_acts_at_once,
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
        assert_eq!(left, 3, "{name}: in the limit's own units");
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
    let [a, b, c, d] = ALGORITHMS;
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

async fn a_log_admits_after_its_retry_and_not_before<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    scene.admits_when_due(Quota::sliding, 100).await;
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
        let due = reset_at(&seen).expect("a reset, since some is taken");
        let reset = first(&seen).reset.unwrap_or_default();
        scene.pass(reset.saturating_sub(MILLISECOND)).await;
        loop {
            let seen = scene.look(&request).await;
            let grown = first(&seen).remaining > before;
            let over = u128::from(seen.now.as_millis()) >= due;
            assert!(grown || !over, "{name}: the reset is over, none was given");
            assert!(over || !grown, "{name}: some was given before the reset");
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
    let most = [4, 2 * 4 - 1, 2 * 4 - 1, 2 * 4];
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
        assert_eq!(left(&decision), [6, 1, 2], "{name}: the same from each");
    }
}

async fn a_refund_gives_back_what_was_taken<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [
            limit("a", quota(5, window)),
            limit("b", quota(12, window).with_weight(2)),
        ];
        let request = scene.request(name, limits);
        scene.acquire(&request).await;
        let three = request.clone().with_cost(3);
        let decision = scene.acquire(&three).await;
        assert_eq!(left(&decision), [1, 4], "{name}");
        scene.refund(&decision.receipt(&three)).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [4, 10], "{name}: what was taken before stays");
    }
}

async fn a_refund_of_nothing_changes_nothing<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(2, window))]);
        scene.acquire(&request.clone().with_cost(2)).await;
        let denied = scene.acquire(&request).await;
        scene.refund(&denied.receipt(&request)).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [0], "{name}: a denied call took nothing");
    }
}

async fn a_refund_without_a_counter_makes_none<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(3, window))]);
        let decision = scene.acquire(&request).await;
        scene.reset(&request).await;
        scene.refund(&decision.receipt(&request)).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [3], "{name}: no more than the limit");
        assert_eq!(first(&seen).reset, None, "{name}: nothing is taken");
    }
}

async fn a_refund_after_the_window_gives_no_credit<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(3, 60 * MILLISECOND))];
        let request = scene.request(name, limits).with_cost(2);
        let late = scene.acquire(&request).await;
        scene.pass(125 * MILLISECOND).await;
        scene.acquire(&request).await;
        let before = scene.look(&request).await;
        scene.refund(&late.receipt(&request)).await;
        let after = scene.look(&request).await;
        let unchanged = reset_at(&before) == reset_at(&after);
        let passed = Some(u128::from(after.now.as_millis())) >= reset_at(&before);
        assert!(
            passed || (unchanged && left(&before) == left(&after)),
            "{name}: what no longer counts was given back: {before:?} {after:?}"
        );
    }
}

async fn a_refund_sent_twice_gives_no_more_than_the_limit<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.request(name, [limit("a", quota(3, window))]);
        let decision = scene.acquire(&request.clone().with_cost(2)).await;
        for _ in 0..2 {
            scene.refund(&decision.receipt(&request)).await;
        }
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [3], "{name}: no more than the limit");
    }
}

async fn a_reset_forgets_what_was_taken<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(3, window)), limit("b", quota(4, window))];
        let request = scene.request(name, limits);
        scene.reset(&request).await;
        scene.acquire(&request.clone().with_cost(3)).await;
        scene.reset(&request).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [3, 4], "{name}: all is there again");
        assert_eq!(first(&seen).reset, None, "{name}: nothing is taken");
    }
}

async fn a_reset_leaves_other_limits_and_subjects<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(3, window)), limit("b", quota(4, window))];
        let request = scene.request(name, limits);
        let other = scene.request(&format!("{name}, other"), limits);
        scene.acquire(&request).await;
        scene.acquire(&other).await;
        scene.reset(&scene.request(name, [limits[0]])).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [3, 3], "{name}: only the limit that was named");
        let seen = scene.look(&other).await;
        assert_eq!(
            left(&seen),
            [2, 3],
            "{name}: only the subject that was named"
        );
    }
}

async fn concurrent_calls_admit_exactly_the_limit<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(20, window)), limit("b", quota(30, window))];
        let admitted = at_once(64, |_| {
            let scene = scene.clone();
            async move { scene.acquire(&scene.request(name, limits)).await.admitted }
        })
        .await;
        let admitted = admitted.into_iter().filter(|admitted| *admitted).count();
        assert_eq!(admitted, 20, "{name}: of 64 calls at once");
        let seen = scene.look(&scene.request(name, limits)).await;
        assert_eq!(left(&seen), [0, 10], "{name}: what is denied takes nothing");
    }
}

async fn concurrent_calls_share_what_fits<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let limits = [limit("a", quota(50, window))];
        let taken = at_once(32, |_| {
            let scene = scene.clone();
            let request = scene.request(name, limits).with_cost(3);
            async move { scene.acquire(&request.with_take(Take::UpTo)).await.taken }
        })
        .await;
        assert_eq!(taken.iter().sum::<u64>(), 50, "{name}: {taken:?}");
    }
}

async fn limits_of_one_name_share_a_counter<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let large = scene.request(name, [limit("a", quota(8, window))]);
        let small = scene.request(name, [limit("a", quota(5, window))]);
        scene.acquire(&large.clone().with_cost(2)).await;
        let decision = scene.acquire(&small).await;
        assert_eq!(left(&decision), [2], "{name}: 3 of 5, whatever the size");
        assert_eq!(left(&scene.look(&large).await), [5], "{name}: 3 of 8");
    }
}

async fn other_names_windows_algorithms_and_subjects_share_nothing<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    let mut others = Vec::new();
    for (_, quota) in ALGORITHMS {
        others.push(limit("a", quota(3, window)));
        others.push(limit("b", quota(3, window)));
        others.push(limit("a", quota(3, window + MILLISECOND)));
    }
    let offset = Quota::fixed_aligned(3, window).with_offset(MILLISECOND);
    others.push(limit("a", offset));
    for other in &others {
        let request = scene.request("a", [*other]);
        let decision = scene.acquire(&request).await;
        assert_eq!(left(&decision), [2], "{:?} is on its own", other.quota());
    }
    let request = scene.request("b", [limit("a", Quota::sliding(3, window))]);
    let decision = scene.acquire(&request).await;
    assert_eq!(left(&decision), [2], "a subject is on its own");
}

async fn lowering_a_limit_forgives_nothing<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let high = scene.request(name, [limit("a", quota(6, window))]);
        let low = scene.request(name, [limit("a", quota(3, window))]);
        scene.acquire(&high.clone().with_cost(5)).await;
        let decision = scene.acquire(&low).await;
        assert!(!decision.admitted, "{name}: 5 of 3 are taken");
        assert_eq!(
            left(&decision),
            [0],
            "{name}: and not less than nothing left"
        );
        assert!(matches!(decision.retry(), Retry::After(_)), "{name}: later");
        let decision = scene.acquire(&high).await;
        assert_eq!(
            (decision.admitted, left(&decision)),
            (true, vec![0]),
            "{name}"
        );
    }
}

async fn raising_a_limit_acts_at_once<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let low = scene.request(name, [limit("a", quota(2, window))]);
        let high = scene.request(name, [limit("a", quota(5, window))]);
        scene.acquire(&low.clone().with_cost(2)).await;
        assert!(
            !scene.acquire(&low).await.admitted,
            "{name}: 2 of 2 are taken"
        );
        let decision = scene.acquire(&high.with_cost(3)).await;
        assert!(decision.admitted, "{name}: 3 of 5 are left");
        assert_eq!(left(&decision), [0], "{name}");
    }
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

    /// Checks the waits that this quota tells, for costs small and large, at windows in milliseconds.
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
        let due = u128::from(denied.now.as_millis()) + wait.as_millis();
        self.pass(wait.saturating_sub(MILLISECOND)).await;
        loop {
            let decision = self.acquire(request).await;
            let now = u128::from(decision.now.as_millis());
            if decision.admitted {
                assert!(now >= due, "admitted {} ms too early", due - now);
                return;
            }
            assert!(
                now < due,
                "denied {} ms after the retry was over",
                now - due
            );
            self.pass(MILLISECOND).await;
        }
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

/// When more is left of the first limit, in milliseconds.
fn reset_at(decision: &Decision) -> Option<u128> {
    let reset = first(decision).reset?;
    Some(u128::from(decision.now.as_millis()) + reset.as_millis())
}

/// Every algorithm and its name.
const ALGORITHMS: [(&str, NewQuota); 4] = [
    ("log", Quota::sliding),
    ("counter", Quota::counter),
    ("fixed", Quota::fixed),
    ("fixed_aligned", Quota::fixed_aligned),
];

type NewQuota = fn(u64, Duration) -> Quota;
