//! Cases of [`KeyValue`].

use std::time::Duration;

use bytes::Bytes;

use super::{Case, Fixture, LONG, MILLISECOND, Scene, at_once, cases};
use crate::{
    backend::{
        BackendErrorKind, Entry, GetOptions, KeyValue, Precondition, Put, PutOptions, Version,
    },
    key::Key,
};

/// What [`KeyValue`] owes.
#[must_use]
pub fn key_value<F>() -> Vec<Case<F>>
where
    F: Fixture,
    F::Backend: KeyValue,
{
    cases![
        what_was_put_is_read,
        a_key_without_a_record_is_none,
        keys_are_independent,
        an_empty_value_is_a_record,
        every_byte_comes_back,
        a_value_of_one_mebibyte_comes_back,
        a_version_is_the_time_of_the_write,
        versions_grow_with_every_write,
        versions_grow_in_quick_succession,
        versions_grow_across_a_deletion,
        versions_grow_across_an_expiry,
        an_absent_key_can_be_claimed_once,
        a_conflict_tells_what_is_there,
        a_conflict_writes_nothing,
        a_matching_version_is_replaced,
        a_version_matches_only_until_the_next_write,
        matching_a_missing_record_is_a_conflict_with_nothing,
        deleting_says_whether_there_was_a_record,
        deleting_honours_the_version,
        deleting_what_is_absent_removes_nothing,
        touching_changes_neither_value_nor_version,
        touching_counts_from_now,
        touching_says_whether_there_was_a_record,
        touching_honours_the_version,
        touching_what_is_absent_does_nothing,
        the_time_left_is_told_when_asked_for,
        a_record_lives_exactly_as_long_as_it_was_told,
        an_expired_record_is_gone_for_every_call,
        overwriting_sets_a_new_time_to_live,
        a_time_to_live_of_zero_is_invalid,
        less_than_a_millisecond_is_rounded_up,
        the_longest_time_to_live_does_not_overflow,
        of_many_claims_at_once_exactly_one_wins,
        concurrent_increments_lose_nothing,
    ]
}

async fn what_was_put_is_read<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("record");
    let version = scene.store(&key, "value", LONG).await;
    let entry = scene.read(&key).await.expect("a record is there once put");
    assert_eq!(entry.value, "value", "get gives the value that was put");
    assert_eq!(entry.version, version, "get gives the version put gave");
}

async fn a_key_without_a_record_is_none<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let read = scene.read(&scene.key("nothing")).await;
    assert_eq!(read, None, "nothing was ever put there");
}

async fn keys_are_independent<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let (one, other) = (scene.key("one"), scene.key("other"));
    scene.store(&one, "1", LONG).await;
    scene.store(&other, "2", LONG).await;
    assert!(scene.delete(&one, Precondition::Any).await);
    let read = scene.read(&other).await.map(|entry| entry.value);
    assert_eq!(read.as_deref(), Some(&b"2"[..]), "another key was deleted");
}

async fn an_empty_value_is_a_record<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("empty");
    scene.store(&key, "", LONG).await;
    let entry = scene.read(&key).await.expect("an empty value is not none");
    assert!(entry.value.is_empty(), "an empty value comes back empty");
}

async fn every_byte_comes_back<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("binary");
    let bytes: Vec<u8> = (0..=u8::MAX).rev().chain(0..=u8::MAX).collect();
    scene.store(&key, bytes.clone(), LONG).await;
    let entry = scene.read(&key).await.expect("a record is there once put");
    assert_eq!(entry.value, bytes, "values are bytes, not text");
}

async fn a_value_of_one_mebibyte_comes_back<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("large");
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| n.to_le_bytes()[1]).collect();
    scene.store(&key, bytes.clone(), LONG).await;
    let entry = scene.read(&key).await.expect("a record is there once put");
    assert!(entry.value == bytes, "a large value comes back unchanged");
}

async fn a_version_is_the_time_of_the_write<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let skew = scene.backend().clock_skew();
    let before = scene.now().await;
    scene.pass(MILLISECOND).await;
    let written = scene.store(&scene.key("a"), "", LONG).await.written_at();
    scene.pass(MILLISECOND).await;
    let after = scene.now().await;
    assert!(
        before <= written + skew && written <= after + skew,
        "a version is the backend's time of the write: {before:?} <= {written:?} <= {after:?}",
    );
}

async fn versions_grow_with_every_write<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "1", LONG).await;
    scene.pass(MILLISECOND).await;
    let second = scene.store(&key, "2", LONG).await;
    assert!(first < second, "{first:?} < {second:?}");
}

