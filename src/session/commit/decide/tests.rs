use std::sync::Arc;

use super::{super::super::record::Value, *};
use crate::{
    backend::Version,
    session::{SessionRule, expiry::ServerClock, json, token::Handle},
};

/// When all of this happens.
const START: u64 = 1_767_225_600_000_000;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(START) + Duration::from_secs(seconds)
}

fn version(seconds: u64) -> Version {
    Version::from_u64(at(seconds).as_micros())
}

fn digest(byte: u8) -> SecretDigest {
    SecretDigest::from_bytes([byte; 32])
}

/// Anonymous sessions live a minute idle and ten at most, others an hour and a day.
fn rule() -> SessionRule {
    let seconds = Duration::from_secs;
    SessionRule::new("web")
        .and_then(|rule| rule.with_timeouts(seconds(3_600), seconds(86_400)))
        .and_then(|rule| rule.with_anonymous_timeouts(seconds(60), seconds(600)))
        .unwrap()
}

/// A session of this generation that began at 0, as its first commit left it.
fn record(generation: u64) -> Record {
    let seed = CsrfSeed::from_bytes([1; 16]);
    let mut record = new_record(digest(1), generation, seed, rule().family());
    record.head.born = Some(at(0));
    record.head.trail.push(100);
    record
}

/// A record that was written at this second.
fn stored(record: Record, seconds: u64) -> Stored {
    Stored {
        handle: Handle::from_bytes(&[7; 16]).unwrap(),
        record: Arc::new(record),
        version: version(seconds),
        clock: ServerClock::new(at(seconds), crate::clock::monotonic_now()),
    }
}

/// The same session after commits with these marks.
fn after(nonces: impl IntoIterator<Item = u64>) -> Record {
    let mut record = record(1);
    for nonce in nonces {
        record.head.trail.push(nonce);
    }
    record
}

/// One attempt with the mark 9 over generation 1 of the session.
struct Bench {
    mode: Mode,
    unanswered_over: Option<u64>,
}

const MERGE: Bench = Bench {
    mode: Mode::Merge,
    unanswered_over: None,
};
const STRICT: Bench = Bench {
    mode: Mode::Strict,
    unanswered_over: None,
};
/// It was sent before over the mark 100, and not answered.
const UNKNOWN: Bench = Bench {
    mode: Mode::Exact,
    unanswered_over: Some(100),
};

impl Bench {
    fn judge(&self, current: &Record, now: u64) -> Verdict {
        let written = stored(current.clone(), 5);
        let current = Stored {
            clock: ServerClock::new(at(now), crate::clock::monotonic_now()),
            ..written
        };
        self.judge_found(Some(&current))
    }

    fn judge_found(&self, current: Option<&Stored>) -> Verdict {
        let base = stored(record(1), 0);
        let attempt = Attempt {
            base: &base,
            nonce: 9,
            mode: self.mode,
            unanswered_over: self.unanswered_over,
        };
        attempt.judge(current)
    }
}

const GONE: Verdict = Verdict::Refused(Refusal::Gone);
const CONFLICT: Verdict = Verdict::Refused(Refusal::Conflict);
const INDETERMINATE: Verdict = Verdict::Refused(Refusal::Indeterminate);

#[test]
fn what_is_gone_stays_so() {
    for commit in [MERGE, STRICT, UNKNOWN] {
        assert_eq!(commit.judge_found(None), GONE);
    }
}

#[test]
fn a_commit_knows_its_own_mark_whoever_wrote_since() {
    for commit in [MERGE, STRICT, UNKNOWN] {
        assert_eq!(commit.judge(&after([9]), 10), Verdict::Done);
        assert_eq!(commit.judge(&after([9, 10, 11, 12]), 10), Verdict::Done);
    }
}

#[test]
fn a_login_whose_answer_was_lost_knows_its_mark_although_the_generation_is_its_own() {
    let mut current = after([9]);
    current.head.generation = 2;
    assert_eq!(MERGE.judge(&current, 10), Verdict::Done);
}

