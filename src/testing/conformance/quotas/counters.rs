//! Which limits share a counter.

use std::time::Duration;

use super::{ALGORITHMS, NewQuota, left, limit};
use crate::{
    backend::{Quota, Quotas, Retry},
    testing::conformance::{Case, Fixture, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        limits_of_one_name_share_a_counter,
        other_names_windows_algorithms_and_subjects_share_nothing,
        lowering_a_limit_forgives_nothing,
        raising_a_limit_acts_at_once,
        a_token_bucket_of_another_size_stays_as_full_as_it_is,
        bursts_of_any_size_share_a_bucket,
    ]
}

async fn limits_of_one_name_share_a_counter<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in COUNTING {
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
    others.push(limit("a", Quota::buckets(3, window, 11)));
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
    for (name, quota) in COUNTING {
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
    for (name, quota) in COUNTING {
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

async fn a_token_bucket_of_another_size_stays_as_full_as_it_is<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let day = Quota::token_bucket(8, Duration::from_secs(24 * 60 * 60));
    let limits = [limit("a", day)];
    let request = scene.request("a", limits);
    scene.acquire(&request.clone().with_cost(4)).await;
    for (size, half) in [(4, 2), (16, 8), (3, 1), (8, 4)] {
        let resized = scene.request("a", limits.map(|limit| limit.resized(size)));
        let seen = scene.look(&resized).await;
        assert_eq!(left(&seen), [half], "of {size}: half of it, rounded down");
    }
    let low = scene.request("a", limits.map(|limit| limit.resized(2)));
    scene.acquire(&low).await;
    assert_eq!(
        left(&scene.look(&request).await),
        [0],
        "one of two was the rest"
    );
}

async fn bursts_of_any_size_share_a_bucket<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let day = Quota::token_bucket(24, Duration::from_secs(24 * 60 * 60));
    let large = scene.request("a", [limit("a", day.with_burst(10))]);
    let small = scene.request("a", [limit("a", day.with_burst(5))]);
    scene.acquire(&large.clone().with_cost(3)).await;
    let decision = scene.acquire(&small).await;
    assert_eq!(left(&decision), [1], "3 and 1 of 5");
    assert_eq!(left(&scene.look(&large).await), [6], "4 of 10");
}

/// The algorithms that measure what is taken in units, so that it is as much of any size.
const COUNTING: [(&str, NewQuota); 5] = {
    let [a, b, c, d, e, _token_bucket] = ALGORITHMS;
    [a, b, c, d, e]
};
