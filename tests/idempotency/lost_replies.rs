//! Backends that do not answer, at each call of a request's life.
//!
//! Wherever it happens, a clean request settles the key a lease later at the latest.

use std::time::Duration;

use axum::response::IntoResponse as _;
use http::StatusCode;
use tower_stash::{
    backend::{BackendErrorKind, MemoryBackend, Op, Timeout},
    idempotency::{IdempotencyRule, Outage, Outcome, Recovery, Unrecorded},
    testing::{Fault, FaultBackend},
};

use crate::fixture::{Answer, Bed, execution, memory, never, post, refused, rule, settled, sleep};

const LEASE: u64 = 10;

/// All that may happen to one call, on a backend whose calls end after a second.
const FAULTS: [Fault; 5] = [
    Fault::LostReply,
    Fault::Fail(BackendErrorKind::Unavailable),
    Fault::Fail(BackendErrorKind::Disconnected),
    Fault::Hang,
    Fault::HangAfter,
];

/// The three ways to recover.
fn rules() -> [IdempotencyRule; 3] {
    [
        rule(),
        never(Unrecorded::Withhold),
        never(Unrecorded::Answer),
    ]
}

/// A service over a backend that fails on demand, and a clean one beside it.
struct Beds {
    faults: FaultBackend<MemoryBackend>,
    faulty: Bed,
    clean: Bed,
}

impl Beds {
    /// How often the handler began, here or there.
    fn runs(&self) -> usize {
        self.faulty.runs() + self.clean.runs()
    }
}

/// The handler takes so long, then says this of its answer.
fn beds(rule: &IdempotencyRule, seconds: u64, outcome: Option<Outcome>) -> Beds {
    let memory = memory();
    let faults = FaultBackend::new(memory.clone());
    let handler = move |request| async move {
        if seconds > 0 {
            sleep(seconds).await;
        }
        let run = execution(&request);
        if run.attempt() == 1
            && let Some(outcome) = outcome
        {
            run.set_outcome(outcome);
        }
        (StatusCode::CREATED, run.attempt().to_string()).into_response()
    };
    let in_time = Timeout::new(faults.clone(), Duration::from_secs(1));
    Beds {
        faults,
        faulty: Bed::new(in_time, rule.clone(), handler),
        clean: Bed::new(memory, rule.clone(), handler),
    }
}

/// What a clean request gets a lease later.
async fn a_lease_later(beds: &Beds) -> Answer {
    sleep(LEASE + 1).await;
    settled().await;
    beds.clean.post("a", "").await
}

fn is_made(answer: &Answer) -> bool {
    answer.status() == 201
}

fn is_unknown(answer: &Answer) -> bool {
    answer.status() == 500 && answer.problem() == "outcome-unknown"
}

