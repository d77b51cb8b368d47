//! What an outage must not leave behind: silent connections, leaked ones, false
//! words about what was applied.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use libtest_mimic::Trial;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_stash::{
    backend::{
        Acquire, BackendError, Broadcast as _, GetOptions, KeyValue as _, Limit, PutOptions, Quota,
        Quotas, RedisBackend, RedisConfig, Signal, Timeout,
    },
    key::{Key, KeyParts},
};

use super::connect;
use crate::{
    servers::{
        Result, Servers, Topology,
        cluster::Cluster,
        eventually,
        proxy::{Network, Proxy},
        standalone::Server,
        timed,
    },
    trial::{Bed, namespace, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "healing":
        Cluster::an_error_of_another_call_does_not_say_that_this_one_was_not_applied
        Standalone::a_silent_connection_is_replaced
        Standalone::a_silent_connection_is_replaced_though_callers_give_up_first
        Cluster::a_silent_connection_to_one_node_is_replaced
        Cluster::a_silent_connection_to_one_node_is_replaced_though_callers_give_up_first
        Cluster::a_node_that_hangs_leaves_the_others_served
        Standalone::late_answers_cost_no_connection
        Standalone::a_dropped_connect_leaves_no_connection
        Standalone::a_dropped_subscribe_leaves_no_connection
        Standalone::thousands_subscribe_at_once
        Cluster::a_seed_that_hangs_costs_a_part_of_the_connect_time_out
        Sentinel::a_sentinel_that_hangs_costs_a_part_of_the_connect_time_out
        Standalone::futures_of_calls_are_small
    )
}

fn key(name: &str) -> Key {
    Key::custom("healing", &KeyParts::new().with(name))
}

/// One hit for a subject.
fn hit(subject: &str) -> Acquire {
    let quota = Quota::fixed(1_000_000, Duration::from_secs(3_600));
    Acquire::new(
        key(subject),
        [Limit::new("healing", quota).expect("a valid limit")],
    )
}

/// How many hits of a subject were counted.
async fn counted(backend: &RedisBackend, subject: &str) -> Result<u64> {
    let seen = backend.acquire(&hit(subject).with_cost(0)).await?;
    Ok(1_000_000 - seen.limits[0].remaining)
}

/// What one subject's calls were told.
#[derive(Debug, Default)]
struct Told {
    applied: AtomicU64,
    perhaps: AtomicU64,
}

impl Told {
    fn count(&self, result: Result<(), BackendError>) {
        match result {
            Ok(()) => self.applied.fetch_add(1, Ordering::Relaxed),
            Err(error) if error.may_have_applied() => self.perhaps.fetch_add(1, Ordering::Relaxed),
            Err(_) => 0,
        };
    }
}

async fn an_error_of_another_call_does_not_say_that_this_one_was_not_applied(
    _: &Servers,
) -> Result<()> {
    const SUBJECTS: usize = 60;
    let cluster = Cluster::start().await?;
    for node in cluster.nodes() {
        let partial = ["CONFIG", "SET", "cluster-require-full-coverage", "no"];
        node.call(&partial).await?;
    }
    let backend = connect(cluster.url().into()).await?;
    let direct = connect(cluster.url().into())
        .await?
        .with_namespace(backend.namespace())?;
    // One slot that no node serves closes the connection with every call for it.
    backend.acquire(&hit("victim")).await?;
    for node in cluster.nodes() {
        for victim in node.call(&["KEYS", "*"]).await?.items() {
            let victim = victim.to_string();
            let slot = node
                .call(&["CLUSTER", "KEYSLOT", &victim])
                .await?
                .to_string();
            node.call(&["CLUSTER", "DELSLOTS", &slot]).await?;
        }
    }

    let done = Arc::new(AtomicBool::new(false));
    let told: Vec<Arc<Told>> = (0..SUBJECTS).map(|_| Arc::default()).collect();
    let mut hits = JoinSet::new();
    for (subject, told) in told.iter().enumerate() {
        let (backend, told, done) = (backend.clone(), Arc::clone(told), Arc::clone(&done));
        hits.spawn(async move {
            while !done.load(Ordering::Relaxed) {
                let result = backend.acquire(&hit(&format!("subject {subject}"))).await;
                let failed = result.is_err();
                told.count(result.map(drop));
                if failed {
                    sleep(Duration::from_millis(2)).await;
                }
            }
        });
    }
    for _ in 0..100 {
        assert!(backend.acquire(&hit("victim")).await.is_err());
        sleep(Duration::from_millis(20)).await;
    }
    done.store(true, Ordering::Relaxed);
    hits.join_all().await;

    for (subject, told) in told.iter().enumerate() {
        let subject = format!("subject {subject}");
        let mut count = 0;
        eventually("the subject can be counted", async || {
            count = counted(&direct, &subject).await?;
            Ok(true)
        })
        .await?;
        let applied = told.applied.load(Ordering::Relaxed);
        let perhaps = told.perhaps.load(Ordering::Relaxed);
        assert!(
            (applied..=applied + perhaps).contains(&count),
            "{subject}: {applied} answered <= {count} applied <= {applied} + {perhaps}"
        );
    }
    Ok(())
}

