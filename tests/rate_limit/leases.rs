//! Units that an instance takes beforehand: never more than the limit, and few calls.

use std::{convert::Infallible, future::ready, time::Duration};

use axum::body::Body;
use futures_util::future::join_all;
use http::{Method, Request, Response};
use proptest::prelude::*;
use tokio::{
    task::yield_now,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{MemoryBackend, Op, Retry},
    policy::{KeyExtractor as _, header},
    rate_limit::{Ban, Check, Outage, Quota, RateLimitLayer, RateLimitRule, RateLimiter},
    testing::{Fault, FaultBackend},
};

use crate::{
    http_client::request,
    network::{ROUND_TRIP, Remote, now, remote, remote_with},
    observed::paused,
};

const MINUTE: Duration = Duration::from_secs(60);

const INSTANCES: u32 = 8;

fn rule(quota: Quota) -> RateLimitRule {
    RateLimitRule::new("api", header("x-key").or_shared(), [("minute", quota)]).unwrap()
}

fn instance(backend: &Remote, quota: Quota) -> RateLimiter {
    alone(backend, quota, INSTANCES)
}

fn alone(backend: &Remote, quota: Quota, instances: u32) -> RateLimiter {
    let rule = rule(quota).with_leases(instances).with_outage(Outage::Deny);
    RateLimiter::new(backend.clone(), rule).unwrap()
}

async fn check(limiter: &RateLimiter) -> Check {
    limiter.check("ada", 1).await
}

async fn admitted(limiter: &RateLimiter, requests: usize) -> usize {
    let mut admitted = 0;
    for _ in 0..requests {
        admitted += usize::from(check(limiter).await.admitted);
    }
    admitted
}

// === Many instances ===

/// One request, from the first moment.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    instance: usize,
    at: Duration,
}

/// What became of a run.
#[derive(Debug)]
struct Run {
    requests: usize,
    calls: u64,
    /// When each admitted request was asked for and answered.
    admitted: Vec<(Duration, Duration)>,
}

impl Run {
    #[expect(clippy::cast_precision_loss, reason = "both are small")]
    fn calls_a_request(&self) -> f64 {
        self.calls as f64 / self.requests as f64
    }

    /// The most that were asked for and answered in one window.
    fn most_in_an_aligned_window(&self, window: Duration) -> usize {
        let index = |time: Duration| time.as_millis() / window.as_millis();
        let mut counts = std::collections::BTreeMap::new();
        for (asked, answered) in &self.admitted {
            if index(*asked) == index(*answered) {
                *counts.entry(index(*asked)).or_insert(0) += 1;
            }
        }
        counts.into_values().max().unwrap_or(0)
    }

    /// The most in a window that began with the first that was admitted after the one before.
    fn most_in_an_anchored_window(&self, window: Duration) -> usize {
        let mut times: Vec<_> = self
            .admitted
            .iter()
            .map(|(_, answered)| *answered)
            .collect();
        times.sort_unstable();
        let (mut most, mut count, mut start) = (0, 0, Duration::ZERO);
        for time in times {
            if count == 0 || time >= start + window {
                (start, count) = (time, 0);
            }
            count += 1;
            most = most.max(count);
        }
        most
    }
}

/// Sends these requests to instances that share a backend.
async fn run(quota: Quota, fault: Fault, arrivals: Vec<Arrival>) -> Run {
    let backend = remote_with(fault);
    let instances: Vec<_> = (0..INSTANCES).map(|_| instance(&backend, quota)).collect();
    let start = now();
    let requests = arrivals.len();
    let mut under_way = Vec::with_capacity(requests);
    for Arrival { instance, at } in arrivals {
        sleep_until(start + at).await;
        let limiter = instances[instance].clone();
        under_way.push(tokio::spawn(one(limiter, start)));
    }
    let answers = join_all(under_way).await.into_iter();
    Run {
        requests,
        calls: backend.calls(Op::Acquire),
        admitted: answers.filter_map(Result::unwrap).collect(),
    }
}