#[test]
fn what_was_written_in_time_was_written_however_late_it_is_found() {
    assert_eq!(MERGE.judge(&after([9]), 10_000), Verdict::Done);
}

#[test]
fn another_generation_refuses_whatever_the_commit_is() {
    let mut current = after([10]);
    current.head.generation = 2;
    assert_eq!(MERGE.judge(&current, 10), GONE);
    assert_eq!(STRICT.judge(&current, 10), GONE, "not a conflict");
    assert_eq!(UNKNOWN.judge(&current, 10), GONE);
}

#[test]
fn nothing_is_written_at_the_deadline_or_after() {
    let current = after([10]);
    assert_eq!(MERGE.judge(&current, 599), Verdict::Again);
    for now in [600, 601] {
        assert_eq!(MERGE.judge(&current, now), GONE);
        assert_eq!(STRICT.judge(&current, now), GONE, "not a conflict");
    }
    assert_eq!(UNKNOWN.judge(&current, 600), GONE);
}

#[test]
fn a_session_that_is_not_born_yet_has_its_deadline_from_what_stands_there() {
    let mut current = after([10]);
    current.head.born = None;
    assert_eq!(MERGE.judge(&current, 604), Verdict::Again);
    assert_eq!(MERGE.judge(&current, 605), GONE);
}

#[test]
fn a_strict_commit_is_refused_after_any_other_but_not_after_a_slide() {
    assert_eq!(STRICT.judge(&after([10]), 10), CONFLICT);
    assert_eq!(STRICT.judge(&after([]), 10), Verdict::Again);
    assert_eq!(MERGE.judge(&after([10]), 10), Verdict::Again);
}

#[test]
fn an_exact_change_is_made_again_only_where_it_would_be_seen_had_it_been_made() {
    assert_eq!(UNKNOWN.judge(&after([]), 10), Verdict::Again);
    assert_eq!(UNKNOWN.judge(&after(10..17), 10), Verdict::Again);
    assert_eq!(UNKNOWN.judge(&after(10..18), 10), INDETERMINATE);
}

#[test]
fn what_may_have_been_written_before_a_login_or_the_end_is_not_said_to_be_lost() {
    let mut current = after(10..18);
    assert_eq!(UNKNOWN.judge(&current, 600), INDETERMINATE);
    current.head.generation = 2;
    assert_eq!(UNKNOWN.judge(&current, 10), INDETERMINATE);
    let strict = Bench {
        mode: Mode::Strict,
        ..UNKNOWN
    };
    assert_eq!(strict.judge(&after(10..18), 10), INDETERMINATE);
    assert_eq!(strict.judge(&after([10]), 10), CONFLICT);
}

#[test]
fn an_exact_change_whose_attempts_were_all_answered_is_made_again_after_any_number() {
    let answered = Bench {
        unanswered_over: None,
        ..UNKNOWN
    };
    assert_eq!(answered.judge(&after(10..30), 10), Verdict::Again);
}

#[test]
fn what_may_be_done_twice_is_done_again_after_any_number() {
    let unknown = Bench {
        unanswered_over: Some(100),
        ..MERGE
    };
    assert_eq!(unknown.judge(&after(10..30), 10), Verdict::Again);
}

/// What is written at this second over this record of second 5, by who loaded it so.
fn next(current: &Record, identity: Identity, now: u64) -> Option<Record> {
    next_over(current, &current.head, Via::Current, identity, now)
}

fn next_over(
    current: &Record,
    base: &Head,
    via: Via,
    identity: Identity,
    now: u64,
) -> Option<Record> {
    let mut delta = Delta::default();
    delta.set("b", value("2"));
    let change = Change { delta, identity };
    let current = stored(current.clone(), 5);
    next_record(&current, (base, via), &change, 9, rule().family(), at(now))
}

fn slid(current: &Record, via: Via, now: u64) -> Option<Record> {
    slid_record(&stored(current.clone(), 5), via, rule().family(), at(now))
}

fn value(json: &str) -> Value {
    json::write(&json).unwrap()
}