#[tokio::test(start_paused = true)]
async fn one_fault_at_any_call_of_a_plain_request_wedges_nothing() {
    for rule in rules() {
        for fault in FAULTS {
            for before in 0..4 {
                let told = format!("{rule:?}, {fault:?} after {before}");
                let beds = beds(&rule, 0, None);
                beds.faults.script(vec![Fault::None; before]);
                beds.faults.script([fault]);
                let first = beds.faulty.post("a", "").await;
                let is_unavailable = first.status() == 503;
                assert!(is_made(&first) || is_unavailable, "{told}: {first:?}");
                let last = a_lease_later(&beds).await;
                assert!(is_made(&last), "{told}: {last:?}");
                assert_eq!(beds.runs(), 1, "{told}");
                if is_made(&first) {
                    assert_eq!(first.body, last.body, "{told}");
                    assert!(last.is_replay());
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_fault_at_any_call_of_a_request_that_says_so_leaves_it_to_the_next() {
    for outcome in [Outcome::Retryable, Outcome::NotExecuted] {
        for rule in rules() {
            for fault in FAULTS {
                for before in 0..4 {
                    let told = format!("{rule:?}, {fault:?} after {before}, {outcome:?}");
                    let beds = beds(&rule, 0, Some(outcome));
                    beds.faults.script(vec![Fault::None; before]);
                    beds.faults.script([fault]);
                    let first = beds.faulty.post("a", "").await;
                    assert!([201, 503].contains(&first.status()), "{told}: {first:?}");
                    let last = a_lease_later(&beds).await;
                    assert!(is_made(&last) && !last.is_replay(), "{told}: {last:?}");
                    let runs = if is_made(&first) { 2 } else { 1 };
                    assert_eq!(beds.runs(), runs, "{told}");
                    assert!(beds.clean.post("a", "").await.is_replay() || last.body == "1");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_reply_to_each_write_is_found_out() {
    for rule in rules() {
        let is_never = format!("{rule:?}").contains("Never");
        let writes = if is_never { 3 } else { 2 };
        for before in 0..writes {
            let beds = beds(&rule, 0, None);
            beds.faults.script(vec![Fault::None; before]);
            beds.faults.script([Fault::LostReply]);
            let answer = beds.faulty.post("a", "").await;
            assert!(is_made(&answer), "{rule:?} {before}: {answer:?}");
            assert!(!answer.is_unrecorded());
            assert!(beds.clean.post("a", "").await.is_replay());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_before_the_claim_is_told_and_runs_nothing() {
    for rule in rules() {
        let beds = beds(&rule, 0, None);
        beds.faults.go_down();
        let answer = beds.faulty.post("a", "").await;
        assert_eq!(answer.refusal(), refused(503, "unavailable"));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(beds.runs(), 0);
        assert!(is_made(&beds.clean.post("a", "").await));
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_nothing_is_looked_for_that_cannot_be_there() {
    let beds = beds(&rule(), 0, None);
    beds.faults.go_down();
    for _ in 0..3 {
        beds.faulty.post("a", "").await;
    }
    beds.faults.come_up();
    let calls = beds.faults.total_calls();
    sleep(LEASE + 1).await;
    assert_eq!(beds.faults.total_calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn an_outage_before_the_claim_is_passed_through_where_the_rule_says_so() {
    let passing = rule().with_outage(Outage::PassThrough).unwrap();
    let backend = FaultBackend::new(memory());
    let bed = Bed::new(backend.clone(), passing, |request| async move {
        let body = http_body_util::BodyExt::collect(request.into_body()).await;
        body.unwrap().to_bytes().into_response()
    });
    backend.go_down();
    for runs in 1..3 {
        let answer = bed.post("a", "1 apple").await;
        assert_eq!((answer.status(), &*answer.body), (200, "1 apple"));
        assert!(answer.is_unrecorded() && !answer.is_replay());
        assert_eq!(bed.runs(), runs);
    }
    backend.come_up();
    sleep(60).await;
    assert!(!bed.post("a", "1 apple").await.is_unrecorded());
}

#[test]
fn what_must_not_run_twice_does_not_pass_through() {
    for unrecorded in [Unrecorded::Withhold, Unrecorded::Answer] {
        assert!(never(unrecorded).with_outage(Outage::PassThrough).is_err());
    }
    assert!(rule().with_outage(Outage::PassThrough).is_ok());
}

/// The backend goes down while the handler runs, for so long.
async fn down_while_it_runs(rule: &IdempotencyRule, seconds: u64) -> (Beds, Answer) {
    let beds = beds(rule, 2, None);
    let first = beds.faulty.sending(post("a", "")).await;
    sleep(1).await;
    beds.faults.go_down();
    sleep(seconds).await;
    beds.faults.come_up();
    let first = first.await.unwrap();
    (beds, first)
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_recorded_is_kept_back_where_the_handler_may_run_again() {
    let (beds, first) = down_while_it_runs(&rule(), 300).await;
    assert!(is_unknown(&first));
    let next = beds.clean.post("a", "").await;
    assert_eq!((next.status(), &*next.body), (201, "2"));
    assert_eq!(beds.runs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_recorded_is_kept_back_where_the_rule_says_so() {
    let (beds, first) = down_while_it_runs(&never(Unrecorded::Withhold), 300).await;
    assert!(is_unknown(&first));
    assert!(is_unknown(&beds.clean.post("a", "").await));
    assert_eq!(beds.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_could_not_be_recorded_leaves_and_says_so_where_the_rule_says_so() {
    let (beds, first) = down_while_it_runs(&never(Unrecorded::Answer), 300).await;
    assert!(is_made(&first) && first.is_unrecorded());
    assert!(is_unknown(&beds.clean.post("a", "").await));
    assert_eq!(beds.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_before_the_answer_is_recorded_is_not_noticed() {
    for rule in rules() {
        let (beds, first) = down_while_it_runs(&rule, 4).await;
        assert!(is_made(&first) && !first.is_unrecorded(), "{first:?}");
        assert!(beds.clean.post("a", "").await.is_replay());
        assert_eq!(beds.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_recorded_later_than_its_client_was_told() {
    for rule in rules() {
        let (beds, first) = down_while_it_runs(&rule, 30).await;
        let is_told = first.status() == 500 || first.is_unrecorded();
        assert!(is_told, "{first:?}");
        sleep(5).await;
        let next = beds.clean.post("a", "").await;
        assert!(is_made(&next) && next.is_replay(), "{next:?}");
        assert_eq!(beds.runs(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_after_the_answer_is_recorded_hits_replays_alone() {
    for rule in rules() {
        let beds = beds(&rule, 0, None);
        let first = beds.faulty.post("a", "").await;
        beds.faults.go_down();
        let during = beds.faulty.post("a", "").await;
        assert_eq!(during.refusal(), refused(503, "unavailable"));
        beds.faults.come_up();
        sleep(60).await;
        let after = beds.faulty.post("a", "").await;
        assert!(after.is_replay());
        assert_eq!((after.body, beds.runs()), (first.body, 1));
    }
}

/// A claim whose reply comes when its lease is over protects nobody.
#[tokio::test(start_paused = true)]
async fn who_hears_of_its_claim_when_it_is_over_makes_sure_of_it_before_it_begins() {
    for recovery in [Recovery::ReExecute, Recovery::Never(Unrecorded::Withhold)] {
        let memory = memory();
        let late = FaultBackend::new(memory.clone());
        let rule = IdempotencyRule::new("orders", recovery).unwrap();
        let bed = |backend| {
            Bed::new(
                backend,
                rule.clone(),
                |request: crate::fixture::Inside| async move {
                    sleep(3).await;
                    execution(&request).attempt().to_string().into_response()
                },
            )
        };
        let eleven = Duration::from_secs(11);
        // The claim, and the write after it.
        late.script([Fault::LateReply(eleven), Fault::LateReply(eleven)]);
        let first_bed = bed(late.clone());
        let first = first_bed.sending(post("a", "")).await;
        sleep(LEASE + 12).await;
        let other = bed(FaultBackend::new(memory)).post("a", "").await;
        let first = first.await.unwrap();
        match recovery {
            Recovery::ReExecute => {
                assert_eq!((&*other.body, first_bed.runs()), ("2", 0), "{first:?}");
            }
            _ => assert_eq!((&*first.body, other.status()), ("1", 500)),
        }
        assert!(late.calls(Op::Put) >= 2);
    }
}
