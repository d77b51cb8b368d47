//! How long records live.

use std::time::Duration;

use crate::{
    backend::{BackendErrorKind, GetOptions, KeyValue, Precondition, Put, PutOptions},
    testing::conformance::{Case, Fixture, LONG, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: KeyValue>>() -> Vec<Case<F>> {
    cases![
        touching_changes_neither_value_nor_version,
        touching_counts_from_now,
        touching_says_whether_there_was_a_record,
        the_time_left_is_told_when_asked_for,
        a_record_lives_exactly_as_long_as_it_was_told,
        an_expired_record_is_gone_for_every_call,
        overwriting_sets_a_new_time_to_live,
        a_time_to_live_of_zero_is_invalid,
        less_than_a_millisecond_is_rounded_up,
        the_longest_time_to_live_does_not_overflow,
    ]
}

async fn touching_changes_neither_value_nor_version<F: Fixture<Backend: KeyValue>>(
    scene: Scene<F>,
) {
    let key = scene.key("a");
    let version = scene.store(&key, "value", LONG).await;
    scene.pass(MILLISECOND).await;
    assert!(scene.touch(&key, 2 * LONG, Precondition::Any).await);
    let entry = scene.read_with_expiry(&key).await;
    assert_eq!(entry.value, "value");
    assert_eq!(entry.version, version);
}

async fn touching_counts_from_now<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    scene.store(&key, "", LONG).await;
    scene.pass(10 * MILLISECOND).await;
    assert!(scene.touch(&key, 2 * LONG, Precondition::Any).await);
    let left = scene.read_with_expiry(&key).await.expires_in;
    assert!(
        left > Some(LONG * 3 / 2) && left <= Some(2 * LONG),
        "a longer time to live counts from now: {left:?} of {:?}",
        2 * LONG,
    );
    assert!(scene.touch(&key, 5 * MILLISECOND, Precondition::Any).await);
    scene.pass(6 * MILLISECOND).await;
    assert_eq!(scene.read(&key).await, None, "a shorter one counts too");
}

async fn touching_says_whether_there_was_a_record<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    assert!(!scene.touch(&key, LONG, Precondition::Any).await);
    assert_eq!(scene.read(&key).await, None, "touching makes no record");
    scene.store(&key, "", LONG).await;
    assert!(scene.touch(&key, LONG, Precondition::Any).await);
}

async fn the_time_left_is_told_when_asked_for<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    scene.store(&key, "", LONG).await;
    scene.pass(20 * MILLISECOND).await;
    let left = scene.read_with_expiry(&key).await.expires_in;
    let left = left.expect("GetOptions::with_expiry tells the time left");
    assert!(
        left + 19 * MILLISECOND <= LONG && left > LONG / 2,
        "the time left counts from the write: {left:?} of {LONG:?}",
    );
}

async fn a_record_lives_exactly_as_long_as_it_was_told<F: Fixture<Backend: KeyValue>>(
    scene: Scene<F>,
) {
    let key = scene.key("a");
    let version = scene.store(&key, "", 50 * MILLISECOND).await;
    let end = version.written_at() + 50 * MILLISECOND;
    for step in [
        40 * MILLISECOND,
        8 * MILLISECOND,
        2 * MILLISECOND,
        MILLISECOND,
    ] {
        scene.pass(step).await;
        let before = scene.now().await;
        let alive = scene.read(&key).await.is_some();
        let after = scene.now().await;
        if alive {
            assert!(
                before < end + MILLISECOND,
                "it outlived its end {end:?}: seen after {before:?}"
            );
        } else {
            assert!(
                after + MILLISECOND >= end,
                "it was gone before its end {end:?}: missed before {after:?}"
            );
        }
    }
    assert_eq!(scene.read(&key).await, None, "it was to be gone by now");
}

