//! Versions are times, and grow.

use crate::{
    backend::{KeyValue, Precondition, Version},
    testing::conformance::{Case, Fixture, LONG, MILLISECOND, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: KeyValue>>() -> Vec<Case<F>> {
    cases![
        a_version_is_the_time_of_the_write,
        versions_grow_with_every_write,
        versions_grow_in_quick_succession,
        versions_grow_across_a_deletion,
        versions_grow_across_an_expiry,
    ]
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
