//! A key's life, wherever records are kept.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    super::connect,
    app::{App, First, Kind, Ledger, Order, of_each_kind},
    instance::{Instance, Part},
};
use crate::servers::{Result, Servers, Topology, standalone::Server};

/// From the first request to the takeover after a killed instance, for each recovery.
pub(super) async fn a_key_lives(servers: &Servers, topology: Topology) -> Result<()> {
    let address = servers.address(topology).await?;
    let nodes = nodes(servers, topology).await?;
    let ledger = Ledger::beside(nodes[0].directory())?;
    of_each_kind(async |kind| {
        let backend = connect(address.clone()).await?;
        let app = App::new(backend.clone(), kind.rule(LEASE)?, &ledger)?;
        let part = Part::beside(&backend, address.clone(), &ledger, (kind, LEASE));
        let key = |name: &str| format!("{kind:?}-{}-{name}", backend.namespace());

        let order = Order::default();
        let first = app.order(&key("a"), order).await?;
        assert!(first.is_made() && !first.is_replay(), "{first:?}");
        let again = app.order(&key("a"), order).await?;
        assert!(again.is_replay() && again.is_same(&first), "{again:?}");
        let other = app.order(&key("a"), Order { len: 9, ..order }).await?;
        assert_eq!(other.refusal(), (422, "key-reused".to_owned()));
        assert_eq!(ledger.effects_of(&key("a"))?.len(), 1);

        for first in [First::Fails, First::IsNotExecuted] {
            let (order, key) = (Order { first, ..order }, key(&format!("{first:?}")));
            assert!(app.order(&key, order).await?.is_not_done());
            assert!(app.order(&key, order).await?.is_made());
            assert!(app.order(&key, order).await?.is_replay());
            let runs = ledger.runs_of(&key)?;
            let attempts: Vec<_> = runs.iter().map(|run| run.attempt).collect();
            let second = if first == First::Fails { 2 } else { 1 };
            assert_eq!(attempts, [1, second]);
            assert!(runs[0].fence < runs[1].fence, "{runs:?}");
        }

        takeover(&app, &ledger, &part, &key("orphan")).await?;
        every_key_ends(&nodes, backend.namespace()).await?;
        Ok(())
    })
    .await
}

/// An instance is killed in the handler, and another one gets the same request.
async fn takeover(app: &App, ledger: &Ledger, part: &Part, key: &str) -> Result<()> {
    let order = Order {
        before: 200,
        after: 200,
        ..Order::default()
    };
    let instance = Instance::start(part).await?;
    let unanswered = instance.ordering(key, order)?;
    ledger.has_begun(key, 1).await?;
    instance.kill().await?;
    assert!(unanswered.await?.is_err(), "it was killed");

    assert!(app.order(key, order).await?.is_busy(), "the lease runs");
    let answer = app.settle(key, order, LEASE).await?;
    let runs = ledger.runs_of(key)?;
    if part.kind.is_never() {
        assert!(answer.is_unknown(), "{answer:?}");
        assert_eq!(runs.len(), 1);
        sleep(LEASE).await;
        assert!(app.order(key, order).await?.is_unknown(), "it stays so");
    } else {
        assert!(answer.is_made() && !answer.is_replay(), "{answer:?}");
        let attempts: Vec<_> = runs.iter().map(|run| run.attempt).collect();
        assert_eq!(attempts, [1, 2]);
        assert!(runs[0].fence < runs[1].fence, "{runs:?}");
        assert_eq!(runs[0].downstream, runs[1].downstream);
        assert!(app.order(key, order).await?.is_same(&answer));
    }
    Ok(())
}

/// What an answer of 1 KiB takes, and that it ends.
pub(super) async fn a_stored_answer_is_as_large_as_documented(
    servers: &Servers,
    topology: Topology,
) -> Result<()> {
    let nodes = nodes(servers, topology).await?;
    let backend = connect(servers.address(topology).await?).await?;
    let ledger = Ledger::beside(nodes[0].directory())?;
    let app = App::new(backend.clone(), Kind::ReExecute.rule(LEASE)?, &ledger)?;
    let order = Order {
        len: 1_024,
        ..Order::default()
    };
    let answer = app.order("large", order).await?;
    assert_eq!(answer.body.len(), 1_024);
    let (node, key) = every_key_ends(&nodes, backend.namespace())
        .await?
        .pop()
        .ok_or("nothing is stored")?;
    let len: usize = node.call(&["STRLEN", &key]).await?.to_string().parse()?;
    let usage = node.call(&["MEMORY", "USAGE", &key]).await?.to_string();
    eprintln!("idempotency: on {topology} an answer of 1 KiB has {len} bytes and takes {usage}");
    // The version is the backend's. The answer: status, two headers, no trailers, body.
    let headers = [
        ("content-type", "text/plain; charset=utf-8"),
        ("location", "/orders/0123456789abcdef0123456789abcdef"),
    ];
    let headers = headers.map(|(name, value)| 2 + name.len() + 4 + value.len());
    let answer = 2 + 2 + headers.iter().sum::<usize>() + 1 + 1_024;
    assert_eq!(len, 8 + 77 + "orders".len() + answer);
    assert!(len <= 1_300, "{len} bytes");
    assert!(usage.parse::<usize>()? <= 1_450, "{usage} bytes");
    Ok(())
}

/// All keys of this namespace, with where they are: each is a digest, and gone after a day at the
/// latest.
async fn every_key_ends<'a>(
    nodes: &[&'a Server],
    namespace: &str,
) -> Result<Vec<(&'a Server, String)>> {
    let mut keys = Vec::new();
    for node in nodes {
        let found = node.call(&["KEYS", &format!("{namespace}:*")]).await?;
        for key in found.items() {
            let key = key.to_string();
            let digest = key.strip_prefix(&format!("{namespace}:x1:{{"));
            let digest = digest.and_then(|rest| rest.strip_suffix('}'));
            assert!(digest.is_some_and(|digest| digest.len() == 22), "{key}");
            let left = node.call(&["PTTL", &key]).await?.to_string();
            let left: i64 = left.parse()?;
            assert!((DAY - MINUTE..=DAY).contains(&left), "{key}: {left} ms");
            keys.push((*node, key));
        }
    }
    assert!(!keys.is_empty(), "nothing is stored in {namespace}");
    Ok(keys)
}

/// The servers on which keys are.
async fn nodes(servers: &Servers, topology: Topology) -> Result<Vec<&Server>> {
    Ok(match topology {
        Topology::Standalone => vec![servers.standalone().await?],
        Topology::Valkey => vec![servers.valkey().await?],
        Topology::Tls => vec![servers.tls().await?.server()],
        Topology::Cluster => servers.cluster().await?.nodes().iter().collect(),
        Topology::Sentinel => vec![servers.sentinel().await?.primary().await?],
    })
}

const LEASE: Duration = Duration::from_millis(1_500);

/// In milliseconds.
const MINUTE: i64 = 60_000;
const DAY: i64 = 24 * 60 * MINUTE;
