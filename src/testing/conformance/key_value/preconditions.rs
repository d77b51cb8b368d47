//! What a write is conditional on.

use crate::{
    backend::{KeyValue, Precondition, Put, PutOptions, Version},
    testing::conformance::{Case, Fixture, LONG, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: KeyValue>>() -> Vec<Case<F>> {
    cases![
        an_absent_key_can_be_claimed_once,
        a_conflict_tells_what_is_there,
        a_conflict_writes_nothing,
        a_matching_version_is_replaced,
        a_version_matches_only_until_the_next_write,
        matching_a_missing_record_is_a_conflict_with_nothing,
        deleting_says_whether_there_was_a_record,
        deleting_honours_the_version,
        deleting_what_is_absent_removes_nothing,
        touching_honours_the_version,
        touching_what_is_absent_does_nothing,
    ]
}

async fn an_absent_key_can_be_claimed_once<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("claim");
    let first = scene.put(&key, "first", Precondition::Absent).await;
    assert!(matches!(first, Put::Stored(_)), "nothing was there");
    let second = scene.put(&key, "second", Precondition::Absent).await;
    assert!(matches!(second, Put::Conflict { .. }), "a record was there");
    assert!(scene.delete(&key, Precondition::Any).await);
    let third = scene.put(&key, "third", Precondition::Absent).await;
    assert!(matches!(third, Put::Stored(_)), "the record was deleted");
}

async fn a_conflict_tells_what_is_there<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("claim");
    let version = scene.store(&key, "first", LONG).await;
    scene.pass(10 * MILLISECOND).await;
    let before = scene.now().await;
    let put = scene.put(&key, "second", Precondition::Absent).await;
    let Put::Conflict { current, now } = put else {
        panic!("a record was there, but it was overwritten");
    };
    let after = scene.now().await;
    let skew = scene.backend().clock_skew() + MILLISECOND;
    let current = current.expect("a conflict with a record tells the record");
    assert_eq!(current.value, "first", "a conflict tells the value");
    assert_eq!(current.version, version, "a conflict tells the version");
    let left = current.expires_in.expect("a conflict tells the time left");
    assert!(
        left + 9 * MILLISECOND <= LONG && left > LONG / 2,
        "the time left counts from the write: {left:?} of {LONG:?}",
    );
    assert!(
        before <= now + skew && now <= after + skew,
        "a conflict tells the backend's time: {before:?} <= {now:?} <= {after:?}",
    );
}

async fn a_conflict_writes_nothing<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let version = scene.store(&key, "first", LONG).await;
    let elsewhere = Version::from_u64(version.as_u64() - 1);
    for precondition in [Precondition::Absent, Precondition::Matches(elsewhere)] {
        let options = PutOptions::new(2 * LONG).with_precondition(precondition);
        let put = scene.backend().put(&key, "second".into(), options).await;
        assert!(matches!(put, Ok(Put::Conflict { .. })), "{precondition:?}");
    }
    let entry = scene.read_with_expiry(&key).await;
    assert_eq!(entry.value, "first", "a conflict leaves the value");
    assert_eq!(entry.version, version, "a conflict leaves the version");
    assert!(
        entry.expires_in <= Some(LONG),
        "a conflict leaves the time to live"
    );
}

async fn a_matching_version_is_replaced<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "first", LONG).await;
    let put = scene
        .put(&key, "second", Precondition::Matches(first))
        .await;
    let Put::Stored(second) = put else {
        panic!("the version matched, but nothing was written");
    };
    let entry = scene.read(&key).await.expect("a record is there once put");
    assert_eq!(entry.value, "second");
    assert_eq!(entry.version, second);
    assert!(first < second, "{first:?} < {second:?}");
}

async fn a_version_matches_only_until_the_next_write<F: Fixture<Backend: KeyValue>>(
    scene: Scene<F>,
) {
    let key = scene.key("a");
    let first = scene.store(&key, "first", LONG).await;
    let second = scene.store(&key, "second", LONG).await;
    let put = scene.put(&key, "third", Precondition::Matches(first)).await;
    let Put::Conflict { current, .. } = put else {
        panic!("a stale version overwrote a newer record");
    };
    assert_eq!(current.map(|entry| entry.version), Some(second));
}

async fn matching_a_missing_record_is_a_conflict_with_nothing<F: Fixture<Backend: KeyValue>>(
    scene: Scene<F>,
) {
    let key = scene.key("a");
    let version = scene.store(&key, "", LONG).await;
    assert!(scene.delete(&key, Precondition::Any).await);
    let put = scene.put(&key, "", Precondition::Matches(version)).await;
    assert!(
        matches!(put, Put::Conflict { current: None, .. }),
        "a version matches nothing where there is no record: {put:?}",
    );
    assert_eq!(scene.read(&key).await, None, "a conflict writes nothing");
}

async fn deleting_says_whether_there_was_a_record<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    assert!(
        !scene.delete(&key, Precondition::Any).await,
        "nothing there"
    );
    scene.store(&key, "", LONG).await;
    assert!(
        scene.delete(&key, Precondition::Any).await,
        "a record there"
    );
    assert_eq!(scene.read(&key).await, None, "it is gone");
    assert!(!scene.delete(&key, Precondition::Any).await, "gone already");
}

async fn deleting_honours_the_version<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "first", LONG).await;
    let second = scene.store(&key, "second", LONG).await;
    let deleted = scene.delete(&key, Precondition::Matches(first)).await;
    assert!(!deleted, "a stale version deletes nothing");
    assert!(
        scene.read(&key).await.is_some(),
        "the record is still there"
    );
    let deleted = scene.delete(&key, Precondition::Matches(second)).await;
    assert!(deleted, "the present version deletes");
    assert_eq!(scene.read(&key).await, None, "it is gone");
}

async fn deleting_what_is_absent_removes_nothing<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    assert!(!scene.delete(&key, Precondition::Absent).await);
    scene.store(&key, "", LONG).await;
    assert!(!scene.delete(&key, Precondition::Absent).await);
    assert!(
        scene.read(&key).await.is_some(),
        "the record is still there"
    );
}

async fn touching_honours_the_version<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "first", LONG).await;
    let second = scene.store(&key, "second", LONG).await;
    let touched = scene
        .touch(&key, 2 * LONG, Precondition::Matches(first))
        .await;
    assert!(!touched, "a stale version touches nothing");
    let left = scene.read_with_expiry(&key).await.expires_in;
    assert!(
        left <= Some(LONG),
        "the time to live is unchanged: {left:?}"
    );
    let touched = scene
        .touch(&key, 2 * LONG, Precondition::Matches(second))
        .await;
    assert!(touched, "the present version touches");
    let left = scene.read_with_expiry(&key).await.expires_in;
    assert!(left > Some(LONG), "the time to live is longer: {left:?}");
}

async fn touching_what_is_absent_does_nothing<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    assert!(!scene.touch(&key, LONG, Precondition::Absent).await);
    assert_eq!(scene.read(&key).await, None, "touching makes no record");
    scene.store(&key, "", LONG).await;
    assert!(!scene.touch(&key, 2 * LONG, Precondition::Absent).await);
    let left = scene.read_with_expiry(&key).await.expires_in;
    assert!(
        left <= Some(LONG),
        "the time to live is unchanged: {left:?}"
    );
}
