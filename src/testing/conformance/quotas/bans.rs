//! Bans of those who are denied again and again.

use std::time::Duration;

use super::{ALGORITHMS, left, limit};
use crate::{
    backend::{
        Acquire, Amendment, BackendErrorKind, Ban, Decision, Quota, Quotas, Retry, Strikes, Take,
    },
    testing::conformance::{Case, Fixture, LONG, MILLISECOND, Scene, at_once, cases},
};

pub(super) fn cases<F: Fixture<Backend: Quotas>>() -> Vec<Case<F>> {
    cases![
        the_last_strike_is_told_of_the_ban,
        a_banned_subject_is_denied_whatever_its_limits_say,
        a_ban_ends_when_it_said,
        strikes_are_counted_within_their_time_only,
        a_denial_up_to_a_cost_is_no_strike,
        what_costs_nothing_is_no_strike_and_is_told_of_the_ban,
        calls_without_strikes_know_of_no_ban,
        subjects_and_names_are_banned_apart,
        a_subject_can_be_banned_and_unbanned,
        a_reset_ends_no_ban,
        a_change_that_lasts_for_no_time_is_refused,
        concurrent_denials_are_a_strike_each,
    ]
}

async fn the_last_strike_is_told_of_the_ban<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.banning(name, quota(1, window), 3, LONG, LONG);
        let decision = scene.acquire(&request).await;
        assert_eq!((decision.admitted, decision.banned), (true, None), "{name}");
        for strike in 1..3 {
            let decision = scene.acquire(&request).await;
            assert!(!decision.admitted, "{name}: 1 of 1 is taken");
            assert_eq!(decision.banned, None, "{name}: {strike} of 3 strikes");
        }
        let decision = scene.acquire(&request).await;
        assert!(!decision.admitted, "{name}");
        assert_eq!(decision.banned, Some(LONG), "{name}: the third strike");
        assert!(
            decision.retry() >= Retry::After(LONG),
            "{name}: no earlier than that"
        );
    }
}

async fn a_banned_subject_is_denied_whatever_its_limits_say<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let window = scene.calm_window().await;
    for (name, quota) in ALGORITHMS {
        let request = scene.banning(name, quota(5, window), 1, LONG, LONG);
        scene.acquire(&request.clone().with_cost(6)).await;
        for take in [Take::All, Take::UpTo] {
            let decision = scene.acquire(&request.clone().with_take(take)).await;
            assert_eq!((decision.admitted, decision.taken), (false, 0), "{name}");
            assert_eq!(left(&decision), [5], "{name}: the limits stand as ever");
            assert_banned(&decision, LONG);
        }
        let unaware = scene.request(name, request.limits);
        assert_eq!(left(&scene.look(&unaware).await), [5], "{name}: none taken");
    }
}

async fn a_ban_ends_when_it_said<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(2, LONG), 1, LONG, 80 * MILLISECOND);
    let denied = scene.acquire(&request.clone().with_cost(3)).await;
    let due = denied.now + denied.banned.expect("one strike bans");
    scene.pass(70 * MILLISECOND).await;
    loop {
        let decision = scene.acquire(&request).await;
        if decision.admitted {
            assert!(decision.now + MILLISECOND > due, "it ended too early");
            assert_eq!(decision.banned, None, "it is over");
            break;
        }
        assert!(decision.now < due, "it did not end");
        assert_banned(&decision, due - decision.now + MILLISECOND);
        scene.pass(MILLISECOND).await;
    }
}

async fn strikes_are_counted_within_their_time_only<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(1, LONG), 2, 60 * MILLISECOND, LONG);
    let beyond = request.with_cost(2);
    for _ in 0..3 {
        let decision = scene.acquire(&beyond).await;
        assert_eq!(decision.banned, None, "the first one of its time");
        scene.pass(65 * MILLISECOND).await;
    }
}

async fn a_denial_up_to_a_cost_is_no_strike<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(1, LONG), 1, LONG, LONG);
    scene.acquire(&request).await;
    let decision = scene.acquire(&request.with_take(Take::UpTo)).await;
    assert_eq!((decision.admitted, decision.banned), (false, None));
}

async fn what_costs_nothing_is_no_strike_and_is_told_of_the_ban<F: Fixture<Backend: Quotas>>(
    scene: Scene<F>,
) {
    let request = scene.banning("a", Quota::log(1, LONG), 1, LONG, LONG);
    scene.acquire(&request).await;
    let seen = scene.look(&request).await;
    assert_eq!((seen.admitted, seen.banned), (true, None));
    scene.acquire(&request).await;
    let seen = scene.look(&request).await;
    assert!(seen.admitted, "nothing asked is never denied");
    assert_banned(&seen, LONG);
}

