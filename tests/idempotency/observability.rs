//! What operators see of what became of requests.

use std::time::Duration;

use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend},
    idempotency::{IdempotencyLayer, IdempotencyRule, Outage, Outcome, Unrecorded},
    policy::{KeyExtractor as _, header},
    testing::{Fault, FaultBackend},
};

use crate::{
    fixture::{Bed, Gate, execution, faulty, memory, never, post, request, rule, sleep},
    observed::{counts, logged, outcomes},
};

fn saying(outcome: Outcome) -> Response {
    let mut response = StatusCode::CREATED.into_response();
    response.extensions_mut().insert(outcome);
    response
}

#[test]
fn a_run_is_counted_as_one_whatever_it_came_to() {
    let counted = outcomes(async {
        let bed = Bed::new(memory(), rule(), |request| async move {
            match execution(&request).key() {
                "panics" => panic!("it does"),
                "again" => saying(Outcome::Retryable),
                "free" => saying(Outcome::NotExecuted),
                _ => "done".into_response(),
            }
        });
        for key in ["a", "a", "panics", "again", "free"] {
            bed.post(key, "").await;
        }
    });
    assert_eq!(counted, counts([("orders ran", 4), ("orders replayed", 1)]));
}

#[test]
fn an_answer_that_is_not_kept_is_counted_as_replayed() {
    let counted = outcomes(async {
        let bed = Bed::new(memory(), rule().with_answer_limit(1), |_| async {
            "done".into_response()
        });
        bed.post("a", "").await;
        bed.post("a", "").await;
    });
    assert_eq!(counted, counts([("orders ran", 1), ("orders replayed", 1)]));
}

#[test]
fn what_is_no_request_for_the_layer_is_counted_as_rejected_or_not_at_all() {
    let counted = outcomes(async {
        let bed = Bed::new(memory(), rule().with_body_limit(1), |_| async {
            "done".into_response()
        });
        bed.send(request().body("".into()).unwrap()).await;
        bed.post("a, b", "").await;
        bed.post("a", "too long").await;
        let mut get = request().body("".into()).unwrap();
        *get.method_mut() = http::Method::GET;
        bed.send(get).await;
    });
    assert_eq!(counted, counts([("orders rejected", 3)]));
}

#[test]
fn who_finds_the_key_in_use_is_counted_as_busy_or_as_a_mismatch() {
    let counted = outcomes(async {
        let gate = Gate::shut();
        let inside = gate.clone();
        let bed = Bed::new(memory(), rule(), move |_| {
            let gate = inside.clone();
            async move {
                gate.pass().await;
                "done".into_response()
            }
        });
        let first = bed.sending(post("a", "1")).await;
        bed.post("a", "1").await;
        bed.post("a", "2").await;
        gate.open();
        first.await.unwrap();
    });
    let expected = counts([
        ("orders busy", 1),
        ("orders mismatch", 1),
        ("orders ran", 1),
    ]);
    assert_eq!(counted, expected);
}

fn panicking(rule: IdempotencyRule) -> Bed {
    Bed::new(memory(), rule, |_| async { panic!("it does") })
}

#[test]
fn what_nobody_knows_is_counted_as_unknown_each_time_it_is_told() {
    let counted = outcomes(async {
        let bed = panicking(never(Unrecorded::Withhold));
        bed.post("a", "").await;
        bed.post("a", "").await;
        bed.post("a", "").await;
    });
    assert_eq!(counted, counts([("orders unknown", 3)]));
}

#[test]
fn who_takes_too_long_is_counted_as_unknown_and_only_once() {
    let counted = outcomes(async {
        let rule = rule().with_max_execution(Duration::from_secs(5)).unwrap();
        let bed = Bed::new(memory(), rule, |_| async {
            sleep(30).await;
            "done".into_response()
        });
        bed.post("a", "").await;
        sleep(30).await;
    });
    assert_eq!(counted, counts([("orders unknown", 1)]));
}

/// Its handler takes two seconds, in which the backend goes down, or loses the key to another.
fn working(backend: &FaultBackend<MemoryBackend>, rule: IdempotencyRule) -> Bed {
    Bed::new(backend.clone(), rule, |_| async {
        sleep(2).await;
        "done".into_response()
    })
}

#[test]
fn an_answer_that_could_not_be_recorded_is_counted_as_such() {
    let counted = outcomes(async {
        let backend = faulty();
        let bed = working(&backend, never(Unrecorded::Answer));
        let first = bed.sending(post("a", "")).await;
        backend.go_down();
        assert!(first.await.unwrap().is_unrecorded());
    });
    assert_eq!(counted, counts([("orders unrecorded", 1)]));
}