fn sign_in() -> SignIn {
    SignIn {
        life: Duration::from_secs(86_400),
        user: Bytes::from_static(b"ada"),
        digest: digest(4),
        generation: 2,
        csrf_seed: CsrfSeed::from_bytes([2; 16]),
        kept: None,
    }
}

fn login() -> Identity {
    Identity::SignedIn(sign_in())
}

/// The session after a rotation at second 4, whose new secret nobody has used yet.
fn rotated() -> Record {
    let mut record = record(1);
    record.head.digest = digest(2);
    record.head.previous = digest(1);
    record.head.rotated = at(4);
    record.head.previous_until = at(604);
    record
}

#[test]
fn a_commit_changes_its_attributes_and_leaves_its_mark() {
    let mut current = record(1);
    current.attributes.set("a", value("1"));
    let next = next(&current, Identity::Same, 10).unwrap();
    let mut expected = current.clone();
    expected.attributes.set("b", value("2"));
    expected.head.trail.push(9);
    expected.head.ttl = Duration::from_secs(60);
    assert_eq!(next, expected);
}

#[test]
fn the_first_commit_says_when_the_session_was_born() {
    let mut current = record(1);
    current.head.born = None;
    let committed = next(&current, Identity::Same, 10).unwrap();
    assert_eq!(committed.head.born, Some(at(5)));
    let slid = slid(&current, Via::Current, 10).unwrap();
    assert_eq!(slid.head.born, Some(at(5)));
}

#[test]
fn a_record_lives_as_long_as_its_user_may_and_never_past_the_deadline() {
    let ttl = |record: &Record, now| {
        let committed = next(record, Identity::Same, now).map(|next| next.head.ttl);
        assert_eq!(
            slid(record, Via::Current, now).map(|slid| slid.head.ttl),
            committed
        );
        committed.map(|ttl| ttl.as_secs())
    };
    let mut anonymous = record(1);
    assert_eq!(ttl(&anonymous, 10), Some(60));
    assert_eq!(ttl(&anonymous, 570), Some(30));
    assert_eq!(ttl(&anonymous, 600), None);
    anonymous.user = Some(Bytes::from_static(b"ada"));
    assert_eq!(
        ttl(&anonymous, 10),
        Some(590),
        "the deadline is the session's own"
    );
    anonymous.head.life = Duration::from_secs(86_400);
    assert_eq!(ttl(&anonymous, 10), Some(3_600));
}

#[test]
fn a_slide_moves_the_end_and_nothing_else() {
    let mut current = record(1);
    current.attributes.set("a", value("1"));
    let mut expected = current.clone();
    expected.head.ttl = Duration::from_secs(60);
    current.head.ttl = Duration::from_secs(7);
    assert_eq!(slid(&current, Via::Current, 10).unwrap(), expected);
}

#[test]
fn a_rotation_leaves_the_secret_before_good_for_ten_minutes() {
    let current = record(1);
    let head = next(&current, Identity::Rotated(digest(2)), 10)
        .unwrap()
        .head;
    let mut expected = current.head;
    expected.trail.push(9);
    expected.digest = digest(2);
    expected.previous = digest(1);
    expected.previous_until = at(610);
    expected.rotated = at(10);
    expected.ttl = Duration::from_secs(60);
    assert_eq!(head, expected);
}

#[test]
fn of_two_rotations_the_first_counts_and_the_changes_of_both() {
    let current = rotated();
    let base = record(1).head;
    let rotation = Identity::Rotated(digest(3));
    let next = next_over(&current, &base, Via::Current, rotation, 10).unwrap();
    let mut expected = current.head.clone();
    expected.trail.push(9);
    assert_eq!(next.head, expected);
    assert_eq!(next.attributes.get("b"), Some(&value("2")));
}

#[test]
fn a_renewal_kills_the_secret_before_and_who_loaded_it() {
    let current = record(1);
    let head = next(&current, Identity::Renewed(digest(2), 2), 10)
        .unwrap()
        .head;
    let mut expected = current.head;
    expected.trail.push(9);
    expected.digest = digest(2);
    expected.previous = digest(1);
    expected.generation = 2;
    expected.rotated = at(10);
    expected.ttl = Duration::from_secs(60);
    assert_eq!(head, expected);
}