/// Stalls a connection under load, and waits until every subject is served again.
async fn heals(backend: impl Quotas + Clone, proxy: &Proxy) -> Result<()> {
    let subjects: Vec<String> = (0..30).map(|n| format!("subject {n}")).collect();
    for subject in &subjects {
        backend.acquire(&hit(subject)).await?;
    }
    proxy.set(Network::Stalls);
    let (healed, time) = timed(eventually("all subjects are served", async || {
        let mut calls = JoinSet::new();
        for subject in subjects.clone() {
            let backend = backend.clone();
            calls.spawn(async move { backend.acquire(&hit(&subject)).await.map(drop) });
        }
        Ok(calls.join_all().await.iter().all(Result::is_ok))
    }))
    .await;
    healed?;
    assert!(time < Duration::from_secs(5), "it took {time:?}");
    Ok(())
}

/// Less than the backend's own time-out, so that calls are dropped before it.
const IMPATIENCE: Duration = Duration::from_millis(100);

async fn a_silent_connection_is_replaced(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    heals(connect(proxy.url().into()).await?, &proxy).await
}

async fn a_silent_connection_is_replaced_though_callers_give_up_first(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let backend = connect(proxy.url().into()).await?;
    heals(Timeout::new(backend, IMPATIENCE), &proxy).await
}

async fn a_silent_connection_to_one_node_is_replaced(_: &Servers) -> Result<()> {
    let (_cluster, proxies) = Cluster::start_behind_proxies().await?;
    let url = format!("redis-cluster://127.0.0.1:{}", proxies[0].port());
    heals(connect(url.into()).await?, &proxies[1]).await
}

async fn a_silent_connection_to_one_node_is_replaced_though_callers_give_up_first(
    _: &Servers,
) -> Result<()> {
    let (_cluster, proxies) = Cluster::start_behind_proxies().await?;
    let url = format!("redis-cluster://127.0.0.1:{}", proxies[0].port());
    let backend = Timeout::new(connect(url.into()).await?, IMPATIENCE);
    heals(backend, &proxies[1]).await
}

async fn a_node_that_hangs_leaves_the_others_served(_: &Servers) -> Result<()> {
    let cluster = Cluster::start().await?;
    let backend = connect(cluster.url().into()).await?;
    for subject in 0..30 {
        backend.acquire(&hit(&subject.to_string())).await?;
    }
    let [hanging, others @ ..] = cluster.nodes();
    let mut served = Vec::new();
    for node in others {
        for name in node.call(&["KEYS", "*"]).await?.items() {
            let name = name.to_string();
            served.extend((0..30).filter(|subject| {
                name.contains(&format!("{}:", key(&subject.to_string()).as_str()))
            }));
        }
    }
    assert!(
        served.len() > 10,
        "{} of 30 are on the others",
        served.len()
    );
    hanging.pause()?;
    let watched = async {
        for _ in 0..30 {
            let mut calls = JoinSet::new();
            for subject in 0..30 {
                let backend = backend.clone();
                let is_served = served.contains(&subject);
                calls.spawn(async move {
                    let result = backend.acquire(&hit(&subject.to_string())).await;
                    assert!(!is_served || result.is_ok(), "{subject}: {result:?}");
                });
            }
            while let Some(call) = calls.join_next().await {
                call?;
            }
        }
        Ok(())
    };
    let outcome = watched.await;
    hanging.resume()?;
    outcome
}

async fn late_answers_cost_no_connection(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let backend = connect(proxy.url().into()).await?;
    backend.acquire(&hit("subject")).await?;
    // Each look is a connection of its own.
    let before = server.connections_ever().await?;
    proxy.set(Network::DelaysReplies(Duration::from_millis(350)));
    for _ in 0..12 {
        assert!(backend.acquire(&hit("subject")).await.is_err());
        sleep(Duration::from_millis(150)).await;
    }
    proxy.set(Network::Passes);
    eventually("calls succeed again", async || {
        backend.acquire(&hit("subject")).await?;
        Ok(true)
    })
    .await?;
    let ever = server.connections_ever().await?;
    assert_eq!(ever, before + 1, "the PING was answered, if late");
    Ok(())
}