async fn an_expired_record_is_gone_for_every_call<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let expired = async |name: &str| {
        let key = scene.key(name);
        let version = scene.store(&key, "old", 3 * MILLISECOND).await;
        scene.pass(5 * MILLISECOND).await;
        (key, version)
    };
    let (key, _) = expired("read").await;
    let read = scene
        .backend()
        .get(&key, GetOptions::new().with_expiry())
        .await;
    assert!(matches!(read, Ok(None)), "get sees no expired record");
    let (key, version) = expired("match").await;
    let put = scene.put(&key, "new", Precondition::Matches(version)).await;
    assert!(
        matches!(put, Put::Conflict { current: None, .. }),
        "an expired record's version matches nothing: {put:?}",
    );
    let (key, _) = expired("claim").await;
    let put = scene.put(&key, "new", Precondition::Absent).await;
    assert!(matches!(put, Put::Stored(_)), "put sees no expired record");
    let (key, _) = expired("delete").await;
    let deleted = scene.delete(&key, Precondition::Any).await;
    assert!(!deleted, "delete sees no expired record");
    let (key, _) = expired("touch").await;
    let touched = scene.touch(&key, LONG, Precondition::Any).await;
    assert!(!touched, "touch brings no expired record back");
    assert_eq!(scene.read(&key).await, None);
}

async fn overwriting_sets_a_new_time_to_live<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("longer");
    scene.store(&key, "", 30 * MILLISECOND).await;
    scene.store(&key, "", LONG).await;
    scene.pass(40 * MILLISECOND).await;
    assert!(
        scene.read(&key).await.is_some(),
        "the new, longer one counts"
    );
    let key = scene.key("shorter");
    scene.store(&key, "", LONG).await;
    scene.store(&key, "", 5 * MILLISECOND).await;
    scene.pass(7 * MILLISECOND).await;
    assert_eq!(scene.read(&key).await, None, "the new, shorter one counts");
}

async fn a_time_to_live_of_zero_is_invalid<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let version = scene.store(&key, "first", LONG).await;
    let nothing = PutOptions::new(Duration::ZERO);
    let put = scene.backend().put(&key, "second".into(), nothing).await;
    let kind = put.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::InvalidInput), "put");
    let touch = scene
        .backend()
        .touch(&key, Duration::ZERO, Precondition::Any)
        .await;
    let kind = touch.map_err(|error| error.kind());
    assert_eq!(kind, Err(BackendErrorKind::InvalidInput), "touch");
    let entry = scene.read_with_expiry(&key).await;
    assert_eq!(entry.version, version, "what is invalid changes nothing");
    assert!(entry.expires_in > Some(LONG / 2));
}

async fn less_than_a_millisecond_is_rounded_up<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("put");
    let version = scene.store(&key, "", Duration::from_nanos(1)).await;
    let alive = scene.read(&key).await.is_some();
    let unmoved = scene.now().await <= version.written_at();
    assert!(alive || !unmoved, "1 ns is 1 ms, and not nothing");
    scene.pass(2 * MILLISECOND).await;
    assert_eq!(scene.read(&key).await, None, "1 ns is 1 ms and no more");
    let key = scene.key("touch");
    scene.store(&key, "", LONG).await;
    let touched = scene
        .touch(&key, Duration::from_nanos(1), Precondition::Any)
        .await;
    assert!(touched, "1 ns is 1 ms, and not nothing");
    scene.pass(2 * MILLISECOND).await;
    assert_eq!(scene.read(&key).await, None, "1 ns is 1 ms and no more");
    let key = scene.key("fraction");
    let ttl = LONG + Duration::from_nanos(1);
    let version = scene.store(&key, "", ttl).await;
    let left = scene.read_with_expiry(&key).await.expires_in;
    let passed = scene.now().await - version.written_at();
    assert!(
        left.is_some_and(|left| left + passed + MILLISECOND >= ttl),
        "a fraction of a millisecond is not cut off: {left:?} of {ttl:?} after {passed:?}",
    );
}

async fn the_longest_time_to_live_does_not_overflow<F: Fixture<Backend: KeyValue>>(
    scene: Scene<F>,
) {
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    for ttl in [Duration::MAX, Duration::from_millis(u64::MAX), 1_000 * year] {
        let key = scene.key("put");
        scene.store(&key, "", ttl).await;
        let left = scene.read_with_expiry(&key).await.expires_in;
        assert!(left > Some(year), "put for {ttl:?} leaves {left:?}");
        let key = scene.key("touch");
        scene.store(&key, "", LONG).await;
        assert!(scene.touch(&key, ttl, Precondition::Any).await);
        let left = scene.read_with_expiry(&key).await.expires_in;
        assert!(left > Some(year), "touch for {ttl:?} leaves {left:?}");
    }
}
