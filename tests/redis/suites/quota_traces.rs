//! Redis against brute force and against memory, on random calls to quotas.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use libtest_mimic::Trial;
use proptest::prelude::*;
use tokio::runtime::Handle;
use tower_stash::{
    backend::{
        Acquire, Algorithm, Amendment, Ban, DAY, HOUR, Limit, MINUTE, MemoryBackend, Quota, Quotas,
        Receipt, RedisBackend, Strikes, Take,
    },
    clock::{Clock as _, Timestamp},
    key::Key,
    testing::ManualClock,
};

use super::{
    connect,
    differential::{runner, spawned},
};
use crate::{
    quota_oracle::{self, Fixture, KINDS, agrees_with_brute_force, quota, quotas, steps},
    servers::{Result, Servers, Topology},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "quota_traces":
        Standalone::decisions_are_what_brute_force_says
        Standalone::decisions_with_bans_sizes_and_refunds_are_those_of_memory
        Standalone::decisions_are_those_of_memory_though_the_clock_steps_back
    )
}

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

/// P7, P11 on Redis.
async fn decisions_are_what_brute_force_says(servers: &Servers) -> Result<()> {
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
struct Call {
    after: Duration,
    kind: Kind,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Acquire(u64, Take),
    /// Gives back what the call this many admissions ago took; perhaps for the second time.
    Refund(usize),
    Reset,
    /// For so many units of time.
    Ban(u32),
    Unban,
    /// This limit, to this size, for so many units of time.
    Resize(usize, u64, u32),
    Restore(usize),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let take = prop_oneof![3 => Just(Take::All), 1 => Just(Take::UpTo)];
    let kind = prop_oneof![
        16 => (0..6_u64, take).prop_map(|(cost, take)| Kind::Acquire(cost, take)),
        4 => (0..4_usize).prop_map(Kind::Refund),
        1 => Just(Kind::Reset),
        1 => (1..4_u32).prop_map(Kind::Ban),
        1 => Just(Kind::Unban),
        2 => (0..3_usize, 0..40_u64, 1..4_u32).prop_map(|(limit, to, units)| Kind::Resize(limit, to, units)),
        1 => (0..3_usize).prop_map(Kind::Restore),
    ];
    let call = (0..30_000_000_u64, kind).prop_map(|(micros, kind)| Call {
        after: Duration::from_micros(micros),
        kind,
    });
    prop::collection::vec(call, 1..60)
}

/// What one trace decides on.
#[derive(Clone, Debug)]
struct Subject {
    quotas: Vec<Quota>,
    /// How many strikes ban, within how many units of time, for how many.
    ban: Option<(u32, u32, u32)>,
    resizable: bool,
}

fn subjects(windows: impl Strategy<Value = Duration>) -> impl Strategy<Value = Subject> {
    let quota = (0..KINDS, 1..=20_u64, windows, 1..=3_u32, 0..60_000_u64).prop_map(
        |(kind, limit, window, weight, detail)| {
            quota(kind, limit.max(u64::from(weight)), window, detail).with_weight(weight)
        },
    );
    let ban = prop::option::of((1..5_u32, 1..4_u32, 1..4_u32));
    (prop::collection::vec(quota, 1..=3), ban, any::<bool>()).prop_map(
        |(quotas, ban, resizable)| Subject {
            quotas,
            ban,
            resizable,
        },
    )
}

/// P21, and P16 on Redis: bans and sizes of minutes, which end during a trace.
async fn decisions_with_bans_sizes_and_refunds_are_those_of_memory(
    servers: &Servers,
) -> Result<()> {
    let windows = prop_oneof![Just(MINUTE), Just(5 * MINUTE), Just(HOUR)];
    let trace = (subjects(windows), calls()).prop_map(|(subject, calls)| (subject, calls, None));
    compare(servers, 250, 1, trace).await
}

/// P21: everything lasts for an hour or more, so that nothing ends before the clock steps back.
/// What has ended is gone in memory, and still there on a Redis whose own clock did not move.
async fn decisions_are_those_of_memory_though_the_clock_steps_back(
    servers: &Servers,
) -> Result<()> {
    let trace =
        (subjects(Just(HOUR)), calls(), step_back()).prop_map(|(mut subject, mut calls, back)| {
            for quota in &mut subject.quotas {
                *quota = slow(*quota);
            }
            // A refund may fill a token bucket, which is its end.
            if subject.quotas.iter().any(fills_up) {
                calls.retain(|call| !matches!(call.kind, Kind::Refund(_)));
            }
            (subject, calls, Some(back))
        });
    compare(servers, 250, 2, trace).await
}

/// Gains no token within the half hour that a trace takes at most, also if resized.
fn slow(quota: Quota) -> Quota {
    match quota.algorithm() {
        Algorithm::TokenBucket { burst } => Quota::token_bucket(quota.limit(), DAY)
            .with_burst(burst)
            .with_weight(quota.weight()),
        _ => quota,
    }
}

fn fills_up(quota: &Quota) -> bool {
    matches!(quota.algorithm(), Algorithm::TokenBucket { .. })
}

/// Before which call the clock steps back, and how far: within the window, to its edges, beyond.
fn step_back() -> impl Strategy<Value = (usize, Duration)> {
    let by = prop_oneof![
        (0..7_300_000_u64).prop_map(Duration::from_millis),
        prop_oneof![Just(1_u32), Just(2), Just(10), Just(60)].prop_map(|hours| hours * HOUR),
        prop_oneof![Just(1_u64), Just(3_600_001), Just(7_200_001)].prop_map(Duration::from_millis),
    ];
    (0..60_usize, by)
}

type Trace = (Subject, Vec<Call>, Option<(usize, Duration)>);

async fn compare(
    servers: &Servers,
    cases: u32,
    series: u64,
    traces: impl Strategy<Value = Trace> + Send + 'static,
) -> Result<()> {
    let clock = ManualClock::new();
    let redis = connect(servers.address(Topology::Standalone).await?)
        .await?
        .with_command_timeout(Duration::from_secs(5))
        .with_quota_clock(clock.clone());
    spawned(move || {
        let case = AtomicU64::new(series * 1_000_000);
        let compared = AtomicUsize::new(0);
        let outcome = runner(cases).run(&traces, |(subject, calls, back)| {
            let key = quota_oracle::subject(case.fetch_add(1, Ordering::Relaxed));
            compared.fetch_add(calls.len(), Ordering::Relaxed);
            tokio::task::block_in_place(|| {
                Handle::current()
                    .block_on(same_decisions(&redis, &clock, &key, &subject, &calls, back))
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
    key: &Key,
    subject: &Subject,
    calls: &[Call],
    back: Option<(usize, Duration)>,
) -> Result<(), TestCaseError> {
    // Two minutes into an hour.
    clock.set(Timestamp::from_millis((472_000 * 3_600 + 120) * 1_000));
    let memory = MemoryBackend::new().with_clock(clock.clone());
    let unit = if back.is_some() { HOUR } else { MINUTE };
    let limits = limits(&subject.quotas);
    let (after, within, lasting) = subject.ban.unwrap_or((1, 1, 1));
    let ban = Ban::after(after)
        .within(within * unit)
        .lasting(lasting * unit);
    let strikes = Strikes::new("strikes", ban).expect("a valid ban");
    let mut request = Acquire::new(key.clone(), Arc::clone(&limits));
    if subject.ban.is_some() {
        request = request.with_strikes(strikes);
    }
    if subject.resizable {
        request = request.with_resizing();
    }
    let limit = |index: usize| limits[index % limits.len()];

    let mut receipts: Vec<Receipt> = Vec::new();
    for (index, call) in calls.iter().enumerate() {
        clock.advance(call.after);
        if let Some((before, by)) = back
            && before == index
        {
            clock.set(clock.now() - by);
        }
        let amendment = match call.kind {
            Kind::Acquire(cost, take) => {
                let request = request.clone().with_cost(cost).with_take(take);
                let in_memory = memory.acquire(&request).await.expect("memory answers");
                let on_redis = redis.acquire(&request).await.expect("redis answers");
                prop_assert_eq!(&in_memory, &on_redis, "{:?}", call);
                receipts.push(on_redis.receipt(&request));
                continue;
            }
            Kind::Refund(ago) => {
                if let Some(receipt) = receipts.iter().rev().nth(ago) {
                    memory.refund(receipt).await.expect("memory answers");
                    redis.refund(receipt).await.expect("redis answers");
                }
                continue;
            }
            Kind::Reset => {
                memory.reset(key, &limits).await.expect("memory answers");
                redis.reset(key, &limits).await.expect("redis answers");
                continue;
            }
            Kind::Ban(units) => Amendment::Ban {
                strikes,
                lasting: units * unit,
            },
            Kind::Unban => Amendment::Unban { strikes },
            Kind::Resize(index, to, units) => Amendment::Resize {
                limit: limit(index),
                to,
                lasting: units * unit,
            },
            Kind::Restore(index) => Amendment::Restore {
                limit: limit(index),
            },
        };
        memory.amend(key, &amendment).await.expect("memory answers");
        redis.amend(key, &amendment).await.expect("redis answers");
    }
    Ok(())
}

fn limits(quotas: &[Quota]) -> Arc<[Limit]> {
    let named = ["a", "b", "c"].into_iter().zip(quotas);
    named
        .map(|(name, quota)| Limit::new(name, *quota).expect("a valid limit"))
        .collect()
}
