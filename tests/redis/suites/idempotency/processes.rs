//! Three processes that are killed again and again while clients send orders, each until it has an
//! answer.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{join_all, try_join_all};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    super::connect,
    app::{Answer, App, First, Kind, Ledger, Noted, Order},
    instance::{HttpClient, Instance, Part, http_client, send},
};
use crate::{
    schedules::chance::any_seed,
    servers::{Result, Servers, standalone::Server},
    stress::stressed,
};

/// The processes, of which one is killed at a time.
struct Fleet {
    part: Part,
    /// Where each of them is now.
    bases: [Mutex<String>; 3],
    client: HttpClient,
    is_over: AtomicBool,
    told: Told,
}

/// What was seen, to be told.
#[derive(Debug, Default)]
struct Told {
    keys: AtomicU64,
    requests: AtomicU64,
    kills: AtomicU64,
    busy: AtomicU64,
    unavailable: AtomicU64,
    unknown: AtomicU64,
    broken: AtomicU64,
    given_up: AtomicU64,
}

/// What the clients of one key have ended with.
struct Ended {
    key: String,
    order: Order,
    answers: Vec<Answer>,
}

pub(super) async fn what_is_killed_is_done_once_per_fence(_: &Servers) -> Result<()> {
    killing(Kind::ReExecute).await
}

pub(super) async fn what_is_killed_never_runs_again_where_it_must_not(_: &Servers) -> Result<()> {
    killing(Kind::Withhold).await
}

async fn killing(kind: Kind) -> Result<()> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    let ledger = Ledger::beside(server.directory())?;
    let part = Part::beside(&backend, server.url().into(), &ledger, (kind, LEASE));
    let starting = (0..3).map(|_| Instance::start(&part));
    let instances = try_join_all(starting).await?;
    let bases = [0, 1, 2].map(|n: usize| Mutex::new(instances[n].base().to_owned()));
    let fleet = Arc::new(Fleet {
        part,
        bases,
        client: http_client(),
        is_over: AtomicBool::new(false),
        told: Told::default(),
    });

    let mut customers = JoinSet::new();
    for customer in 0..CUSTOMERS {
        let fleet = Arc::clone(&fleet);
        customers.spawn(async move { fleet.send_orders(customer).await });
    }
    let instances = fleet.kill_for(stressed(1) * TIME, instances).await?;
    fleet.is_over.store(true, Ordering::SeqCst);
    let mut all = Vec::new();
    while let Some(ended) = customers.join_next().await {
        all.extend(ended??);
    }
    let app = App::new(backend, kind.rule(LEASE)?, &ledger)?;
    let seen = judge(kind, &app, &ledger.lines()?, &all).await?;
    let told = &fleet.told;
    eprintln!("idempotency: {kind:?}: {seen}; {told:?}");
    drop(instances);
    Ok(())
}

impl Fleet {
    /// Kills one after the other, each when the one before is back; gives those that are left.
    async fn kill_for(
        &self,
        time: Duration,
        mut instances: Vec<Instance>,
    ) -> Result<Vec<Instance>> {
        let killing = async {
            for n in (0..3).cycle() {
                sleep(Duration::from_millis(any_seed() % 300)).await;
                let killed = instances.remove(0);
                killed.kill().await?;
                self.told.kills.fetch_add(1, Ordering::Relaxed);
                let next = Instance::start(&self.part).await?;
                let mut base = self.bases[n].lock().unwrap_or_else(PoisonError::into_inner);
                next.base().clone_into(&mut base);
                instances.push(next);
            }
            Result::<()>::Ok(())
        };
        if let Ok(failed) = timeout(time, killing).await {
            failed?;
        }
        Ok(instances)
    }