#[test]
fn a_renewal_ends_the_overlap_of_a_rotation() {
    let current = rotated();
    let base = record(1).head;
    for identity in [Identity::Renewed(digest(3), 2), login()] {
        let next = next_over(&current, &base, Via::Current, identity, 10).unwrap();
        assert_ne!(next.head.digest, digest(2));
        assert_eq!(next.head.previous, digest(2));
        assert_eq!(next.head.previous_until, Timestamp::default());
        assert_eq!(next.head.generation, 2);
    }
}

#[test]
fn a_login_begins_another_life() {
    let mut current = rotated();
    current.head.is_new_secret_used = true;
    current.attributes.set("a", value("1"));
    let next = next(&current, login(), 10).unwrap();
    let mut head = current.head;
    head.trail.push(9);
    head.is_new_secret_used = false;
    head.digest = digest(4);
    head.previous = digest(2);
    head.previous_until = Timestamp::default();
    head.generation = 2;
    head.rotated = at(10);
    head.csrf_seed = CsrfSeed::from_bytes([2; 16]);
    head.born = Some(at(10));
    head.life = Duration::from_secs(86_400);
    head.ttl = Duration::from_secs(3_600);
    assert_eq!(next.head, head);
    assert_eq!(next.user.as_deref(), Some(&b"ada"[..]));
    assert_eq!(next.attributes.get("a"), Some(&value("1")));
    assert_eq!(next.attributes.get("b"), Some(&value("2")));
}

#[test]
fn a_login_keeps_what_it_names_and_what_its_request_set() {
    let mut current = record(1);
    current.attributes.set("a", value("1"));
    current.attributes.set("cart", value("1"));
    current.attributes.set("~flash.1", value("1"));
    let kept = Some(vec!["cart".into(), "other".into()]);
    let sign_in = Identity::SignedIn(SignIn { kept, ..sign_in() });
    let next = next(&current, sign_in, 10).unwrap();
    let names: Vec<_> = next.attributes.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["b", "cart", "~flash.1"]);
}

#[test]
fn the_first_use_of_a_new_secret_ends_the_old_one_in_thirty_seconds() {
    let current = rotated();
    let used = |now| {
        let committed = next(&current, Identity::Same, now).unwrap().head;
        let slid = slid(&current, Via::Current, now).unwrap().head;
        assert!(committed.is_new_secret_used && slid.is_new_secret_used);
        assert_eq!(committed.previous_until, slid.previous_until);
        committed.previous_until
    };
    assert_eq!(used(10), at(40));
    assert_eq!(used(590), at(604), "it had less than that left");
}

#[test]
fn who_comes_with_the_old_secret_has_not_used_the_new_one() {
    let current = rotated();
    let slid = slid(&current, Via::Previous, 10).unwrap().head;
    let same = Identity::Same;
    let committed = next_over(&current, &current.head, Via::Previous, same, 10);
    for head in [slid, committed.unwrap().head] {
        assert!(!head.is_new_secret_used);
        assert_eq!(head.previous_until, at(604));
    }
}

#[test]
fn who_loaded_the_session_before_it_was_rotated_has_not_used_the_new_secret() {
    let mut base = rotated().head;
    base.digest = digest(1);
    let next = next_over(&rotated(), &base, Via::Current, Identity::Same, 10);
    let head = next.unwrap().head;
    assert!(!head.is_new_secret_used);
    assert_eq!(head.previous_until, at(604));
}

#[test]
fn a_second_use_moves_nothing() {
    let mut current = rotated();
    current.head.is_new_secret_used = true;
    current.head.previous_until = at(30);
    let head = next(&current, Identity::Same, 10).unwrap().head;
    assert_eq!(head.previous_until, at(30));
    assert!(!is_first_use(&current.head, Via::Current));
    assert!(is_first_use(&rotated().head, Via::Current));
    assert!(!is_first_use(&rotated().head, Via::Previous));
    assert!(
        !is_first_use(&record(1).head, Via::Current),
        "never rotated"
    );
}