async fn calls_without_strikes_know_of_no_ban<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(2, LONG), 1, LONG, LONG);
    scene.acquire(&request.clone().with_cost(3)).await;
    let unaware = scene.request("a", request.limits);
    let decision = scene.acquire(&unaware).await;
    assert_eq!((decision.admitted, decision.banned), (true, None));
}

async fn subjects_and_names_are_banned_apart<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(2, LONG), 1, LONG, LONG);
    scene.acquire(&request.clone().with_cost(3)).await;
    let subject = scene.banning("b", Quota::log(2, LONG), 1, LONG, LONG);
    assert!(scene.acquire(&subject).await.admitted, "another subject");
    let ban = Ban::after(1).within(LONG).lasting(LONG);
    let other = Strikes::new("other", ban).expect("a valid ban");
    let name = scene.acquire(&request.with_strikes(other)).await;
    assert!(name.admitted, "another name");
}

async fn a_subject_can_be_banned_and_unbanned<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(5, LONG), 2, LONG, LONG);
    let strikes = request.strikes.expect("it has some");
    let lasting = LONG / 2;
    scene
        .amend(&request, &Amendment::Ban { strikes, lasting })
        .await;
    let decision = scene.acquire(&request).await;
    assert!(!decision.admitted, "it is banned");
    assert_banned(&decision, lasting);
    scene.amend(&request, &Amendment::Unban { strikes }).await;
    let decision = scene.acquire(&request).await;
    assert_eq!((decision.admitted, decision.banned), (true, None));

    let beyond = request.clone().with_cost(9);
    scene.acquire(&beyond).await;
    scene.amend(&request, &Amendment::Unban { strikes }).await;
    let decision = scene.acquire(&beyond).await;
    assert_eq!(decision.banned, None, "strikes are forgotten too");
}

async fn a_reset_ends_no_ban<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(5, LONG), 1, LONG, LONG);
    scene.acquire(&request.clone().with_cost(6)).await;
    scene.reset(&request).await;
    assert_banned(&scene.acquire(&request).await, LONG);
}

async fn a_change_that_lasts_for_no_time_is_refused<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(5, LONG), 1, LONG, LONG);
    let strikes = request.strikes.expect("it has some");
    for lasting in [Duration::ZERO, Duration::MAX] {
        let ban = Amendment::Ban { strikes, lasting };
        let amended = scene.backend().amend(&request.subject, &ban).await;
        let kind = amended.map_err(|error| error.kind());
        assert_eq!(kind, Err(BackendErrorKind::InvalidInput));
    }
    assert!(scene.acquire(&request).await.admitted, "nothing changed");
}

async fn concurrent_denials_are_a_strike_each<F: Fixture<Backend: Quotas>>(scene: Scene<F>) {
    let request = scene.banning("a", Quota::log(1, LONG), 20, LONG, LONG);
    let beyond = request.with_cost(2);
    let banned = at_once(32, |_| {
        let (scene, beyond) = (scene.clone(), beyond.clone());
        async move { scene.acquire(&beyond).await.banned.is_some() }
    })
    .await;
    let unaware = banned.iter().filter(|banned| !**banned).count();
    assert_eq!(unaware, 19, "the 20th of 32 is told, and all after it");
}

fn assert_banned(decision: &Decision, at_most: Duration) {
    let left = decision.banned.expect("it is banned");
    assert!(
        left <= at_most && !left.is_zero(),
        "{left:?} of {at_most:?} left"
    );
    assert!(decision.retry() >= Retry::After(left), "no earlier");
}

impl<F: Fixture<Backend: Quotas>> Scene<F> {
    /// A request of cost one, whose denials ban.
    fn banning(
        &self,
        subject: &str,
        quota: Quota,
        after: u32,
        within: Duration,
        lasting: Duration,
    ) -> Acquire {
        let ban = Ban::after(after).within(within).lasting(lasting);
        let strikes = Strikes::new("strikes", ban).expect("a valid ban");
        self.request(subject, [limit("a", quota)])
            .with_strikes(strikes)
    }

    pub(super) async fn amend(&self, request: &Acquire, amendment: &Amendment) {
        let amended = self.backend().amend(&request.subject, amendment).await;
        amended.expect("amend answers");
    }
}