async fn a_dropped_connect_leaves_no_connection(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.pause()?;
    for _ in 0..3 {
        let connecting = timeout(Duration::from_millis(200), connect(server.url().into()));
        assert!(connecting.await.is_err());
    }
    server.resume()?;
    eventually("no connection is left", async || {
        Ok(server.connections().await? == 0)
    })
    .await
}

async fn a_dropped_subscribe_leaves_no_connection(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.pause()?;
    for _ in 0..3 {
        let config = RedisConfig::new(&server.url())?.with_lazy_connect();
        let backend = RedisBackend::connect(config).await?;
        let subscribing = timeout(IMPATIENCE, backend.subscribe(&key("channel"))).await;
        assert!(subscribing.is_err());
    }
    server.resume()?;
    eventually("no connection is left", async || {
        Ok(server.connections().await? == 0)
    })
    .await
}

async fn thousands_subscribe_at_once(_: &Servers) -> Result<()> {
    const CHANNELS: usize = 5_000;
    let server = Server::start().await?;
    let backend = connect(server.url().into())
        .await?
        .with_command_timeout(Duration::from_secs(5));
    let channel = |number: usize| key(&format!("channel {number}"));
    let first = backend.subscribe(&key("first")).await?;
    let mut joining = JoinSet::new();
    for number in 0..CHANNELS {
        let backend = backend.clone();
        joining.spawn(async move { (number, backend.subscribe(&channel(number)).await) });
    }
    let mut subscriptions = Vec::new();
    while let Some(joined) = joining.join_next().await {
        let (number, subscription) = joined?;
        subscriptions.push((number, subscription?));
    }
    for (number, subscription) in &mut subscriptions[..10] {
        backend
            .publish(&channel(*number), Bytes::from("message"))
            .await?;
        let signal = timeout(Duration::from_secs(1), subscription.next()).await?;
        assert_eq!(signal, Some(Signal::Message(Bytes::from("message"))));
    }
    drop(subscriptions);
    eventually("only the first channel is left", async || {
        let channels = server.call(&["PUBSUB", "CHANNELS"]).await?;
        Ok(channels.items().len() == 1)
    })
    .await?;
    drop(first);
    Ok(())
}

/// A port that answers no attempt to connect: what the listener holds is full.
async fn full_port() -> Result<(TcpListener, Vec<TcpStream>)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(1)?;
    let address = listener.local_addr()?;
    let mut held = Vec::new();
    while let Ok(connected) = timeout(IMPATIENCE, TcpStream::connect(address)).await {
        held.push(connected?);
        assert!(held.len() < 16, "the listener is never full");
    }
    Ok((listener, held))
}

async fn a_seed_that_hangs_costs_a_part_of_the_connect_time_out(servers: &Servers) -> Result<()> {
    connects_past_a_full_port(&servers.address(Topology::Cluster).await?.url).await
}

async fn a_sentinel_that_hangs_costs_a_part_of_the_connect_time_out(
    servers: &Servers,
) -> Result<()> {
    connects_past_a_full_port(&servers.address(Topology::Sentinel).await?.url).await
}

/// The server that hangs is named first and last, since clients differ in where they begin.
async fn connects_past_a_full_port(url: &str) -> Result<()> {
    let (full, _held) = full_port().await?;
    let full = full.local_addr()?;
    let (scheme, rest) = url.split_once("://").ok_or("the URL has no scheme")?;
    let (host, query) = rest.split_once('?').ok_or("the URL has no query")?;
    let url = format!("{scheme}://{full}?node={full}&node={host}&{query}");
    connect(url.into()).await?.ping().await?;
    Ok(())
}

async fn futures_of_calls_are_small(servers: &Servers) -> Result<()> {
    let config = RedisConfig::new(&servers.address(Topology::Standalone).await?.url)?;
    let backend = RedisBackend::connect(config.with_namespace(namespace())).await?;
    let (hit, record) = (hit("subject"), key("record"));
    let minute = Duration::from_secs(60);
    for (call, size) in [
        ("acquire", size_of_val(&backend.acquire(&hit))),
        ("get", size_of_val(&backend.get(&record, GetOptions::new()))),
        (
            "get with expiry",
            size_of_val(&backend.get(&record, GetOptions::new().with_expiry())),
        ),
        (
            "put",
            size_of_val(&backend.put(&record, Bytes::new(), PutOptions::new(minute))),
        ),
        (
            "publish",
            size_of_val(&backend.publish(&record, Bytes::new())),
        ),
    ] {
        eprintln!("healing: the future of {call} has {size} bytes");
        assert!(size < 4_096, "the future of {call} has {size} bytes");
    }
    Ok(())
}
