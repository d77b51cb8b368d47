//! Giving back what was taken.

use std::time::Duration;

use super::{ALGORITHMS, first, left, limit, reset_at};
use crate::{
    backend::{Quota, Quotas},
    testing::conformance::{Case, Fixture, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        a_refund_gives_back_what_was_taken,
        a_refund_of_nothing_changes_nothing,
        a_refund_without_a_counter_makes_none,
        a_refund_after_the_window_gives_no_credit,
        a_refund_sent_twice_gives_no_more_than_the_limit,
        a_refund_of_the_window_before_makes_room_in_this_one,
        a_refund_moves_no_end,
        a_reset_forgets_what_was_taken,
        a_reset_leaves_other_limits_and_subjects,
    ]
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
        assert_eq!(left(&decision), [1, 2], "{name}");
        scene.refund(&decision.receipt(&three)).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [4, 5], "{name}: what was taken before stays");
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
        let passed = Some(after.now.as_millis()) >= reset_at(&before);
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

async fn a_refund_of_the_window_before_makes_room_in_this_one<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = 140;
    let request = scene.request("a", [limit("a", Quota::counter(10, window * MILLISECOND))]);
    let elapsed = scene.now().await.as_millis() % u64::from(window);
    if elapsed > u64::from(window) / 2 {
        let next = u64::from(window) - elapsed;
        scene.pass(Duration::from_millis(next)).await;
    }
    let five = request.clone().with_cost(5);
    let before = scene.acquire(&five).await;
    scene.pass(window * MILLISECOND).await;
    scene.acquire(&request).await;
    scene.refund(&before.receipt(&five)).await;
    let seen = scene.look(&request).await;
    assert!(
        first(&seen).remaining >= 9,
        "of 10, all but the one of this window: {seen:?}"
    );
}

async fn a_refund_moves_no_end<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    for (name, quota) in ALGORITHMS {
        // A counter remembers for two windows, the others for one.
        let window = if name == "counter" { 60 } else { 120 };
        let request = scene.request(name, [limit("a", quota(5, window * MILLISECOND))]);
        scene.acquire(&request.clone().with_cost(2)).await;
        let part = scene.acquire(&request).await;
        scene.pass(72 * MILLISECOND).await;
        scene.refund(&part.receipt(&request)).await;
        scene.pass(60 * MILLISECOND).await;
        let seen = scene.look(&request).await;
        assert_eq!(left(&seen), [5], "{name}: what was left has ended");
        assert_eq!(first(&seen).reset, None, "{name}: nothing is taken");
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
