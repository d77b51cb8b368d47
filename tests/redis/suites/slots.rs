//! Slots on Redis: what they leave behind, how they compare with those in
//! memory, and who gets them.

use std::{
    convert::Infallible,
    env,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use http::{Request, StatusCode};
use libtest_mimic::Trial;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    runtime::Handle,
    task::JoinSet,
    time::timeout,
};
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::{MemoryBackend, RedisBackend, SlotId, SlotLimit, Slots},
    clock::{Clock as _, Timestamp},
    concurrency_limit::{ConcurrencyLimitLayer, ConcurrencyLimitRule, Outage},
    key::{Key, KeyParts},
    policy::{KeyExtractor as _, header},
    testing::ManualClock,
};

use super::{connect, scripts_are_loaded};
use crate::{
    servers::{Result, Servers, Topology, eventually, standalone::Server},
    stress::stressed,
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "slots":
        Standalone::every_call_is_one_command
        Standalone::a_call_that_finds_all_slots_held_writes_nothing
        Standalone::slots_have_a_time_to_live_and_leave_nothing_when_they_are_released
        Standalone::slots_that_ran_out_are_removed_with_the_next_hold_or_renewal
        Standalone::a_forgotten_script_costs_one_more_command_and_holds_once
        Standalone::slots_are_what_they_are_in_memory
        Standalone::slots_are_what_they_are_in_memory_though_the_clock_steps_back
        Standalone::two_clients_run_exactly_the_limit_at_once_and_never_more
        Standalone::what_a_killed_process_held_is_free_after_its_lease
    )
}

// === What is sent and stored ===

/// A server of its own, so that only this backend's commands are counted.
async fn own() -> Result<(Server, RedisBackend)> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    scripts_are_loaded(&server).await?;
    Ok((server, backend))
}

fn subject(case: u64) -> Key {
    Key::custom("slots", &KeyParts::new().with(case))
}

fn slot(n: u64) -> SlotId {
    SlotId::from_u128(n.into())
}

async fn commands(server: &Server, call: impl Future<Output = Result<()>>) -> Result<Vec<String>> {
    let sent = server.commands_during(call).await?;
    Ok(sent.into_iter().map(|sent| sent.name).collect())
}

async fn every_call_is_one_command(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let limit = SlotLimit::new("limit", 2, LEASE)?;
    for n in 1..=3 {
        let sent = commands(&server, async {
            let hold = backend.hold(&subject(0), &limit, slot(n)).await?;
            assert_eq!(hold.is_held(), n <= 2);
            Ok(())
        });
        assert_eq!(sent.await?, ["evalsha"]);
    }
    let slots: Vec<_> = (1..=500).map(slot).collect();
    let sent = commands(&server, async {
        backend.renew(&subject(0), &limit, &slots).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        Ok(backend.release(&subject(0), &limit, slot(1)).await?)
    });
    assert_eq!(sent.await?, ["zrem"]);
    Ok(())
}

async fn a_call_that_finds_all_slots_held_writes_nothing(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let limit = SlotLimit::new("limit", 2, LEASE)?;
    for n in 1..=2 {
        backend.hold(&subject(0), &limit, slot(n)).await?;
    }
    server.call(&["CONFIG", "RESETSTAT"]).await?;
    backend.hold(&subject(0), &limit, slot(3)).await?;
    backend.renew(&subject(0), &limit, &[slot(3)]).await?;
    let mut ran: Vec<_> = server.commandstats().await?.into_keys().collect();
    ran.retain(|name| !["config|resetstat", "info", "ping"].contains(&&**name));
    assert_eq!(ran, ["evalsha", "time", "zcount", "zscore"]);
    Ok(())
}

