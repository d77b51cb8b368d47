//! Which limits share a counter.

use super::{ALGORITHMS, left, limit};
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
    ]
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
