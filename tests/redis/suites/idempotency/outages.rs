//! Servers that forget, hang, are full or die while handlers run.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::{task::JoinHandle, time::sleep};
use tower_stash::{backend::RedisBackend, idempotency::IdempotencyRule};

use super::{
    super::{connect, scripts_are_loaded},
    app::{Answer, App, First, GRACE, Kind, Ledger, Order, of_each_kind, waiting},
};
use crate::servers::{
    Address, Result, Servers, cluster::Cluster, eventually, sentinel::Sentinel, standalone::Server,
    timed,
};

/// Two applications with connections of their own, and what is in their ledger.
struct Pair {
    one: App,
    other: App,
    ledger: Ledger,
    backend: RedisBackend,
}

impl Pair {
    async fn new(address: Address, rule: IdempotencyRule, beside: &Server) -> Result<Self> {
        let backend = connect(address.clone()).await?;
        let second = connect(address)
            .await?
            .with_namespace(backend.namespace())?;
        let ledger = Ledger::beside(beside.directory())?;
        Ok(Self {
            one: App::new(backend.clone(), rule.clone(), &ledger)?,
            other: App::new(second, rule, &ledger)?,
            ledger,
            backend,
        })
    }

    /// On a server alone.
    async fn on(server: &Server, kind: Kind) -> Result<Self> {
        let pair = Self::new(server.url().into(), kind.rule(LEASE)?, server).await?;
        scripts_are_loaded(server).await?;
        Ok(pair)
    }

    /// Sends an order to the first one, and waits until its handler runs.
    async fn begin(&self, key: &str, order: Order) -> Result<JoinHandle<Result<Answer>>> {
        let (app, key) = (self.one.clone(), key.to_owned());
        let answer = tokio::spawn({
            let key = key.clone();
            async move { app.order(&key, order).await }
        });
        self.ledger.has_begun(&key, 1).await?;
        Ok(answer)
    }

    /// The order was made once, everybody gets this answer to it.
    async fn is_made_once(&self, key: &str, order: Order, answer: &Answer) -> Result<()> {
        assert!(answer.is_made() && !answer.is_unrecorded(), "{answer:?}");
        for app in [&self.one, &self.other] {
            let again = app.settle(key, order, LEASE).await?;
            assert!(again.is_replay() && again.is_same(answer), "{again:?}");
        }
        assert_eq!(self.ledger.runs_of(key)?.len(), 1);
        Ok(())
    }

    async fn is_refused(&self, key: &str, order: Order) -> Result<()> {
        let (answer, time) = timed(self.other.order(key, order)).await;
        let answer = answer?;
        assert!(answer.is_unavailable(), "{key}: {answer:?}");
        assert!(answer.header("retry-after").is_some());
        assert!(time < Duration::from_millis(600) + GRACE, "{time:?}");
        Ok(())
    }

    /// The key of the only record.
    async fn record(&self, node: &Server) -> Result<String> {
        let pattern = format!("{}:x1:*", self.backend.namespace());
        let keys = node.call(&["KEYS", &pattern]).await?;
        Ok(keys.items().first().ok_or("nothing is stored")?.to_string())
    }
}

// === Scripts that are forgotten ===

