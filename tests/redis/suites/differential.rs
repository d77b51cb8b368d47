//! Redis against brute force and against memory, on random calls.

use std::{
    future::Future,
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
        Acquire, Cursor, GetOptions, Limit, MemoryBackend, Precondition, Put, PutOptions, Quota,
        Quotas as _, RedisBackend, Take, Version,
    },
    clock::{Clock as _, Timestamp},
    key::{Key, KeyParts},
    testing::ManualClock,
};

use super::connect;
use crate::{
    quota_oracle::{self, Fixture, KINDS, agrees_with_brute_force, quota, quotas, steps},
    servers::{Result, Servers, Topology},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "differential":
        Standalone::quotas_decide_what_brute_force_says
        Standalone::quotas_decide_as_in_memory_though_the_clock_steps_and_hits_are_refunded
        Standalone::records_and_indexes_are_what_they_are_in_memory
    )
}

// === Quotas ===

/// Redis on a clock that the test advances.
struct Advanced {
    backend: RedisBackend,
    clock: ManualClock,
}

impl Fixture for Advanced {
    type Backend = RedisBackend;

    fn backend(&self) -> &RedisBackend {
        &self.backend
    }

    fn clock(&self) -> &ManualClock {
        &self.clock
    }

    fn block_on<T>(&self, case: impl Future<Output = T>) -> T {
        tokio::task::block_in_place(|| Handle::current().block_on(case))
    }
}

async fn quotas_decide_what_brute_force_says(servers: &Servers) -> Result<()> {
    let clock = ManualClock::new();
    let backend = connect(servers.address(Topology::Standalone).await?)
        .await?
        .with_command_timeout(Duration::from_secs(5))
        .with_quota_clock(clock.clone());
    let fixture = Advanced { backend, clock };
    spawned(move || {
        let case = AtomicU64::new(0);
        let strategy = (prop::collection::vec(quotas(), 1..=4), steps(60));
        let decisions = AtomicUsize::new(0);
        let outcome = runner(500).run(&strategy, |(quotas, steps)| {
            let case = case.fetch_add(1, Ordering::Relaxed);
            decisions.fetch_add(steps.len(), Ordering::Relaxed);
            agrees_with_brute_force(&fixture, &quota_oracle::subject(case), &quotas, &steps)
        });
        eprintln!(
            "differential: {} decisions compared with brute force",
            decisions.into_inner()
        );
        outcome.map_err(|error| error.to_string())
    })
    .await
}

/// A call to quotas, some time after the one before.
#[derive(Clone, Debug)]
struct QuotaCall {
    after: Duration,
    cost: u64,
    take: Take,
    kind: QuotaCallKind,
}

#[derive(Clone, Copy, Debug)]
enum QuotaCallKind {
    Acquire,
    /// Gives back what the call this many admissions ago took; perhaps for the second time.
    Refund(usize),
    Reset,
}

fn quota_calls() -> impl Strategy<Value = Vec<QuotaCall>> {
    let kind = prop_oneof![
        8 => Just(QuotaCallKind::Acquire),
        2 => (0..4_usize).prop_map(QuotaCallKind::Refund),
        1 => Just(QuotaCallKind::Reset),
    ];
    let take = prop_oneof![3 => Just(Take::All), 1 => Just(Take::UpTo)];
    let call = (0..30_000_000_u64, 0..6_u64, take, kind).prop_map(|(micros, cost, take, kind)| {
        QuotaCall {
            after: Duration::from_micros(micros),
            cost,
            take,
            kind,
        }
    });
    prop::collection::vec(call, 1..60)
}

/// Quotas of an hour, so that nothing ends before the clock steps back: what has ended is gone in
/// memory, and still there on a Redis whose own clock did not move.
fn hourly_quotas() -> impl Strategy<Value = Vec<Quota>> {
    let quota = (0..KINDS, 1..=20_u64, 1..=3_u32, 0..60_000_u64).prop_map(
        |(kind, limit, weight, detail)| {
            quota(kind, limit.max(u64::from(weight)), HOUR, detail).with_weight(weight)
        },
    );
    prop::collection::vec(quota, 1..=3)
}

