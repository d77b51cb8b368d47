//! Redis against memory, on random calls to records and indexes; those to
//! quotas are in `quota_traces`.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use libtest_mimic::Trial;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Handle;
use tower_stash::{
    backend::{
        Cursor, GetOptions, HOUR, MemoryBackend, Precondition, Put, PutOptions, RedisBackend,
        Version,
    },
    clock::Timestamp,
    key::{Key, KeyParts},
};

use super::connect;
use crate::{
    servers::{Result, Servers, Topology},
    stress::stressed,
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "differential":
        Standalone::records_and_indexes_are_what_they_are_in_memory
    )
}

/// A call whose answer can be compared; the numbers choose among a few keys, values and members.
#[derive(Clone, Debug)]
enum Call {
    Get(u8),
    Put(u8, u8, Condition),
    Delete(u8, Condition),
    Touch(u8, Condition),
    Add(u8, u8, u16),
    Remove(u8, u8),
    Members(u8),
}

#[derive(Clone, Copy, Debug)]
enum Condition {
    Any,
    Absent,
    /// The version that was last seen of the key.
    Current,
    /// A version that nothing has.
    Stale,
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let condition = prop_oneof![
        Just(Condition::Any),
        Just(Condition::Absent),
        Just(Condition::Current),
        Just(Condition::Stale),
    ];
    let (key, value) = (0..3_u8, any::<u8>());
    let call = prop_oneof![
        3 => key.clone().prop_map(Call::Get),
        4 => (key.clone(), value, condition.clone()).prop_map(|(k, v, c)| Call::Put(k, v, c)),
        2 => (key.clone(), condition.clone()).prop_map(|(k, c)| Call::Delete(k, c)),
        1 => (key.clone(), condition).prop_map(|(k, c)| Call::Touch(k, c)),
        4 => (key.clone(), 0..6_u8, 0..500_u16).prop_map(|(k, m, d)| Call::Add(k, m, d)),
        2 => (key.clone(), 0..6_u8).prop_map(|(k, m)| Call::Remove(k, m)),
        2 => key.prop_map(Call::Members),
    ];
    prop::collection::vec(call, 1..80)
}

async fn records_and_indexes_are_what_they_are_in_memory(servers: &Servers) -> Result<()> {
    let redis = connect(servers.address(Topology::Standalone).await?)
        .await?
        .with_command_timeout(Duration::from_secs(5));
    spawned(move || {
        let case = AtomicU64::new(0);
        let compared = AtomicUsize::new(0);
        let outcome = runner(150).run(&calls(), |calls| {
            let case = case.fetch_add(1, Ordering::Relaxed);
            compared.fetch_add(calls.len(), Ordering::Relaxed);
            tokio::task::block_in_place(|| {
                Handle::current().block_on(same_answers(&redis, case, &calls))
            })
        });
        eprintln!(
            "differential: {} calls compared with memory",
            compared.into_inner()
        );
        outcome.map_err(|error| error.to_string())
    })
    .await
}

async fn same_answers(
    redis: &RedisBackend,
    case: u64,
    calls: &[Call],
) -> Result<(), TestCaseError> {
    let memory = MemoryBackend::new();
    let mut seen = [[Version::from_u64(0); 3]; 2];
    for call in calls {
        let in_memory = answer(&memory, case, call, &mut seen[0]).await;
        let on_redis = answer(redis, case, call, &mut seen[1]).await;
        prop_assert_eq!(in_memory, on_redis, "{:?}", call);
    }
    Ok(())
}

/// What a call gives, without what differs between clocks.
async fn answer<B>(backend: &B, case: u64, call: &Call, seen: &mut [Version; 3]) -> String
where
    B: tower_stash::backend::KeyValue + tower_stash::backend::Index,
{
    let key = |number: &u8| {
        Key::custom(
            "differential",
            &KeyParts::new().with(case).with(u64::from(*number)),
        )
    };
    let index = |number: &u8| {
        Key::custom(
            "differential-index",
            &KeyParts::new().with(case).with(u64::from(*number)),
        )
    };
    let precondition = |condition: &Condition, key: &u8| match condition {
        Condition::Any => Precondition::Any,
        Condition::Absent => Precondition::Absent,
        Condition::Current => Precondition::Matches(seen[usize::from(*key)]),
        Condition::Stale => Precondition::Matches(Version::from_u64(1)),
    };
    match call {
        Call::Get(k) => {
            let entry = backend
                .get(&key(k), GetOptions::new())
                .await
                .expect("get answers");
            format!("{:?}", entry.map(|entry| entry.value))
        }
        Call::Put(k, value, condition) => {
            let options = PutOptions::new(HOUR).with_precondition(precondition(condition, k));
            match backend
                .put(&key(k), Bytes::from(vec![*value; 3]), options)
                .await
                .expect("put answers")
            {
                Put::Stored(version) => {
                    let grew = version > seen[usize::from(*k)];
                    seen[usize::from(*k)] = version;
                    format!("stored, grew: {grew}")
                }
                Put::Conflict { current, .. } => {
                    format!("conflict with {:?}", current.map(|entry| entry.value))
                }
            }
        }
        Call::Delete(k, condition) => {
            format!(
                "{}",
                backend
                    .delete(&key(k), precondition(condition, k))
                    .await
                    .expect("delete answers")
            )
        }
        Call::Touch(k, condition) => {
            format!(
                "{}",
                backend
                    .touch(&key(k), HOUR, precondition(condition, k))
                    .await
                    .expect("touch answers")
            )
        }
        Call::Add(k, member, deadline) => {
            // Far in the future, or over since long: the clocks do not matter.
            let deadline = match deadline {
                0..50 => Timestamp::from_millis(1),
                _ => Timestamp::from_millis(4_000_000_000_000 + u64::from(*deadline)),
            };
            backend
                .add(&index(k), Bytes::from(vec![*member]), deadline)
                .await
                .expect("add answers");
            String::new()
        }
        Call::Remove(k, member) => {
            format!(
                "{}",
                backend
                    .remove(&index(k), Bytes::from(vec![*member]))
                    .await
                    .expect("remove answers")
            )
        }
        Call::Members(k) => {
            let page = backend
                .members(&index(k), None::<Cursor>)
                .await
                .expect("members answers");
            format!("{:?}", page.members)
        }
    }
}

/// Proptest is not async: it runs on a thread of its own, inside the runtime.
pub(super) async fn spawned(
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Result<()> {
    Ok(tokio::spawn(async move { test() }).await??)
}

pub(super) fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases: stressed(cases),
        failure_persistence: None,
        ..Config::default()
    })
}