async fn slots_have_a_time_to_live_and_leave_nothing_when_they_are_released(
    _: &Servers,
) -> Result<()> {
    let (server, backend) = own().await?;
    let limit = SlotLimit::new("limit", 2, LEASE)?;
    backend.hold(&subject(0), &limit, slot(1)).await?;
    let keys = server.call(&["KEYS", "*"]).await?;
    let key = keys.items()[0].to_string();
    assert!(key.contains("}:s60000."), "{key}");
    for renews in [false, true] {
        if renews {
            server.call(&["PEXPIRE", &key, "1000"]).await?;
            backend.renew(&subject(0), &limit, &[slot(1)]).await?;
        }
        let left: u64 = server.call(&["PTTL", &key]).await?.to_string().parse()?;
        assert!((119_000..=121_000).contains(&left), "{left} ms");
    }
    backend.release(&subject(0), &limit, slot(1)).await?;
    assert_eq!(server.call(&["DBSIZE"]).await?.to_string(), "0");
    Ok(())
}

async fn slots_that_ran_out_are_removed_with_the_next_hold_or_renewal(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let clock = ManualClock::new();
    let backend = backend.with_quota_clock(clock.clone());
    let limit = SlotLimit::new("limit", 9, LEASE)?;
    for renews in [false, true] {
        backend.hold(&subject(0), &limit, slot(1)).await?;
        backend.hold(&subject(0), &limit, slot(2)).await?;
        clock.advance(LEASE / 2);
        backend.renew(&subject(0), &limit, &[slot(1)]).await?;
        clock.advance(LEASE / 2);
        if renews {
            backend.renew(&subject(0), &limit, &[slot(1)]).await?;
        } else {
            backend.hold(&subject(0), &limit, slot(1)).await?;
        }
        let keys = server.call(&["KEYS", "*"]).await?;
        let key = keys.items()[0].to_string();
        let stored = server.call(&["ZCARD", &key]).await?.to_string();
        assert_eq!(stored, "1", "renews: {renews}");
    }
    Ok(())
}