    /// One key after the other, each sent by three clients.
    async fn send_orders(&self, customer: u32) -> Result<Vec<Ended>> {
        let mut all = Vec::new();
        for n in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let key = format!("{customer}-{n}");
            let chance = any_seed();
            let order = Order {
                before: chance % 80,
                after: chance / 80 % 80,
                first: if chance.is_multiple_of(11) {
                    First::Fails
                } else {
                    First::IsFinal
                },
                len: 0,
            };
            let clients = (0..3).map(|_| self.until_answered(&key, order));
            let answers = join_all(clients).await;
            self.told.keys.fetch_add(1, Ordering::Relaxed);
            all.push(Ended {
                answers: answers.into_iter().collect::<Result<_>>()?,
                key,
                order,
            });
        }
        Ok(all)
    }

    /// Sends an order again and again until it is answered for good.
    async fn until_answered(&self, key: &str, order: Order) -> Result<Answer> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let mut unknown = 0;
        let ending = async {
            loop {
                let chance = any_seed();
                sleep(Duration::from_millis(chance % 20)).await;
                let base = {
                    let n = usize::try_from(chance / 20 % 3).unwrap_or_default();
                    let base = self.bases[n].lock();
                    base.unwrap_or_else(PoisonError::into_inner).clone()
                };
                count(&self.told.requests);
                let sent = send(&self.client, order.request(&base, "/orders", key)?);
                // Some clients lose patience.
                let patience = if chance.is_multiple_of(7) { 50 } else { 10_000 };
                let Ok(answer) = timeout(Duration::from_millis(patience), sent).await else {
                    count(&self.told.given_up);
                    continue;
                };
                let Ok(answer) = answer else {
                    count(&self.told.broken);
                    continue;
                };
                if answer.is_busy() {
                    count(&self.told.busy);
                    sleep(Duration::from_millis(50)).await;
                } else if answer.is_unknown() && unknown < 3 {
                    // Its owner may be slow, and not dead.
                    count(&self.told.unknown);
                    unknown += 1;
                    sleep(LEASE).await;
                } else if answer.is_made() || answer.is_unknown() {
                    return Ok(answer);
                } else {
                    assert_eq!(answer.status(), 503, "{key}: {answer:?}");
                    count(&self.told.unavailable);
                }
            }
        };
        let ended = timeout(WEDGED, ending).await;
        ended.map_err(|_| format!("{key} was not answered in {WEDGED:?}"))?
    }
}

/// Compares what clients were answered with what was done, and says what was seen.
async fn judge(kind: Kind, app: &App, lines: &[Noted], all: &[Ended]) -> Result<String> {
    let mut of_key: HashMap<&str, Vec<&Noted>> = HashMap::new();
    let mut effects = HashSet::new();
    for line in lines {
        of_key.entry(&line.key).or_default().push(line);
        if line.what == "effect" {
            let is_new = effects.insert((&line.key, line.fence));
            assert!(is_new, "two effects under one fence: {line:?}");
        }
    }
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut count = |what, many| *seen.entry(what).or_default() += many;
    for Ended {
        key,
        order,
        answers,
    } in all
    {
        let none = Vec::new();
        let lines = of_key.get(&**key).unwrap_or(&none);
        let runs: Vec<_> = lines.iter().filter(|line| line.what == "run").collect();
        let attempts: Vec<_> = runs.iter().map(|run| run.attempt).collect();
        assert!(runs.is_sorted_by(|a, b| a.fence < b.fence), "{runs:?}");
        assert!(attempts.is_sorted_by(|a, b| a < b), "{runs:?}");
        assert!(runs.iter().all(|run| run.downstream == runs[0].downstream));
        let effects = lines.len() - runs.len();
        assert!(effects <= runs.len(), "{key}: {lines:?}");
        if kind.is_never() {
            // What said that it failed, and did nothing, may run again.
            let most = if order.first == First::Fails { 2 } else { 1 };
            assert!(runs.len() <= most, "{key}: {runs:?}");
            assert!(effects <= 1, "{key}: {lines:?}");
        }

        let last = app.order(key, *order).await?;
        assert!(last.is_replay() || last.is_unknown(), "{key}: {last:?}");
        for answer in answers {
            assert!(
                answer.is_same(&last) || answer.is_unknown() && last.is_unknown(),
                "{key} has two answers: {answer:?} and {last:?}"
            );
        }
        if last.is_replay() {
            assert!(effects >= 1, "{key} was answered and not done");
        } else {
            assert!(kind.is_never(), "{key}: {last:?}");
            count("unknown keys", 1);
        }
        count("runs", runs.len());
        count("effects", effects);
        count(
            "runs of an attempt above 1",
            attempts.iter().filter(|a| **a > 1).count(),
        );
        count("keys that ran twice or more", usize::from(runs.len() > 1));
        let most = attempts.iter().max().copied().unwrap_or_default();
        count("keys with an attempt above 2", usize::from(most > 2));
    }
    assert!(!all.is_empty(), "no key was answered");
    Ok(format!("{} keys, one answer each, {seen:?}", all.len()))
}

const CUSTOMERS: u32 = 12;

/// The lease of a key whose owner is killed is waited for.
const LEASE: Duration = Duration::from_millis(800);

/// How long processes are killed, if it is not tried for longer.
const TIME: Duration = Duration::from_secs(4);

/// No key is at work so long, even if each of its owners is killed.
const WEDGED: Duration = Duration::from_secs(40);
