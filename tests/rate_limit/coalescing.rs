//! Requests of one subject that come at the same time are asked for together.

use std::{
    convert::Infallible,
    future::{Future as _, ready},
    ops::RangeInclusive,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::body::Body;
use futures_util::future::join_all;
use http::{Method, Request, Response, request::Parts};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{sleep, timeout},
};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend, Op, Retry},
    policy::{KeyExtractor as _, header},
    rate_limit::{Ban, Check, Outage, Quota, RateLimitLayer, RateLimitRule, RateLimiter},
    testing::{Fault, FaultBackend},
};

use crate::{
    http_client::request,
    network::{ROUND_TRIP, Remote, now, remote},
};

const MINUTE: Duration = Duration::from_secs(60);

fn rule(quota: Quota) -> RateLimitRule {
    RateLimitRule::new("api", header("x-key").or_shared(), [("minute", quota)])
        .unwrap()
        .with_coalescing()
}

fn limiter(backend: &Remote, quota: Quota) -> RateLimiter {
    RateLimiter::new(backend.clone(), rule(quota)).unwrap()
}

/// So many checks, begun in this order.
async fn checks(limiter: &RateLimiter, count: usize) -> Vec<JoinHandle<Check>> {
    let mut checks = Vec::with_capacity(count);
    for _ in 0..count {
        let limiter = limiter.clone();
        checks.push(tokio::spawn(async move { limiter.check("ada", 1).await }));
        yield_now().await;
    }
    checks
}

async fn done(checks: Vec<JoinHandle<Check>>) -> Vec<Check> {
    let mut done = Vec::with_capacity(checks.len());
    for check in checks {
        done.push(check.await.unwrap());
    }
    done
}

fn admitted(checks: &[Check]) -> usize {
    checks.iter().filter(|check| check.admitted).count()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_at_once_get_exactly_the_limit_in_two_calls_and_their_order() {
    for quota in [
        Quota::sliding(100, MINUTE),
        Quota::counter(100, MINUTE),
        Quota::fixed(100, MINUTE),
    ] {
        let backend = remote();
        let limiter = limiter(&backend, quota);
        let began = now();
        let checks = done(checks(&limiter, 1_000).await).await;
        assert_eq!(began.elapsed(), 2 * ROUND_TRIP);
        assert_eq!(backend.calls(Op::Acquire), 2);
        assert!(checks[..100].iter().all(|check| check.admitted));
        assert_eq!(admitted(&checks), 100);
        let left = checks[..100].iter().map(|check| check.limits[0].remaining);
        assert!(left.eq((0..100).rev()), "each is told where it stands");
    }
}

#[tokio::test(start_paused = true)]
async fn who_gets_nothing_is_told_a_wait_that_is_enough_and_not_too_long() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::sliding(3, MINUTE));
    let denied = done(checks(&limiter, 5).await).await.pop().unwrap();
    let Retry::After(wait) = denied.retry else {
        panic!("it can wait: {denied:?}")
    };
    assert!(
        wait + 2 * ROUND_TRIP >= MINUTE && wait <= MINUTE,
        "{wait:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_more_than_two_round_trips() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::sliding(10_000, MINUTE));
    let mut under_way = Vec::new();
    for _ in 0..200 {
        let limiter = limiter.clone();
        under_way.push(tokio::spawn(async move {
            let began = now();
            assert!(limiter.check("ada", 1).await.admitted);
            began.elapsed()
        }));
        sleep(Duration::from_millis(1)).await;
    }
    for check in under_way {
        let took = check.await.unwrap();
        assert!(took <= 2 * ROUND_TRIP, "{took:?}");
    }
    let expected: RangeInclusive<u64> = 20..=22;
    assert!(expected.contains(&backend.calls(Op::Acquire)));
}

