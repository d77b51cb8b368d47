//! What was put is what is read.

use crate::{
    backend::{KeyValue, Precondition},
    testing::conformance::{Case, Fixture, LONG, Scene, cases},
};

pub(super) fn cases<F: Fixture<Backend: KeyValue>>() -> Vec<Case<F>> {
    cases![
        what_was_put_is_read,
        a_key_without_a_record_is_none,
        keys_are_independent,
        an_empty_value_is_a_record,
        every_byte_comes_back,
        a_value_of_one_mebibyte_comes_back,
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