async fn a_forgotten_script_costs_one_more_command_and_holds_once(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let limit = SlotLimit::new("limit", 1, LEASE)?;
    server.call(&["SCRIPT", "FLUSH"]).await?;
    let sent = commands(&server, async {
        let hold = backend.hold(&subject(0), &limit, slot(1)).await?;
        assert!(hold.is_held());
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha", "eval"]);
    Ok(())
}

// === Compared with memory ===

/// A call, some time after the one before, to the slots of one of two names.
#[derive(Clone, Debug)]
struct Call {
    after: Duration,
    name: usize,
    kind: CallKind,
}

#[derive(Clone, Debug)]
enum CallKind {
    Hold { slot: u64, limit: u64 },
    Renew(Vec<u64>),
    Release(u64),
}

fn calls(apart: impl Strategy<Value = Duration>) -> impl Strategy<Value = Vec<Call>> {
    let slot = || 0..8_u64;
    let kind = prop_oneof![
        6 => (slot(), 1..=4_u64).prop_map(|(slot, limit)| CallKind::Hold { slot, limit }),
        3 => prop::collection::vec(slot(), 0..6).prop_map(CallKind::Renew),
        2 => slot().prop_map(CallKind::Release),
    ];
    let call = (apart, 0..2_usize, kind).prop_map(|(after, name, kind)| Call { after, name, kind });
    prop::collection::vec(call, 1..60)
}

async fn slots_are_what_they_are_in_memory(servers: &Servers) -> Result<()> {
    let apart = prop_oneof![
        3 => Just(Duration::ZERO),
        3 => Just(LEASE / 2),
        3 => (0..30_000_000_u64).prop_map(Duration::from_micros),
        1 => around(LEASE),
    ];
    let no_step = Just((usize::MAX, Duration::ZERO));
    compared_with_memory(servers, LEASE, (calls(apart), no_step)).await
}

/// Leases of an hour, so that nothing ends before the clock steps back: what has ended is gone in
/// memory, and still there on a Redis whose own clock did not move.
async fn slots_are_what_they_are_in_memory_though_the_clock_steps_back(
    servers: &Servers,
) -> Result<()> {
    let lease = Duration::from_secs(3_600);
    let back = prop_oneof![(0..11_000_u64).prop_map(Duration::from_secs), around(lease),];
    let apart = prop_oneof![
        3 => Just(Duration::ZERO),
        1 => (0..30_000_000_u64).prop_map(Duration::from_micros),
    ];
    let step = (0..20_usize, back);
    compared_with_memory(servers, lease, (calls(apart), step)).await
}

/// This long, or a microsecond less or more.
fn around(time: Duration) -> impl Strategy<Value = Duration> {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    (micros - 1..=micros + 1).prop_map(Duration::from_micros)
}

async fn compared_with_memory(
    servers: &Servers,
    lease: Duration,
    strategy: impl Strategy<Value = (Vec<Call>, (usize, Duration))> + Send + 'static,
) -> Result<()> {
    let clock = ManualClock::new();
    let redis = connect(servers.address(Topology::Standalone).await?)
        .await?
        .with_command_timeout(Duration::from_secs(5))
        .with_quota_clock(clock.clone());
    // Proptest is not async: it runs on a thread of its own, inside the runtime.
    let test = async move {
        let case = AtomicU64::new(0);
        let config = Config {
            cases: stressed(200),
            failure_persistence: None,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&strategy, |(calls, back)| {
            let subject = subject(case.fetch_add(1, Ordering::Relaxed));
            let same = same_answers(&redis, &clock, &subject, lease, &calls, back);
            tokio::task::block_in_place(|| Handle::current().block_on(same))
        });
        outcome.map_err(|error| error.to_string())
    };
    Ok(tokio::spawn(test).await??)
}

async fn same_answers(
    redis: &RedisBackend,
    clock: &ManualClock,
    subject: &Key,
    lease: Duration,
    calls: &[Call],
    (back_before, back): (usize, Duration),
) -> Result<(), TestCaseError> {
    clock.set(Timestamp::from_millis(1_767_225_600_000));
    let memory = MemoryBackend::new().with_clock(clock.clone());
    for (index, call) in calls.iter().enumerate() {
        clock.advance(call.after);
        if index == back_before {
            clock.set(clock.now() - back);
        }
        let in_memory = answer(&memory, subject, lease, call).await;
        let on_redis = answer(redis, subject, lease, call).await;
        prop_assert_eq!(in_memory, on_redis, "{:?}", call);
    }
    Ok(())
}

async fn answer(backend: &impl Slots, subject: &Key, lease: Duration, call: &Call) -> String {
    let of = |limit| SlotLimit::new(["a", "b"][call.name], limit, lease).expect("a valid limit");
    match &call.kind {
        CallKind::Hold { slot: n, limit } => {
            let hold = backend.hold(subject, &of(*limit), slot(*n)).await;
            format!("{:?}", hold.expect("hold answers"))
        }
        CallKind::Renew(slots) => {
            let slots: Vec<_> = slots.iter().copied().map(slot).collect();
            let renewed = backend.renew(subject, &of(1), &slots).await;
            format!("{:?}", renewed.expect("renew answers"))
        }
        CallKind::Release(n) => {
            let released = backend.release(subject, &of(1), slot(*n)).await;
            format!("{:?}", released.expect("release answers"))
        }
    }
}

// === Through the layer ===

fn layer(backend: RedisBackend, limit: u64) -> Result<ConcurrencyLimitLayer> {
    let rule = ConcurrencyLimitRule::new("api", header("x-key").or_shared(), limit)?
        .with_lease(SHORT_LEASE)?
        .with_outage(Outage::Deny);
    Ok(ConcurrencyLimitLayer::new(backend, rule)?)
}

/// How many requests run, and how many did at once.
#[derive(Debug, Default)]
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
}

/// Sends a request that takes so long, and gives the status of its answer.
async fn run(layer: &ConcurrencyLimitLayer, gauge: &Arc<Gauge>, time: Duration) -> StatusCode {
    let gauge = Arc::clone(gauge);
    let service = layer.layer(service_fn(move |_: Request<Body>| {
        let gauge = Arc::clone(&gauge);
        async move {
            let running = gauge.running.fetch_add(1, Ordering::SeqCst) + 1;
            gauge.most.fetch_max(running, Ordering::SeqCst);
            tokio::time::sleep(time).await;
            gauge.running.fetch_sub(1, Ordering::SeqCst);
            Ok::<_, Infallible>(http::Response::new(Body::from("done")))
        }
    }));
    let Ok(answer) = service.oneshot(Request::new(Body::empty())).await;
    answer.status()
}

/// Two clients with connections of their own, as two processes have.
async fn two_clients_run_exactly_the_limit_at_once_and_never_more(_: &Servers) -> Result<()> {
    const LIMIT: usize = 7;
    let server = Server::start().await?;
    let patience = Duration::from_secs(5);
    let first = connect(server.url().into()).await?;
    let second = connect(server.url().into())
        .await?
        .with_namespace(first.namespace())?;
    let layers = [first, second].map(|backend| {
        let backend = backend.with_command_timeout(patience);
        layer(backend, LIMIT as u64)
    });
    let gauge = Arc::<Gauge>::default();
    let mut tasks = JoinSet::new();
    for (task, layer) in (0..32).zip(layers.iter().cycle()) {
        let layer = layer.as_ref().map_err(ToString::to_string)?.clone();
        let gauge = Arc::clone(&gauge);
        tasks.spawn(async move {
            let mut admitted = 0;
            for request in 0..40_u64 {
                let time = Duration::from_millis((task + request) % 5);
                match run(&layer, &gauge, time).await {
                    StatusCode::OK => admitted += 1,
                    StatusCode::TOO_MANY_REQUESTS => tokio::task::yield_now().await,
                    status => return Err(format!("{status}")),
                }
            }
            Ok(admitted)
        });
    }
    let mut admitted = 0;
    while let Some(task) = tasks.join_next().await {
        admitted += task??;
    }
    assert_eq!(gauge.most.load(Ordering::SeqCst), LIMIT, "at once");
    assert!(admitted >= 40, "{admitted} requests ran");
    let released = eventually("all slots are released", async || {
        let keys: u64 = server.call(&["DBSIZE"]).await?.to_string().parse()?;
        Ok(keys == 0)
    });
    timeout(SHORT_LEASE, released).await?
}

async fn what_a_killed_process_held_is_free_after_its_lease(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    let address = format!("{} {}", server.url(), backend.namespace());
    let mut holder = Command::new(env::current_exe()?)
        .env(HOLDER, address)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let said = holder.stdout.take().ok_or("no pipe")?;
    let first = BufReader::new(said).lines().next_line().await?;
    assert_eq!(first.as_deref(), Some("holding"));

    let layer = layer(backend, HELD)?;
    let gauge = Arc::default();
    let instant = Duration::ZERO;
    // It lives, so its slots are renewed, beyond their first lease.
    for _ in 0..15 {
        tokio::time::sleep(SHORT_LEASE / 10).await;
        let status = run(&layer, &gauge, instant).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
    holder.kill().await?;
    let status = run(&layer, &gauge, instant).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "as nobody knows yet");
    let freed = eventually("its slots are free", async || {
        Ok(run(&layer, &gauge, instant).await == StatusCode::OK)
    });
    timeout(SHORT_LEASE * 3 / 2, freed).await?
}

/// If this process was started to hold all slots until it is killed, does that; it ends with
/// the one that started it.
pub(crate) fn hold_if_asked() {
    let Ok(address) = env::var(HOLDER) else {
        return;
    };
    let (url, namespace) = address.split_once(' ').expect("a URL and a namespace");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let backend = RedisBackend::connect(url).await.expect("a connection");
        let backend = backend.with_namespace(namespace).expect("a namespace");
        let layer = layer(backend, HELD).expect("a layer");
        let service = layer.layer(service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(http::Response::new(Body::from("unread")))
        }));
        let mut answers = Vec::new();
        for _ in 0..HELD {
            let Ok(answer) = service.clone().oneshot(Request::new(Body::empty())).await;
            assert_eq!(answer.status(), StatusCode::OK);
            answers.push(answer);
        }
        println!("holding");
        // Nothing comes but the end, however the other process ends.
        tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink())
            .await
            .expect("an end");
        std::process::exit(0);
    });
}

/// The variable that makes this program hold slots instead of running tests.
const HOLDER: &str = "TOWER_STASH_TEST_HOLDER";

/// How many slots it holds.
const HELD: u64 = 3;

const LEASE: Duration = Duration::from_secs(60);
const SHORT_LEASE: Duration = Duration::from_secs(2);