pub(super) async fn a_forgotten_script_costs_no_request_anything(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let pair = Pair::on(&server, Kind::Withhold).await?;
    let pair = &pair;
    let orders = try_join_all((0..8).map(|caller| async move {
        for n in 0..30 {
            let key = format!("{caller}-{n}");
            let first = pair.one.order(&key, Order::default()).await?;
            pair.is_made_once(&key, Order::default(), &first).await?;
        }
        Result::<()>::Ok(())
    }));
    let flushes = async {
        loop {
            server.call(&["SCRIPT", "FLUSH"]).await?;
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        made = orders => drop(made?),
        failed = flushes => return failed,
    }
    let whole = server.commandstats().await?.get("eval").copied();
    assert!(whole > Some(0), "no script was missing");
    Ok(())
}

// === Restarts without data ===

pub(super) async fn an_owner_puts_back_what_a_restart_has_lost(_: &Servers) -> Result<()> {
    of_each_kind(async |kind| {
        let server = Server::start().await?;
        let pair = Pair::on(&server, kind).await?;
        let order = Order::taking(Duration::from_millis(1_500));
        let first = pair.begin("a", order).await?;
        server.kill()?;
        server.restart().await?;
        assert_eq!(server.call(&["DBSIZE"]).await?.to_string(), "0");
        pair.is_made_once("a", order, &first.await??).await?;
        Ok(())
    })
    .await
}

pub(super) async fn who_loses_a_claim_in_a_restart_gets_the_answer_of_who_has_it(
    _: &Servers,
) -> Result<()> {
    let server = Server::start().await?;
    // Nothing is renewed before the other one has claimed.
    let rule = waiting(Kind::ReExecute.rule(Duration::from_secs(15))?);
    let pair = Pair::new(server.url().into(), rule.clone(), &server).await?;
    let order = Order::taking(Duration::from_millis(2_500));
    let first = pair.begin("a", order).await?;
    server.kill()?;
    server.restart().await?;
    let fresh = connect(server.url().into()).await?;
    let fresh = fresh.with_namespace(pair.backend.namespace())?;
    let other = App::new(fresh, rule, &pair.ledger)?;
    let second = other.order("a", order).await?;
    assert!(second.is_made() && !second.is_replay(), "{second:?}");
    let first = first.await??;
    assert!(first.is_replay() && first.is_same(&second), "{first:?}");
    let runs = pair.ledger.runs_of("a")?;
    assert_eq!(runs.len(), 2, "a lost claim is a second run");
    assert!(runs[0].fence < runs[1].fence, "{runs:?}");
    assert_eq!(runs[0].downstream, runs[1].downstream);
    Ok(())
}

pub(super) async fn a_lost_answer_is_another_run_with_a_larger_fence(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let pair = Pair::on(&server, Kind::ReExecute).await?;
    pair.one.order("a", Order::default()).await?;
    server.kill()?;
    server.restart().await?;
    let again = pair.other.settle("a", Order::default(), LEASE).await?;
    assert!(again.is_made() && !again.is_replay(), "{again:?}");
    runs_again_with_a_larger_fence(&pair.ledger, "a")
}

fn runs_again_with_a_larger_fence(ledger: &Ledger, key: &str) -> Result<()> {
    let runs = ledger.runs_of(key)?;
    let [first, second] = &runs[..] else {
        return Err(format!("not two runs: {runs:?}").into());
    };
    assert!(first.fence < second.fence, "{runs:?}");
    assert_eq!((first.attempt, second.attempt), (1, 1), "nobody knows");
    assert_eq!(first.downstream, second.downstream);
    Ok(())
}

// === Failovers that lose writes ===

pub(super) async fn an_owner_puts_back_what_a_failover_has_lost(_: &Servers) -> Result<()> {
    let sentinel = Sentinel::start().await?;
    let before = sentinel.primary().await?;
    let pair = Pair::new(sentinel.url().into(), Kind::Withhold.rule(LONG)?, before).await?;
    let order = Order::taking(Duration::from_secs(4));
    let mut first = None;
    let missed = async {
        first = Some(pair.begin("a", order).await?);
        Ok(())
    };
    sentinel.kill_primary_after(missed).await?;
    let answer = first.ok_or("nothing was begun")?.await??;
    pair.is_made_once("a", order, &answer).await
}

pub(super) async fn an_answer_that_a_failover_has_lost_is_another_run(_: &Servers) -> Result<()> {
    let sentinel = Sentinel::start().await?;
    let before = sentinel.primary().await?;
    let pair = Pair::new(sentinel.url().into(), Kind::ReExecute.rule(LONG)?, before).await?;
    let kept = pair.one.order("kept", Order::default()).await?;
    before.call(&["WAIT", "1", "1000"]).await?;
    let missed = async {
        assert!(pair.one.order("a", Order::default()).await?.is_made());
        Ok(())
    };
    sentinel.kill_primary_after(missed).await?;
    let again = pair.other.settle("a", Order::default(), LONG).await?;
    assert!(again.is_made() && !again.is_replay(), "{again:?}");
    runs_again_with_a_larger_fence(&pair.ledger, "a")?;
    pair.is_made_once("kept", Order::default(), &kept).await
}

// === Clusters: ASK, MOVED and CLUSTERDOWN ===

pub(super) async fn a_key_whose_slot_moves_is_recorded_where_it_goes(_: &Servers) -> Result<()> {
    of_each_kind(async |kind| {
        let cluster = Cluster::start().await?;
        let pair = Pair::in_cluster(&cluster, kind).await?;
        let order = Order::taking(Duration::from_secs(1));
        let first = pair.begin("a", order).await?;
        let record = pair.record_in(&cluster).await?;
        let moving = cluster.begin_to_move(&record).await?;
        let to = moving.to();
        // Neither has it for sure: nobody runs.
        pair.is_refused("a", order).await?;
        sleep(Duration::from_millis(1_500)).await;
        assert!(!first.is_finished(), "{kind:?}: there was no record of it");
        moving.end().await?;
        pair.is_made_once("a", order, &first.await??).await?;
        assert_eq!(pair.record(to).await?, record);
        Ok(())
    })
    .await
}

pub(super) async fn a_key_whose_slot_nobody_serves_waits_for_it(_: &Servers) -> Result<()> {
    of_each_kind(async |kind| {
        let cluster = Cluster::start().await?;
        let pair = Pair::in_cluster(&cluster, kind).await?;
        let order = Order::taking(Duration::from_secs(1));
        let first = pair.begin("a", order).await?;
        let record = pair.record_in(&cluster).await?;
        let owner = cluster.owner_of(&record).await?;
        let slot = owner.call(&["CLUSTER", "KEYSLOT", &record]).await?;
        let slot = slot.to_string();
        owner.call(&["CLUSTER", "DELSLOTS", &slot]).await?;
        pair.is_refused("a", order).await?;
        sleep(Duration::from_millis(1_500)).await;
        assert!(!first.is_finished(), "{kind:?}: there was no record of it");
        owner.call(&["CLUSTER", "ADDSLOTS", &slot]).await?;
        pair.is_made_once("a", order, &first.await??).await?;
        Ok(())
    })
    .await
}

impl Pair {
    async fn in_cluster(cluster: &Cluster, kind: Kind) -> Result<Self> {
        let [first, ..] = cluster.nodes();
        Self::new(cluster.url().into(), kind.rule(LONG)?, first).await
    }

    /// The key of the only record, wherever it is.
    async fn record_in(&self, cluster: &Cluster) -> Result<String> {
        for node in cluster.nodes() {
            if let Ok(record) = self.record(node).await {
                return Ok(record);
            }
        }
        Err("nothing is stored".into())
    }
}

// === Servers that hang or are full ===

pub(super) async fn an_answer_that_cannot_be_recorded_leaves_as_the_rule_says(
    _: &Servers,
) -> Result<()> {
    of_each_kind(async |kind| {
        let hung = async |server: &Server| server.pause();
        let well = async |server: &Server| server.resume();
        let server = Server::start().await?;
        let pair = Pair::on(&server, kind).await?;
        pair.outlasts(kind, &server, hung, well).await?;
        Ok(())
    })
    .await
}

pub(super) async fn a_full_server_replays_and_runs_nothing(_: &Servers) -> Result<()> {
    of_each_kind(async |kind| {
        let server = Server::start().await?;
        let pair = Pair::on(&server, kind).await?;
        let noeviction = ["CONFIG", "SET", "maxmemory-policy", "noeviction"];
        server.call(&noeviction).await?;
        let fails = Order {
            first: First::Fails,
            ..Order::default()
        };
        let made = pair.one.order("made", Order::default()).await?;
        assert!(pair.one.order("failed", fails).await?.is_not_done());

        let full = async |server: &Server| {
            let full = ["CONFIG", "SET", "maxmemory", "1"];
            server.call(&full).await?;
            pair.is_made_once("made", Order::default(), &made).await?;
            let other = pair.other.order("made", fails).await?;
            assert_eq!(other.refusal(), (422, "key-reused".to_owned()));
            pair.is_refused("failed", fails).await
        };
        let well = async |server: &Server| {
            let room = ["CONFIG", "SET", "maxmemory", "0"];
            server.call(&room).await.map(drop)
        };
        pair.outlasts(kind, &server, full, well).await?;
        assert!(pair.one.order("failed", fails).await?.is_made());
        Ok(())
    })
    .await
}

impl Pair {
    /// A handler ends while the server takes no writes, and a lease later it takes them again.
    async fn outlasts(
        &self,
        kind: Kind,
        server: &Server,
        falls_ill: impl AsyncFn(&Server) -> Result<()>,
        gets_well: impl AsyncFn(&Server) -> Result<()>,
    ) -> Result<()> {
        let order = Order::taking(Duration::from_millis(500));
        let first = self.begin("a", order).await?;
        falls_ill(server).await?;
        self.is_refused("new", Order::default()).await?;
        let (answer, time) = timed(first).await;
        let answer = answer??;
        assert!(time < LEASE + GRACE, "{kind:?}: {time:?}");
        if kind == Kind::Answer {
            assert!(answer.is_made() && answer.is_unrecorded(), "{answer:?}");
        } else {
            assert!(answer.is_unknown(), "{kind:?}: {answer:?}");
        }
        assert!(self.ledger.runs_of("new")?.is_empty());
        gets_well(server).await?;

        let mut last = None;
        eventually("the answer is recorded", async || {
            let answer = self.other.order("a", order).await?;
            let is_made = answer.is_made();
            assert!(is_made || is_pending(&answer), "{kind:?}: {answer:?}");
            last = Some(answer);
            Ok(is_made)
        })
        .await?;
        let last = last.ok_or("no answer")?;
        let again = self.one.settle("a", order, LEASE).await?;
        assert!(again.is_replay() && again.is_same(&last), "{again:?}");
        let runs = self.ledger.runs_of("a")?;
        if kind.is_never() {
            assert_eq!(runs.len(), 1, "{kind:?}");
            assert!(kind != Kind::Answer || last.is_same(&answer), "{last:?}");
        } else {
            // Whoever was faster: the one that took over, or the late record of the first.
            assert_eq!(runs.len(), if last.is_replay() { 1 } else { 2 });
        }
        let new = self.other.settle("new", Order::default(), LEASE).await?;
        assert!(new.is_made(), "{new:?}");
        assert_eq!(self.ledger.runs_of("new")?.len(), 1);
        Ok(())
    }
}

/// Whether it is worth trying again.
fn is_pending(answer: &Answer) -> bool {
    answer.is_unknown() || answer.is_busy() || answer.is_unavailable()
}

/// Longer than it takes to start a server again, and to connect to it.
const LEASE: Duration = Duration::from_secs(4);

/// Longer than a failover.
const LONG: Duration = Duration::from_secs(10);
