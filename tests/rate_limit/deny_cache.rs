//! Denials that are repeated without asking.

use std::time::Duration;

use axum::body::Body;
use http::{Method, Request, Response};
use proptest::prelude::*;
use tower_stash::{
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{Ban, MINUTE, Outage, Quota, RateLimitRule},
    respond::Rejection,
    testing::Fault,
};

use crate::{
    fixture::{App, Store, keyed, number, rule, rule_by, settle, with},
    observed::{counts, outcomes, paused},
    stress::stressed,
};

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn retry_after(response: &Response<Body>) -> Option<u64> {
    number(response.headers(), "retry-after")
}

/// So many in three seconds.
fn in_three_seconds(limit: u64) -> RateLimitRule {
    rule("api", Quota::sliding(limit, 3 * SECOND))
}

#[tokio::test(start_paused = true)]
async fn who_is_denied_is_not_asked_about_again_until_the_moment_the_wait_is_over() {
    let store = Store::remote();
    let app = App::behind(&store.layer(in_three_seconds(1)));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    assert_eq!(store.asked(), 2);
    assert_eq!(app.statuses("ada", 50).await, [429; 50]);
    store.advance(2_999 * MILLI).await;
    assert_eq!(app.statuses("ada", 50).await, [429; 50]);
    assert_eq!(store.asked(), 2);
    store.advance(MILLI).await;
    assert_eq!(app.status("ada").await, 200);
    assert_eq!(store.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn other_subjects_are_asked_about() {
    let store = Store::remote();
    let app = App::behind(&store.layer(in_three_seconds(1)));
    assert_eq!(app.statuses("ada", 3).await, [200, 429, 429]);
    assert_eq!(app.statuses("bob", 2).await, [200, 429]);
    assert_eq!(store.asked(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_remembered_denial_counts_down() {
    let store = Store::remote();
    let app = App::behind(&store.layer(rule("api", Quota::per_minute(1))));
    app.statuses("ada", 2).await;
    for passed in 0..5 {
        let denied = app.get("ada").await;
        assert_eq!(retry_after(&denied), Some(60 - passed));
        assert_eq!(
            denied.headers()["ratelimit"],
            format!("\"api.minute\";r=0;t={}", 60 - passed)
        );
        store.advance(SECOND).await;
    }
    assert_eq!(store.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn after_five_seconds_it_is_asked_again_whether_the_denial_stands() {
    let store = Store::remote();
    let app = App::behind(&store.layer(rule("api", Quota::per_minute(1))));
    app.statuses("ada", 2).await;
    store.advance(4_999 * MILLI).await;
    app.get("ada").await;
    assert_eq!(store.asked(), 2);
    store.advance(MILLI).await;
    let denied = app.get("ada").await;
    assert_eq!(store.asked(), 3);
    assert_eq!(retry_after(&denied), Some(55));
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_remembered_too() {
    let store = Store::remote();
    let rule = in_three_seconds(1).with_cost(|_| 2);
    let app = App::behind(&store.layer(rule));
    for _ in 0..3 {
        let denied = app.get("ada").await;
        assert_eq!(
            (denied.status().as_u16(), retry_after(&denied)),
            (429, None)
        );
    }
    assert_eq!(store.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_denial_says_nothing_of_another_cost() {
    let store = Store::remote();
    let rule =
        in_three_seconds(5).with_cost(|request| number(&request.headers, "x-cost").unwrap_or(1));
    let app = App::behind(&store.layer(rule));
    let costing = async |cost: &str| {
        let response = app.send(with(keyed("ada"), "x-cost", cost)).await;
        response.status().as_u16()
    };
    assert_eq!(costing("4").await, 200);
    assert_eq!((costing("2").await, costing("2").await), (429, 429));
    assert_eq!(store.asked(), 2);
    assert_eq!(costing("1").await, 200);
    assert_eq!((costing("2").await, costing("0").await), (429, 200));
}

#[tokio::test(start_paused = true)]
async fn a_denial_says_nothing_of_another_size_of_the_limit() {
    let store = Store::remote();
    let rule = in_three_seconds(9)
        .with_dynamic_limit("minute", |request| number(&request.headers, "x-plan"));
    let app = App::behind(&store.layer(rule));
    let on_plan = async |plan: &str| {
        let response = app.send(with(keyed("ada"), "x-plan", plan)).await;
        response.status().as_u16()
    };
    assert_eq!(on_plan("1").await, 200);
    assert_eq!((on_plan("1").await, on_plan("1").await), (429, 429));
    assert_eq!(store.asked(), 2);
    assert_eq!(on_plan("2").await, 200);
}

#[tokio::test(start_paused = true)]
async fn rules_that_give_back_are_always_asked() {
    for rule in [
        in_three_seconds(1).with_permit(),
        in_three_seconds(1).with_count_if(|response| response.status == 401),
    ] {
        let store = Store::remote();
        let app = App::behind(&store.layer(rule));
        let failure = app.send(with(keyed("ada"), "x-status", "401")).await;
        assert_eq!(failure.status(), 401);
        assert_eq!(app.statuses("ada", 5).await, [429; 5]);
        assert_eq!(store.asked(), 6);
    }
}

#[tokio::test(start_paused = true)]
async fn rules_that_give_back_or_are_on_trial_do_not_listen_to_what_their_twin_remembers() {
    for always_asked in [
        in_three_seconds(1).with_permit(),
        in_three_seconds(1).with_shadow(),
    ] {
        let store = Store::remote();
        let routes = Routes::new()
            .get("/", in_three_seconds(1))
            .post("/", always_asked);
        let app = App::behind(&store.layer(routes));
        assert_eq!(app.statuses("ada", 3).await, [200, 429, 429]);
        let mut post = keyed("ada");
        *post.method_mut() = Method::POST;
        app.send(post).await;
        assert_eq!(store.asked(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_rule_that_gives_back_was_told_is_not_remembered_for_its_twin() {
    let store = Store::remote();
    let routes = Routes::new()
        .get("/", in_three_seconds(1).with_permit())
        .post("/", in_three_seconds(1));
    let app = App::behind(&store.layer(routes));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    let mut post = keyed("ada");
    *post.method_mut() = Method::POST;
    assert_eq!(app.send(post).await.status(), 429);
    assert_eq!(store.asked(), 3);
}

#[tokio::test(start_paused = true)]
async fn of_a_chain_only_the_last_rule_is_remembered() {
    let store = Store::remote();
    let chain = rule("first", Quota::sliding(1, 3 * SECOND)).with_and(rule_by(
        "x-user",
        "last",
        Quota::sliding(2, 3 * SECOND),
    ));
    let app = App::behind(&store.layer(chain));
    let from = |key, user| with(keyed(key), "x-user", user);

    assert_eq!(app.send(from("k", "u")).await.status(), 200);
    for asked in 3..6 {
        assert_eq!(app.send(from("k", "u")).await.status(), 429);
        assert_eq!(store.asked(), asked, "the first rule is asked");
    }
    app.send(from("other", "u")).await;
    app.send(from("third", "u")).await;
    let asked = store.asked();
    for _ in 0..3 {
        let denied = app.send(from("fourth", "u")).await;
        assert_eq!(denied.headers()["ratelimit"], "\"last.minute\";r=0;t=3");
    }
    assert_eq!(store.asked(), asked);
    assert_eq!(app.send(from("fourth", "v")).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_reset_of_this_instance_is_seen_at_once() {
    let store = Store::remote();
    let rule = in_three_seconds(1);
    let layer = store.layer(rule.clone());
    let app = App::behind(&layer);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    layer.limiter(&rule).reset("ada").await.unwrap();
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
}

#[tokio::test(start_paused = true)]
async fn a_denial_that_was_asked_for_before_a_reset_is_not_remembered_after_it() {
    let store = Store::remote();
    let rule = in_three_seconds(1);
    let layer = store.layer(rule.clone());
    let app = App::behind(&layer);
    assert_eq!(app.status("ada").await, 200);

    store.backend.script([Fault::LateReply(SECOND)]);
    let denied = tokio::spawn({
        let app = app.clone();
        async move { app.status("ada").await }
    });
    settle().await;
    layer.limiter(&rule).reset("ada").await.unwrap();
    assert_eq!(denied.await.unwrap(), 429);
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test(start_paused = true)]
async fn what_this_instance_gives_back_is_seen_at_once() {
    let store = Store::remote();
    let rule = in_three_seconds(1);
    let layer = store.layer(rule.clone());
    let app = App::behind(&layer);
    let check = layer.limiter(&rule).check("ada", 1).await;
    assert_eq!(app.status("ada").await, 429);
    check.refund();
    settle().await;
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test(start_paused = true)]
async fn another_instances_reset_is_seen_within_five_seconds() {
    let store = Store::remote();
    let rule = rule("api", Quota::per_minute(1));
    let app = App::behind(&store.layer(rule.clone()));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    store.limiter(rule).reset("ada").await.unwrap();
    store.advance(5 * SECOND).await;
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test(start_paused = true)]
async fn denials_are_repeated_while_the_backend_is_away() {
    let store = Store::remote();
    let app = App::behind(&store.layer(in_three_seconds(1).with_outage(Outage::Allow)));
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    store.backend.go_down();
    assert_eq!(app.status("ada").await, 429);
    assert_eq!(app.status("bob").await, 200);
}

#[tokio::test(start_paused = true)]
async fn the_wait_counts_from_sending_and_what_is_told_from_receiving() {
    let store = Store::remote();
    let app = App::behind(&store.layer(in_three_seconds(1)));
    assert_eq!(app.status("ada").await, 200);
    store.backend.script([Fault::LateReply(SECOND)]);
    let denied = tokio::spawn({
        let app = app.clone();
        async move { app.get("ada").await }
    });
    settle().await;
    store.advance(SECOND).await;
    assert_eq!(retry_after(&denied.await.unwrap()), Some(3));

    store.advance(SECOND).await;
    assert_eq!(retry_after(&app.get("ada").await), Some(2));
    store.advance(999 * MILLI).await;
    assert_eq!(app.status("ada").await, 429);
    assert_eq!(store.asked(), 2);
    // Three seconds after it was sent, which is as early as it can be.
    store.advance(MILLI).await;
    assert_eq!(app.status("ada").await, 200);
}

#[tokio::test(start_paused = true)]
async fn it_remembers_no_more_subjects_than_it_may() {
    let store = Store::remote();
    let layer = store.layer(in_three_seconds(1)).with_deny_cache(20);
    let app = App::behind(&layer);
    let everybody: Vec<String> = (0..500).map(|n| format!("client {n}")).collect();
    for client in &everybody {
        assert_eq!(app.statuses(client, 2).await, [200, 429]);
    }
    let mut remembered = 0;
    // The latest first: who is asked about takes the place of another.
    for client in everybody.iter().rev() {
        let asked = store.asked();
        assert_eq!(app.status(client).await, 429);
        remembered += usize::from(store.asked() == asked);
    }
    assert!((1..=20).contains(&remembered), "{remembered}");
}

#[tokio::test(start_paused = true)]
async fn it_can_be_switched_off_and_is_off_on_a_backend_in_this_process() {
    let remote = Store::remote();
    let local = Store::local();
    for (store, layer) in [
        (
            &remote,
            remote.layer(in_three_seconds(1)).with_deny_cache(0),
        ),
        (&local, local.layer(in_three_seconds(1)).with_deny_cache(9)),
    ] {
        let app = App::behind(&layer);
        app.statuses("ada", 10).await;
        assert_eq!(store.asked(), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn programs_share_it_with_the_layer() {
    let store = Store::remote();
    let rule = in_three_seconds(1);
    let layer = store.layer(rule.clone());
    let app = App::behind(&layer);
    assert_eq!(app.statuses("ada", 2).await, [200, 429]);
    let check = layer.limiter(&rule).check("ada", 1).await;
    assert!(!check.admitted);
    assert_eq!(store.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_limit_whose_wait_is_over_is_no_longer_said_to_be_violated() {
    let store = Store::remote();
    let quotas = [
        ("short", Quota::sliding(1, SECOND)),
        ("long", Quota::sliding(1, 4 * SECOND)),
    ];
    let rule = RateLimitRule::new("api", header("x-key").or_reject(), quotas).unwrap();
    let app = App::behind(&store.layer(rule));
    app.statuses("ada", 2).await;
    let violated = async || {
        let denied = app.get("ada").await;
        let rejection = denied.extensions().get::<Rejection>();
        let names = rejection.unwrap().violated_policies().map(str::to_owned);
        names.collect::<Vec<_>>()
    };
    assert_eq!(violated().await, ["api.short", "api.long"]);
    store.advance(2 * SECOND).await;
    assert_eq!(violated().await, ["api.long"]);
    assert_eq!(store.asked(), 2);
}

#[test]
fn a_repeated_denial_has_an_outcome_of_its_own() {
    let counted = outcomes(async {
        let store = Store::remote();
        App::behind(&store.layer(in_three_seconds(1)))
            .statuses("ada", 5)
            .await;
    });
    let expected = [
        ("api allowed", 1),
        ("api denied", 1),
        ("api denied_cached", 3),
    ];
    assert_eq!(counted, counts(expected));
}

/// A request after some time, by one of two clients, of this cost and plan.
#[derive(Clone, Debug)]
struct Step {
    after: Duration,
    key: &'static str,
    cost: u64,
    plan: u64,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![
        4 => Just(0),
        1 => Just(1),
        1 => 0_u64..700,
        1 => Just(999),
        1 => Just(1_000),
        1 => 1_000_u64..7_000,
    ];
    let step = (after, prop_oneof!["a", "b"], 0_u64..5, 2_u64..5);
    let step = step.prop_map(|(millis, key, cost, plan)| Step {
        after: Duration::from_millis(millis),
        key: if key == "a" { "a" } else { "b" },
        cost,
        plan,
    });
    proptest::collection::vec(step, 1..60)
}

fn request(step: &Step) -> Request<Body> {
    let request = with(keyed(step.key), "x-cost", &step.cost.to_string());
    with(request, "x-plan", &step.plan.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(stressed(64)))]

    /// P18: it admits nothing more, and denies nothing more. What is told of a wait is no longer
    /// than it is, and as long where all requests are alike: else some that
    /// fit may have come since.
    #[test]
    fn nobody_can_tell_from_the_statuses_whether_denials_are_remembered(
        mut steps in steps(), fixed in any::<bool>(), alike in any::<bool>(), seconds in 1_u32..8,
    ) {
        if alike {
            for step in &mut steps {
                (step.cost, step.plan) = (1, 3);
            }
        }
        let window = seconds * SECOND;
        let quota = if fixed { Quota::fixed(4, window) } else { Quota::sliding(4, window) };
        let rule = rule("api", quota)
            .with_cost(|request| number(&request.headers, "x-cost").unwrap_or(1))
            .with_dynamic_limit("minute", |request| number(&request.headers, "x-plan"));
        paused().block_on(async {
            let (remembering, asking) = (Store::remote(), Store::local());
            let one = App::behind(&remembering.layer(rule.clone()));
            let other = App::behind(&asking.layer(rule));
            for step in &steps {
                remembering.advance(step.after).await;
                asking.clock.advance(step.after);
                let one = one.send(request(step)).await;
                let other = other.send(request(step)).await;
                prop_assert_eq!(one.status(), other.status());
                let (one, other) = (retry_after(&one), retry_after(&other));
                prop_assert!(one == other || !alike && one < other, "{one:?} {other:?}");
            }
            prop_assert!(remembering.asked() <= asking.asked());
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn a_denial_says_nothing_to_a_twin_that_looks_for_other_sizes_or_no_bans() {
    let store = Store::remote();
    let plain = in_three_seconds(1);
    let layer = store.layer(plain.clone());
    let ban = Ban::after(2).within(MINUTE).lasting(MINUTE);
    let [banning, resized] = [plain.clone().with_ban(ban), plain.clone().with_overrides()]
        .map(|rule| layer.limiter(&rule));
    let plain = layer.limiter(&plain);

    let limit = resized.peek("ada").await.unwrap().limits[0].name.clone();
    let (_, limit) = limit.split_once('.').unwrap();
    resized.set_limit("ada", limit, 5, MINUTE).await.unwrap();
    store.advance(MILLI).await;
    assert!(plain.check("ada", 1).await.admitted);
    assert!(!plain.check("ada", 1).await.admitted);
    assert!(resized.check("ada", 1).await.admitted);

    banning.ban("bob", MINUTE).await.unwrap();
    store.advance(MILLI).await;
    assert!(!banning.check("bob", 1).await.admitted);
    assert!(plain.check("bob", 1).await.admitted);
}