async fn versions_grow_in_quick_succession<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let mut last = Version::from_u64(0);
    for _ in 0..200 {
        let next = scene.store(&key, "", LONG).await;
        assert!(
            last < next,
            "also within a microsecond: {last:?} < {next:?}"
        );
        last = next;
    }
}

async fn versions_grow_across_a_deletion<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "1", LONG).await;
    assert!(scene.delete(&key, Precondition::Any).await);
    scene.pass(MILLISECOND).await;
    let second = scene.store(&key, "2", LONG).await;
    assert!(first < second, "{first:?} < {second:?}");
}

async fn versions_grow_across_an_expiry<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let key = scene.key("a");
    let first = scene.store(&key, "1", 2 * MILLISECOND).await;
    scene.pass(4 * MILLISECOND).await;
    assert_eq!(scene.read(&key).await, None, "the record expired");
    let second = scene.store(&key, "2", LONG).await;
    assert!(first < second, "{first:?} < {second:?}");
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

async fn of_many_claims_at_once_exactly_one_wins<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let puts = at_once(64, |task| {
        let scene = scene.clone();
        async move {
            let (key, claim) = (scene.key("claim"), task.to_string());
            let put = scene.put(&key, claim.clone(), Precondition::Absent).await;
            (claim, put)
        }
    })
    .await;
    let mut winners = puts.iter().filter_map(|(claim, put)| match put {
        Put::Stored(version) => Some((claim, *version)),
        Put::Conflict { .. } => None,
    });
    let (winner, version) = winners.next().expect("one claim wins");
    assert_eq!(winners.next(), None, "only one claim wins");
    for (_, put) in &puts {
        if let Put::Conflict { current, .. } = put {
            let current = current.as_ref().expect("the winner's record is there");
            assert_eq!(current.value, *winner, "losers are told the winner");
            assert_eq!(current.version, version, "losers are told the winner");
        }
    }
}

async fn concurrent_increments_lose_nothing<F: Fixture<Backend: KeyValue>>(scene: Scene<F>) {
    let (tasks, increments) = (8, 8);
    scene.store(&scene.key("count"), "0", LONG).await;
    at_once(tasks, |_| {
        let scene = scene.clone();
        async move {
            for _ in 0..increments {
                scene.increment(&scene.key("count")).await;
            }
        }
    })
    .await;
    let count = scene.read(&scene.key("count")).await;
    let count = count.map(|entry| number(&entry.value));
    assert_eq!(count, Some(tasks * increments), "no increment is lost");
}

fn number(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).expect("a number was put");
    text.parse().expect("a number was put")
}

impl<F: Fixture<Backend: KeyValue>> Scene<F> {
    async fn read(&self, key: &Key) -> Option<Entry> {
        let read = self.backend().get(key, GetOptions::new()).await;
        read.expect("get answers")
    }

    async fn read_with_expiry(&self, key: &Key) -> Entry {
        let read = self
            .backend()
            .get(key, GetOptions::new().with_expiry())
            .await;
        read.expect("get answers").expect("the record is there")
    }

    /// Puts a record whatever is there.
    async fn store(&self, key: &Key, value: impl Into<Bytes>, ttl: Duration) -> Version {
        let put = self.backend().put(key, value.into(), PutOptions::new(ttl));
        match put.await.expect("put answers") {
            Put::Stored(version) => version,
            Put::Conflict { .. } => panic!("a put without a precondition met a conflict"),
        }
    }

    async fn put(&self, key: &Key, value: impl Into<Bytes>, precondition: Precondition) -> Put {
        let options = PutOptions::new(LONG).with_precondition(precondition);
        let put = self.backend().put(key, value.into(), options);
        put.await.expect("put answers")
    }

    async fn delete(&self, key: &Key, precondition: Precondition) -> bool {
        let delete = self.backend().delete(key, precondition);
        delete.await.expect("delete answers")
    }

    async fn touch(&self, key: &Key, ttl: Duration, precondition: Precondition) -> bool {
        let touch = self.backend().touch(key, ttl, precondition);
        touch.await.expect("touch answers")
    }

    /// Adds one to the number under a key, by comparing and swapping.
    async fn increment(&self, key: &Key) {
        let mut current = self.read(key).await;
        loop {
            let entry = current.expect("the number is there");
            let next = (number(&entry.value) + 1).to_string();
            match self
                .put(key, next, Precondition::Matches(entry.version))
                .await
            {
                Put::Stored(_) => return,
                Put::Conflict { current: there, .. } => current = there,
            }
        }
    }
}
