//! Sizes that limits have for one subject alone.

use std::time::Duration;

use super::{ALGORITHMS, first, left, limit};
use crate::{
    backend::{Acquire, Amendment, Decision, Limit, Quota, Quotas, Retry},
    testing::conformance::{Case, Fixture, LONG, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        a_resized_limit_counts_in_its_size,
        a_limit_resized_to_zero_admits_nothing,
        a_size_ends_when_it_said,
        a_size_is_restored,
        a_size_acts_on_calls_that_may_be_resized_only,
        a_size_is_of_one_limit_and_one_subject,
        what_was_taken_in_another_size_is_given_back,
        a_size_is_cut_to_what_the_algorithm_counts,
        a_resized_burst_keeps_its_proportion,
    ]
}

async fn a_resized_limit_counts_in_its_size<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.resizable(name, quota(2, window));
        scene.resize(&request, 4, LONG).await;
        for rest in (0..4).rev() {
            let decision = scene.acquire(&request).await;
            assert!(decision.admitted, "{name}: {rest} were to be left of 4");
            assert_eq!(told(&decision), (4, rest), "{name}");
        }
        let decision = scene.acquire(&request).await;
        assert!(!decision.admitted, "{name}: 4 of 4 are taken");
        assert!(matches!(decision.retry(), Retry::After(_)), "{name}: later");
    }
}

async fn a_limit_resized_to_zero_admits_nothing<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.resizable(name, quota(2, window));
        scene.resize(&request, 0, LONG).await;
        let decision = scene.acquire(&request).await;
        assert_eq!(
            (decision.admitted, told(&decision)),
            (false, (0, 0)),
            "{name}"
        );
        assert_eq!(decision.retry(), Retry::Never, "{name}");
    }
}

async fn a_size_ends_when_it_said<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.resizable("a", Quota::log(2, LONG));
    scene.acquire(&request).await;
    let before = scene.now().await;
    scene.resize(&request, 7, 80 * MILLISECOND).await;
    let after = scene.now().await;
    loop {
        let seen = scene.look(&request).await;
        let resized = told(&seen) == (7, 6);
        assert!(resized || told(&seen) == (2, 1), "{seen:?}");
        if !resized {
            let earliest = before + 79 * MILLISECOND;
            assert!(seen.now > earliest, "it ended too early");
            break;
        }
        assert!(seen.now < after + 81 * MILLISECOND, "it did not end");
        scene.pass(5 * MILLISECOND).await;
    }
}

async fn a_size_is_restored<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.resizable(name, quota(4, window));
        scene.resize(&request, 9, LONG).await;
        let limit = first_limit(&request).resized(5);
        scene.amend(&request, &Amendment::Restore { limit }).await;
        assert_eq!(told(&scene.look(&request).await), (4, 4), "{name}");
    }
}

async fn a_size_acts_on_calls_that_may_be_resized_only<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let request = scene.resizable("a", Quota::log(4, LONG));
    scene.resize(&request, 9, LONG).await;
    let firm = scene.request("a", request.limits);
    assert_eq!(told(&scene.look(&firm).await), (4, 4));
}

async fn a_size_is_of_one_limit_and_one_subject<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.resizable("a", Quota::log(4, LONG));
    scene.resize(&request, 9, LONG).await;
    let [a, b] = [
        limit("a", Quota::log(4, LONG)),
        limit("b", Quota::log(4, LONG)),
    ];
    let both = scene.request("a", [b, a]).with_resizing();
    assert_eq!(left(&scene.look(&both).await), [4, 9], "one limit");
    let other = scene.resizable("b", Quota::log(4, LONG));
    assert_eq!(told(&scene.look(&other).await), (4, 4), "one subject");
}

async fn what_was_taken_in_another_size_is_given_back<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.resizable(name, quota(2, window));
        scene.resize(&request, 8, LONG).await;
        scene.acquire(&request.clone().with_cost(2)).await;
        let three = request.clone().with_cost(3);
        let decision = scene.acquire(&three).await;
        scene.refund(&decision.receipt(&three)).await;
        assert_eq!(told(&scene.look(&request).await), (8, 6), "{name}");
    }
}

async fn a_size_is_cut_to_what_the_algorithm_counts<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let minute = Duration::from_secs(60);
    for (name, quota) in ALGORITHMS {
        let request = scene.resizable(name, quota(2, minute));
        scene.resize(&request, u64::MAX, LONG).await;
        let most = first_limit(&request).resized(u64::MAX).quota().limit();
        let seen = scene.look(&request).await;
        assert_eq!(first(&seen).limit, most, "{name}");
        assert!(most >= 10_000, "{name}");
        let half = request.clone().with_cost(5_000);
        assert!(scene.acquire(&half).await.admitted, "{name}");
    }
}

async fn a_resized_burst_keeps_its_proportion<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let quota = Quota::token_bucket(4, LONG).with_burst(6);
    let request = scene.resizable("a", quota);
    scene.resize(&request, 7, LONG).await;
    let seen = scene.look(&request).await;
    assert_eq!(told(&seen), (7, 11), "7 × 6 / 4, rounded up");
}

/// The size of the first limit, and what is left of it.
fn told(decision: &Decision) -> (u64, u64) {
    (first(decision).limit, first(decision).remaining)
}

fn first_limit(request: &Acquire) -> Limit {
    *request.limits.first().expect("it has one")
}

impl<F: Fixture<Backend: Quotas>> Scene<F> {
    /// A request of cost one, whose limit may have another size.
    fn resizable(&self, subject: &str, quota: Quota) -> Acquire {
        self.request(subject, [limit("a", quota)]).with_resizing()
    }

    async fn resize(&self, request: &Acquire, to: u64, lasting: Duration) {
        let limit = first_limit(request);
        let resize = Amendment::Resize { limit, to, lasting };
        self.amend(request, &resize).await;
    }
}
