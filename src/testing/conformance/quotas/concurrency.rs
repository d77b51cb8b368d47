//! Calls at the same time.

use super::{ALGORITHMS, left, limit};
use crate::{
    backend::{Quotas, Take},
    testing::conformance::{Case, Fixture, Scene, at_once, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        concurrent_calls_admit_exactly_the_limit,
        concurrent_calls_share_what_fits,
    ]
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
