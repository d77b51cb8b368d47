//! Shows that the driver finds what it is for: an update that is lost.

use bytes::Bytes;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tower_stash::{
    backend::{GetOptions, KeyValue, MemoryBackend, Precondition, Put, PutOptions},
    key::{Key, KeyParts},
};

use crate::model::{
    driver::{Driver, Release, Virtual, runtime},
    stepped::Stepped,
};
use std::time::Duration;

#[test]
fn the_driver_finds_the_update_that_a_write_without_a_condition_loses() {
    assert!(counted_by_two(Condition::None).is_err());
}

#[test]
fn the_driver_finds_no_lost_update_where_writes_compare_versions() {
    counted_by_two(Condition::Version).unwrap();
}

#[derive(Clone, Copy)]
enum Condition {
    None,
    Version,
}

/// Two tasks count to two in random orders of their calls.
fn counted_by_two(condition: Condition) -> Result<(), String> {
    let config = Config {
        cases: 100,
        failure_persistence: None,
        ..Config::default()
    };
    let orders = prop::collection::vec(0..2_usize, 0..20);
    let outcome = TestRunner::new(config).run(&orders, |order| {
        runtime().block_on(async {
            let time = Virtual::default();
            let backend = MemoryBackend::new().with_clock(time.0.clone());
            let mut driver = Driver::new(backend.clone(), time);
            for _ in 0..2 {
                driver.spawn(|backend| increment(backend, condition));
            }
            let mut order = order.into_iter();
            loop {
                let waiting = driver.settle().await.len();
                if waiting == 0 {
                    break;
                }
                let place = order.next().unwrap_or_default() % waiting;
                driver.release(place, Release::Answer).await;
            }
            let count = backend.get(&key(), GetOptions::new()).await.unwrap();
            prop_assert_eq!(count.map(|entry| entry.value[0]), Some(2));
            Ok(())
        })
    });
    outcome.map_err(|error| error.to_string())
}

async fn increment(backend: Stepped, condition: Condition) {
    loop {
        let entry = backend.get(&key(), GetOptions::new()).await.unwrap();
        let count = entry.as_ref().map_or(0, |entry| entry.value[0]);
        let precondition = match (condition, entry) {
            (Condition::None, _) => Precondition::Any,
            (Condition::Version, None) => Precondition::Absent,
            (Condition::Version, Some(entry)) => Precondition::Matches(entry.version),
        };
        let options = PutOptions::new(Duration::from_secs(60)).with_precondition(precondition);
        let value = Bytes::from(vec![count + 1]);
        if let Put::Stored(_) = backend.put(&key(), value, options).await.unwrap() {
            return;
        }
    }
}

fn key() -> Key {
    Key::custom("toy", &KeyParts::new())
}