#[test]
fn an_outage_is_counted_as_unavailable_or_as_bypassed() {
    let counted = outcomes(async {
        let backend = faulty();
        backend.go_down();
        working(&backend, rule()).post("a", "").await;
        let passing = rule().with_outage(Outage::PassThrough).unwrap();
        working(&backend, passing).post("a", "").await;
    });
    let expected = counts([("orders bypassed", 1), ("orders unavailable", 1)]);
    assert_eq!(counted, expected);
}

#[test]
fn a_drain_is_counted_as_unavailable() {
    let counted = outcomes(async {
        let bed = working(&faulty(), rule());
        bed.layer.handle().drain(Duration::ZERO).await;
        bed.post("a", "").await;
    });
    assert_eq!(counted, counts([("orders unavailable", 1)]));
}

#[test]
fn an_answer_whose_key_is_another_s_by_now_is_counted_as_lost() {
    let counted = outcomes(async {
        let memory = memory();
        let partitioned = FaultBackend::new(memory.clone());
        let slow = Bed::new(partitioned.clone(), rule(), |_| async {
            sleep(25).await;
            "zombie".into_response()
        });
        let first = slow.sending(post("a", "")).await;
        partitioned.go_down();
        sleep(11).await;
        let other = Bed::new(memory, rule(), |_| async { "done".into_response() });
        other.post("a", "").await;
        partitioned.come_up();
        assert!(first.await.unwrap().is_replay());
    });
    assert_eq!(counted, counts([("orders lost", 1), ("orders ran", 1)]));
}

#[test]
fn who_has_gone_is_counted_all_the_same() {
    let counted = outcomes(async {
        let bed = working(&faulty(), rule());
        bed.sending(post("a", "")).await.abort();
        sleep(3).await;
    });
    assert_eq!(counted, counts([("orders ran", 1)]));
}

#[test]
fn each_decision_is_an_event_without_the_key() {
    let log = logged(async {
        let bed = working(&faulty(), rule());
        bed.post("my-secret-key", "my secret body").await;
        bed.post("my-secret-key", "my secret body").await;
    });
    for outcome in ["ran", "replayed"] {
        let event = format!("DEBUG tower_stash::idempotency: rule=orders outcome=\"{outcome}\"");
        assert_eq!(log.matches(&event).count(), 1, "{log}");
    }
    assert!(!log.contains("secret"), "{log}");
}

#[test]
fn what_a_program_should_look_at_is_warned_of() {
    let put = || {
        let mut put = post("a", "");
        *put.method_mut() = http::Method::PUT;
        put
    };
    let warnings = |place: &str, run: &dyn Fn() -> String| {
        let log = run();
        let warning = format!("place=\"idempotency: {place}\"");
        assert_eq!(log.matches(&warning).count(), 1, "{place}: {log}");
    };
    warnings("method", &|| {
        logged(async {
            let bed = working(&faulty(), rule());
            assert!(!bed.send(put()).await.is_replay());
            assert!(!bed.send(put()).await.is_replay());
        })
    });
    warnings("unknown", &|| {
        logged(async {
            panicking(never(Unrecorded::Withhold)).post("a", "").await;
        })
    });
    warnings("large answer", &|| {
        logged(async {
            working(&faulty(), rule().with_answer_limit(1))
                .post("a", "")
                .await;
        })
    });
    warnings("scope", &|| {
        logged(async {
            let scope = header("x-user").or_reject();
            let layer = IdempotencyLayer::new(faulty(), scope, rule()).unwrap();
            let bed = Bed::behind(layer, |_| async { "done".into_response() });
            assert_eq!(bed.post("a", "").await.status(), 400);
        })
    });
}

#[test]
fn a_promise_that_could_not_be_kept_is_warned_of_once_at_each_place() {
    let log = logged(async {
        let backend = faulty();
        let down = Fault::Fail(BackendErrorKind::Unavailable);
        let bed = working(&backend, rule());
        for _ in 0..3 {
            backend.script([down]);
            bed.post("a", "").await;
        }
        sleep(1).await;
        let first = Bed::new(backend.clone(), rule(), |_| async {
            sleep(15).await;
            "done".into_response()
        });
        let sent = first.sending(post("b", "")).await;
        backend.go_down();
        sent.await.unwrap();
    });
    for place in ["claim", "renew"] {
        let place = format!("place=\"idempotency: {place}\"");
        assert!(log.contains(&place), "{log}");
    }
    let claim = "place=\"idempotency: claim\"";
    assert_eq!(log.matches(claim).count(), 1, "{log}");
    let record = "place=\"idempotency: record\"";
    assert!(log.contains(record), "{log}");
}