#[tokio::test(start_paused = true)]
async fn clients_that_leave_take_nobodys_answer_along_and_no_units_of_those_behind() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    let leader = checks(&limiter, 1).await;
    let waiting = checks(&limiter, 999).await;
    leader[0].abort();
    for check in waiting.iter().step_by(2) {
        check.abort();
    }
    let mut staying = 0;
    for check in waiting {
        match check.await {
            Ok(check) => staying += usize::from(check.admitted),
            Err(left) => assert!(left.is_cancelled()),
        }
    }
    assert_eq!(staying, 99, "all but what the first one took");
    assert_eq!(backend.calls(Op::Acquire), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_for_clients_that_left_meanwhile_is_for_those_behind() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    let first = checks(&limiter, 1).await;
    let waiting = checks(&limiter, 150).await;
    sleep(ROUND_TRIP + ROUND_TRIP / 2).await;
    waiting.iter().take(51).for_each(JoinHandle::abort);
    let mut behind = Vec::new();
    for check in waiting.into_iter().skip(51) {
        behind.push(check.await.unwrap());
    }
    assert_eq!((admitted(&done(first).await), admitted(&behind)), (1, 99));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_fails_for_all_who_wait_for_it_and_for_nobody_else() {
    let backend = remote();
    let rule = rule(Quota::fixed(100, MINUTE)).with_outage(Outage::Deny);
    let limiter = RateLimiter::new(backend.clone(), rule).unwrap();
    backend.script([
        Fault::Delay(ROUND_TRIP),
        Fault::Fail(BackendErrorKind::Unavailable),
    ]);
    let first = done(checks(&limiter, 50).await).await;
    let uncounted = first.iter().filter(|check| !check.counted).count();
    assert_eq!((admitted(&first), uncounted), (1, 49));
    let later = done(checks(&limiter, 50).await).await;
    assert_eq!(admitted(&later), 50);
}

#[tokio::test(start_paused = true)]
async fn random_faults_and_departures_never_admit_more_than_the_limit() {
    for seed in 0..40 {
        let faults = [
            Fault::LateReply(ROUND_TRIP),
            Fault::Delay(ROUND_TRIP / 2),
            Fault::LostReply,
            Fault::Fail(BackendErrorKind::TimedOut),
        ];
        let backend = remote().with_faults(faults).with_seed(seed);
        let rule = rule(Quota::fixed(100, MINUTE)).with_outage(Outage::Deny);
        let limiter = RateLimiter::new(backend.clone(), rule).unwrap();
        let mut admitted = 0;
        for round in 0..10 {
            let checks = checks(&limiter, 100).await;
            for check in checks.iter().skip(round).step_by(7) {
                check.abort();
            }
            for check in checks {
                admitted += usize::from(check.await.is_ok_and(|check| check.admitted));
            }
        }
        assert!(admitted <= 100, "{admitted} with seed {seed}");
        assert!(backend.calls(Op::Acquire) <= 40);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_ends_holds_up_nobody_who_comes_a_second_later() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    backend.script([Fault::Hang]);
    let stuck = checks(&limiter, 1).await;
    let behind = checks(&limiter, 3).await;
    sleep(Duration::from_secs(1)).await;
    let check = timeout(2 * ROUND_TRIP, limiter.check("ada", 1)).await;
    assert!(check.is_ok_and(|check| check.admitted));
    assert_eq!(admitted(&done(behind).await), 3, "they fly along");
    assert!(!stuck[0].is_finished());
}

#[tokio::test(start_paused = true)]
async fn what_costs_more_than_one_is_asked_for_alone() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    let one = checks(&limiter, 1).await;
    let (two, three) = tokio::join!(limiter.check("ada", 2), limiter.check("ada", 3));
    assert_eq!((two.taken, three.taken), (2, 3));
    done(one).await;
    assert_eq!(backend.calls(Op::Acquire), 3);
}

#[tokio::test(start_paused = true)]
async fn each_subject_is_asked_about_for_itself() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(1, MINUTE));
    let (ada, bob) = tokio::join!(limiter.check("ada", 1), limiter.check("bob", 1));
    assert!(ada.admitted && bob.admitted);
    assert_eq!(backend.calls(Op::Acquire), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reset_while_a_call_is_under_way_leaves_nobody_without_an_answer() {
    let backend = remote();
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    let checks = checks(&limiter, 10).await;
    limiter.reset("ada").await.unwrap();
    let checks = done(checks).await;
    assert_eq!(admitted(&checks), 10);
}

#[tokio::test]
async fn a_backend_in_this_process_is_asked_at_once() {
    let backend = FaultBackend::new(MemoryBackend::new());
    let limiter = limiter(&backend, Quota::fixed(100, MINUTE));
    let checks = done(checks(&limiter, 10).await).await;
    assert_eq!(admitted(&checks), 10);
    assert_eq!(backend.calls(Op::Acquire), 10);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_bans_and_that_nobody_could_check_counts_each_denial() {
    let rule =
        rule(Quota::fixed(1, MINUTE)).with_ban(Ban::after(3).within(MINUTE).lasting(10 * MINUTE));
    let layer = RateLimitLayer::new(remote(), move |_: &Parts| Some(rule.clone())).unwrap();
    let service = layer.layer(service_fn(|_: Request<Body>| {
        ready(Ok::<_, Infallible>(Response::new(Body::empty())))
    }));
    let requests = (0..4).map(|_| service.clone().oneshot(request(Method::GET, "/")));
    join_all(requests).await;
    let Ok(banned) = service.oneshot(request(Method::GET, "/")).await;
    assert_eq!(banned.headers()["retry-after"], "600");
}

#[test]
fn a_rule_that_bans_refuses_it_whichever_is_said_first() {
    let ban = Ban::after(3).within(MINUTE).lasting(MINUTE);
    let quota = Quota::fixed(1, MINUTE);
    let plain = || RateLimitRule::new("api", header("x-key").or_shared(), [("minute", quota)]);
    for rule in [
        plain().unwrap().with_ban(ban).with_coalescing(),
        plain().unwrap().with_coalescing().with_ban(ban),
    ] {
        let refused = RateLimiter::new(MemoryBackend::new(), rule).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "rule \"api\": a ban counts each denial, so its requests cannot be asked for \
             together; leave out with_ban, or with_coalescing and with_leases"
        );
    }
}

#[test]
fn a_runtime_that_has_shut_down_leaves_nobody_waiting() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let handle = runtime.handle().clone();
    runtime.shutdown_timeout(Duration::from_secs(5));
    let _entered = handle.enter();

    let backend = FaultBackend::new(MemoryBackend::new()).seen_as_remote();
    let limiter = RateLimiter::new(backend, rule(Quota::per_minute(2))).unwrap();
    for admitted in [true, true, false] {
        let check = pin!(limiter.check("ada", 1));
        let mut now = Context::from_waker(Waker::noop());
        let Poll::Ready(check) = check.poll(&mut now) else {
            panic!("it waits for a call that nobody makes")
        };
        assert_eq!(check.admitted, admitted);
    }
}