/// When a request was asked for and answered, if it was admitted.
async fn one(limiter: RateLimiter, start: Instant) -> Option<(Duration, Duration)> {
    let asked = start.elapsed();
    let check = check(&limiter).await;
    check.admitted.then(|| (asked, start.elapsed()))
}

/// So many requests in so many minutes, at random moments of random instances.
fn random(requests: u32, minutes: u32, seed: u64) -> Vec<Arrival> {
    let mut arrivals: Vec<_> = (0..requests)
        .map(|number| {
            let hash =
                blake3::hash(&[seed.to_be_bytes(), u64::from(number).to_be_bytes()].concat());
            let [instance, high, middle, low, ..] = *hash.as_bytes();
            let part = f64::from(u32::from_be_bytes([0, high, middle, low])) / f64::from(1 << 24);
            Arrival {
                instance: usize::from(instance) % INSTANCES as usize,
                at: (minutes * MINUTE).mul_f64(part),
            }
        })
        .collect();
    arrivals.sort_unstable_by_key(|arrival| arrival.at);
    arrivals
}

/// P17.
#[tokio::test(start_paused = true)]
async fn all_instances_together_admit_the_limit_at_most_and_ask_seldom() {
    println!("limit  load  calls a request  admitted a window");
    for (limit, load) in [(1_000, 1), (1_000, 2), (1_000, 10), (200, 10), (100, 10)] {
        let quota = Quota::fixed_aligned(limit, MINUTE);
        let requests = u32::try_from(limit).unwrap() * load * 2;
        let run = run(quota, Fault::Delay(ROUND_TRIP), random(requests, 2, 1)).await;
        let most = run.most_in_an_aligned_window(MINUTE);
        println!(
            "{limit:5} {load:4}× {:16.3} {:18}",
            run.calls_a_request(),
            run.admitted.len() / 2
        );
        assert!(most <= usize::try_from(limit).unwrap(), "{most} of {limit}");
        assert!(run.admitted.len() * 4 >= run.requests.min(2 * most) * 3);
        if load == 10 {
            assert!(run.calls_a_request() < 0.2, "{}", run.calls_a_request());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_below_three_quarters_of_the_limit_is_admitted() {
    let quota = Quota::fixed_aligned(1_000, MINUTE);
    let arrivals = random(1_200, 2, 7);
    let run = run(quota, Fault::Delay(ROUND_TRIP), arrivals).await;
    assert_eq!(run.admitted.len(), run.requests);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// P17.
    #[test]
    fn whenever_requests_come_no_window_has_more_than_the_limit(
        limit in 1_u32..160,
        quarters in prop::array::uniform3(prop_oneof![1_u32..3, 4_u32..24]),
        seed: u64,
        milliseconds in 1_u64..200,
        is_late in any::<bool>(),
    ) {
        let delay = Duration::from_millis(milliseconds);
        let fault = if is_late { Fault::LateReply(delay) } else { Fault::Delay(delay) };
        // Quiet windows, in which leases are left unspent, and busy ones, in which nothing is.
        let minutes = quarters.into_iter().zip(0_u32..).flat_map(|(quarters, minute)| {
            let requests = (limit * quarters).div_ceil(4);
            let mut arrivals = random(requests, 1, seed ^ u64::from(minute));
            for arrival in &mut arrivals {
                arrival.at += minute * MINUTE;
            }
            arrivals
        });
        let arrivals: Vec<_> = minutes.collect();
        let limit = u64::from(limit);
        let most = |quota: Quota| {
            let run = paused().block_on(run(quota, fault, arrivals.clone()));
            if quota == Quota::fixed(limit, MINUTE) {
                run.most_in_an_anchored_window(MINUTE)
            } else {
                run.most_in_an_aligned_window(MINUTE)
            }
        };
        prop_assert!(most(Quota::fixed_aligned(limit, MINUTE)) as u64 <= limit);
        if !is_late {
            prop_assert!(most(Quota::fixed(limit, MINUTE)) as u64 <= limit);
        }
    }

    #[test]
    fn whatever_requests_cost_no_more_than_the_limits_is_taken(
        costs in prop::collection::vec((0_usize..3, 1_u64..12), 1..120),
        small in 10_u64..60,
        large in 60_u64..200,
        weight in 1_u32..3,
    ) {
        let taken = paused().block_on(async {
            let backend = remote();
            let quotas = [
                ("small", Quota::fixed(small, MINUTE).with_weight(weight)),
                ("large", Quota::fixed_aligned(large, 10 * MINUTE)),
            ];
            let rule = RateLimitRule::new("api", header("x-key").or_shared(), quotas).unwrap();
            let rule = rule.with_leases(2);
            let instances: Vec<_> = (0..3)
                .map(|_| RateLimiter::new(backend.clone(), rule.clone()).unwrap())
                .collect();
            let mut under_way = Vec::new();
            for (index, (instance, cost)) in costs.into_iter().enumerate() {
                let limiter = instances[instance].clone();
                under_way.push(tokio::spawn(async move { limiter.check("ada", cost).await.taken }));
                if index % 3 == 0 {
                    sleep(ROUND_TRIP).await;
                }
            }
            let taken = join_all(under_way).await;
            taken.into_iter().map(Result::unwrap).sum::<u64>()
        });
        prop_assert!(taken * u64::from(weight) <= small && taken <= large);
    }
}

#[tokio::test(start_paused = true)]
async fn what_instances_leave_unspent_is_a_quarter_of_the_limit_at_most() {
    let backend = remote();
    let quota = Quota::fixed(320, MINUTE);
    let mut spent = 0;
    for _ in 0..INSTANCES {
        spent += admitted(&instance(&backend, quota), 2).await;
    }
    spent += admitted(&alone(&backend, quota, 1_000), 400).await;
    assert!((240..320).contains(&spent), "{spent}");
}

// === One instance ===

#[tokio::test(start_paused = true)]
async fn an_instance_alone_admits_exactly_the_limit_and_always_knows_what_is_left() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    for left in (0..100).rev() {
        let check = check(&limiter).await;
        assert!(check.admitted);
        assert_eq!(check.taken, 1);
        assert_eq!(check.limits[0].remaining, left);
    }
    let calls = backend.calls(Op::Acquire);
    assert!(calls <= 20, "{calls}");
    let denied = check(&limiter).await;
    assert!(!denied.admitted);
    assert!(matches!(denied.retry, Retry::After(wait) if wait <= MINUTE));
}

#[tokio::test(start_paused = true)]
async fn the_first_request_of_a_window_takes_what_it_costs() {
    let backend = remote();
    let quota = Quota::fixed(100, MINUTE);
    assert_eq!(check(&instance(&backend, quota)).await.taken, 1);
    let other = instance(&backend, quota).peek("ada").await.unwrap();
    assert_eq!(other.limits[0].remaining, 99);
}

#[tokio::test(start_paused = true)]
async fn once_a_window_is_used_up_denials_cost_no_call() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(10, MINUTE), 1);
    assert_eq!(admitted(&limiter, 11).await, 10);
    let calls = backend.calls(Op::Acquire);
    assert_eq!(admitted(&limiter, 100).await, 0);
    assert_eq!(backend.calls(Op::Acquire), calls);
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_spent_until_its_window_ends_and_not_after() {
    for quota in [Quota::fixed(100, MINUTE), Quota::fixed_aligned(100, MINUTE)] {
        let backend = remote();
        let limiter = alone(&backend, quota, 1);
        let began = now();
        admitted(&limiter, 2).await;
        let calls = backend.calls(Op::Acquire);
        sleep_until(began + MINUTE - Duration::from_millis(1)).await;
        let last = check(&limiter).await;
        assert_eq!(backend.calls(Op::Acquire), calls, "paid");
        let reset = ROUND_TRIP + Duration::from_millis(1);
        assert_eq!(last.limits[0].reset, Some(reset), "as if told on arrival");
        sleep_until(began + MINUTE).await;
        assert_eq!(check(&limiter).await.limits[0].remaining, 99);
        assert_eq!(backend.calls(Op::Acquire), calls + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_ends_with_the_first_window_that_does() {
    let backend = remote();
    let quotas = [
        ("hour", Quota::fixed(1_000, 60 * MINUTE)),
        ("minute", Quota::fixed(100, MINUTE)),
    ];
    let rule = RateLimitRule::new("api", header("x-key").or_shared(), quotas).unwrap();
    let limiter = RateLimiter::new(backend.clone(), rule.with_leases(1)).unwrap();
    admitted(&limiter, 2).await;
    let calls = backend.calls(Op::Acquire);
    sleep(MINUTE).await;
    check(&limiter).await;
    assert_eq!(backend.calls(Op::Acquire), calls + 1);
}

#[tokio::test(start_paused = true)]
async fn requests_at_the_same_time_take_one_lease_between_them() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    let mut under_way = Vec::new();
    for _ in 0..150 {
        let limiter = limiter.clone();
        under_way.push(tokio::spawn(async move { check(&limiter).await.admitted }));
        yield_now().await;
    }
    let began = now();
    let answers = join_all(under_way).await.into_iter();
    let admitted = answers.map(Result::unwrap).filter(|admitted| *admitted);
    assert_eq!(admitted.count(), 100);
    assert_eq!(began.elapsed(), 2 * ROUND_TRIP);
    assert_eq!(backend.calls(Op::Acquire), 2);
}

#[tokio::test(start_paused = true)]
async fn one_that_costs_more_than_a_share_takes_nothing_if_it_gets_not_all() {
    let backend = remote();
    let quota = Quota::fixed(100, MINUTE);
    let (one, other) = (instance(&backend, quota), instance(&backend, quota));
    assert!(one.check("ada", 50).await.admitted);
    let denied = one.check("ada", 60).await;
    assert!(!denied.admitted);
    assert_eq!(other.check("ada", 50).await.taken, 50, "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn nor_does_it_while_others_wait_with_it() {
    let backend = remote();
    let quota = Quota::fixed(100, MINUTE);
    let (one, other) = (instance(&backend, quota), instance(&backend, quota));
    let half = tokio::spawn({
        let one = one.clone();
        async move { one.check("ada", 50).await.taken }
    });
    yield_now().await;
    let (too_much, last) = tokio::join!(one.check("ada", 60), one.check("ada", 1));
    assert_eq!(
        (half.await.unwrap(), too_much.taken, last.taken),
        (50, 0, 1)
    );
    assert_eq!(other.check("ada", 49).await.taken, 49, "nothing was lost");
}

#[tokio::test(start_paused = true)]
async fn a_free_request_takes_nothing_along() {
    let backend = remote();
    let limiter = instance(&backend, Quota::fixed(1_000, MINUTE));
    check(&limiter).await;
    assert!(limiter.check("ada", 0).await.admitted);
    let left = limiter.peek("ada").await.unwrap();
    assert_eq!(left.limits[0].remaining, 999);
}

#[tokio::test(start_paused = true)]
async fn a_reset_ends_the_lease_and_so_does_a_penalty() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    admitted(&limiter, 2).await;
    limiter.reset("ada").await.unwrap();
    assert_eq!(admitted(&limiter, 150).await, 100);

    limiter.reset("ada").await.unwrap();
    admitted(&limiter, 2).await;
    limiter.penalise("ada", 100).await.unwrap();
    assert!(!check(&limiter).await.admitted);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_comes_after_a_reset_is_not_kept() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    check(&limiter).await;
    let late = tokio::spawn({
        let limiter = limiter.clone();
        async move { check(&limiter).await }
    });
    yield_now().await;
    limiter.reset("ada").await.unwrap();
    late.await.unwrap();
    assert_eq!(admitted(&limiter, 150).await, 100);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_can_be_taken_again() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    admitted(&limiter, 2).await;
    check(&limiter).await.refund();
    sleep(2 * ROUND_TRIP).await;
    assert_eq!(admitted(&limiter, 150).await, 98);
}

#[tokio::test(start_paused = true)]
async fn a_lease_outlasts_the_backend_then_the_rule_decides() {
    let backend = remote();
    let limiter = alone(&backend, Quota::fixed(100, MINUTE), 1);
    admitted(&limiter, 2).await;
    backend.go_down();
    assert_eq!(admitted(&limiter, 50).await, 23, "99 / 4, less one");
    backend.come_up();
    sleep(Duration::from_secs(1)).await;
    assert!(check(&limiter).await.admitted);
}

/// The statuses of so many requests with this method, of which a GET has a limit of 100 and others
/// one of 20.
async fn by_size(limits: &RateLimitLayer, method: Method, requests: usize) -> Vec<u16> {
    let service = behind(limits);
    let mut statuses = Vec::with_capacity(requests);
    for _ in 0..requests {
        let Ok(response) = service.clone().oneshot(request(method.clone(), "/")).await;
        statuses.push(response.status().as_u16());
    }
    statuses
}

fn sized_by_request() -> RateLimitLayer {
    let rule = rule(Quota::fixed(100, MINUTE))
        .with_dynamic_limit("minute", |request| {
            Some(if request.method == Method::GET {
                100
            } else {
                20
            })
        })
        .with_leases(1);
    RateLimitLayer::new(remote(), rule).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_smaller_size_is_not_paid_out_of_the_lease_of_a_larger_one() {
    let limits = sized_by_request();
    assert_eq!(by_size(&limits, Method::GET, 30).await, [200; 30]);
    assert_eq!(by_size(&limits, Method::PUT, 1).await, [429]);
}

#[tokio::test(start_paused = true)]
async fn sizes_by_request_have_leases_of_their_own_and_one_count() {
    let limits = sized_by_request();
    let mut statuses = by_size(&limits, Method::PUT, 10).await;
    statuses.extend(by_size(&limits, Method::GET, 100).await);
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert!((90..=100).contains(&admitted), "{admitted}");
}

fn behind(
    limits: &RateLimitLayer,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + use<> {
    limits.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_response_tells_what_is_left_after_what_was_spent_here() {
    let rule = rule(Quota::fixed(100, MINUTE)).with_leases(1);
    let service = behind(&RateLimitLayer::new(remote(), rule).unwrap());
    for left in [99, 98, 97, 96] {
        let Ok(response) = service.clone().oneshot(request(Method::GET, "/")).await;
        let told = response.headers()["ratelimit"].to_str().unwrap();
        assert_eq!(told, format!("\"api.minute\";r={left};t=60"));
    }
}

// === Mistakes ===

fn refusal(rule: RateLimitRule) -> String {
    let refused = RateLimiter::new(MemoryBackend::new(), rule);
    refused.unwrap_err().to_string()
}

#[test]
fn a_limit_without_an_end_has_no_leases() {
    assert_eq!(
        refusal(rule(Quota::sliding(100, MINUTE)).with_leases(8)),
        "rule \"api\": limit \"api.minute\" has no window with an end, which a lease needs; write \
         Quota::fixed or Quota::fixed_aligned, or leave out with_leases"
    );
}

#[test]
fn leases_are_of_some_instances_and_of_rules_without_a_ban() {
    let quota = Quota::fixed(100, MINUTE);
    assert_eq!(
        refusal(rule(quota).with_leases(0)),
        "rule \"api\": leases for 0 instances; write how many share the limits"
    );
    let ban = Ban::after(3).within(MINUTE).lasting(MINUTE);
    for rule in [
        rule(quota).with_ban(ban).with_leases(8),
        rule(quota).with_leases(8).with_ban(ban),
    ] {
        assert!(refusal(rule).contains("leave out with_ban"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_spent_from_is_kept_however_many_subjects_come_by() {
    let backend = FaultBackend::new(MemoryBackend::new()).seen_as_remote();
    let limiter = alone(&backend, Quota::fixed(1_000_000, 60 * MINUTE), 1);
    for _ in 0..2 {
        check(&limiter).await;
    }
    let others = 20_000;
    for other in 0..others {
        limiter.check(other.to_string(), 1).await;
        if other % 100 == 0 {
            assert!(check(&limiter).await.admitted);
        }
    }
    assert_eq!(backend.calls(Op::Acquire), others + 2);
}