/// Before which call the clock steps back, and how far: within the window, to its edges, beyond.
fn step_back() -> impl Strategy<Value = (usize, Duration)> {
    let by = prop_oneof![
        (0..7_300_000_u64).prop_map(Duration::from_millis),
        prop_oneof![Just(1_u32), Just(2), Just(10)].prop_map(|hours| hours * HOUR),
        prop_oneof![Just(1_u64), Just(3_600_001), Just(7_200_001)].prop_map(Duration::from_millis),
    ];
    (0..60_usize, by)
}

async fn quotas_decide_as_in_memory_though_the_clock_steps_and_hits_are_refunded(
    servers: &Servers,
) -> Result<()> {
    let clock = ManualClock::new();
    let redis = connect(servers.address(Topology::Standalone).await?)
        .await?
        .with_command_timeout(Duration::from_secs(5))
        .with_quota_clock(clock.clone());
    spawned(move || {
        let case = AtomicU64::new(0);
        let strategy = (hourly_quotas(), quota_calls(), step_back());
        let compared = AtomicUsize::new(0);
        let outcome = runner(300).run(&strategy, |(quotas, calls, back)| {
            let subject = quota_oracle::subject(1_000_000 + case.fetch_add(1, Ordering::Relaxed));
            compared.fetch_add(calls.len(), Ordering::Relaxed);
            tokio::task::block_in_place(|| {
                Handle::current().block_on(same_decisions(
                    &redis, &clock, &subject, &quotas, &calls, back,
                ))
            })
        });
        eprintln!(
            "differential: {} calls to quotas compared with memory",
            compared.into_inner()
        );
        outcome.map_err(|error| error.to_string())
    })
    .await
}

async fn same_decisions(
    redis: &RedisBackend,
    clock: &ManualClock,
    subject: &Key,
    quotas: &[Quota],
    calls: &[QuotaCall],
    (back_before, back): (usize, Duration),
) -> Result<(), TestCaseError> {
    // Two minutes into an hour.
    clock.set(Timestamp::from_millis((472_000 * 3_600 + 120) * 1_000));
    let memory = MemoryBackend::new().with_clock(clock.clone());
    let names = ["a", "b", "c"];
    let limits: Vec<_> = names
        .into_iter()
        .zip(quotas)
        .map(|(name, quota)| Limit::new(name, *quota).expect("a valid limit"))
        .collect();
    let mut receipts = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        clock.advance(call.after);
        if index == back_before {
            clock.set(clock.now() - back);
        }
        match call.kind {
            QuotaCallKind::Acquire => {
                let request = Acquire::new(subject.clone(), limits.clone())
                    .with_cost(call.cost)
                    .with_take(call.take);
                let in_memory = memory.acquire(&request).await.expect("memory answers");
                let on_redis = redis.acquire(&request).await.expect("redis answers");
                prop_assert_eq!(&in_memory, &on_redis, "{:?}", call);
                receipts.push(on_redis.receipt(&request));
            }
            QuotaCallKind::Refund(ago) => {
                if let Some(receipt) = receipts.iter().rev().nth(ago) {
                    memory.refund(receipt).await.expect("memory answers");
                    redis.refund(receipt).await.expect("redis answers");
                }
            }
            QuotaCallKind::Reset => {
                memory
                    .reset(subject, &limits)
                    .await
                    .expect("memory answers");
                redis.reset(subject, &limits).await.expect("redis answers");
            }
        }
    }
    Ok(())
}

// === Records and indexes ===

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
async fn spawned(test: impl FnOnce() -> Result<(), String> + Send + 'static) -> Result<()> {
    Ok(tokio::spawn(async move { test() }).await??)
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

const HOUR: Duration = Duration::from_secs(3_600);
