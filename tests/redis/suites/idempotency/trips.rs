//! What each request costs, counted where it arrives.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::time::sleep;
use tower_stash::idempotency::IdempotencyRule;

use super::{
    super::{connect, scripts_are_loaded},
    app::{Answer, App, First, Kind, Ledger, Order, of_each_kind},
    instance::{Instance, Part},
};
use crate::servers::{Result, Servers, standalone::Server};

/// A server whose commands are counted, with an application of this rule.
struct Counted {
    server: Server,
    app: App,
    ledger: Ledger,
    part: Part,
}

impl Counted {
    async fn new(kind: Kind, lease: Duration) -> Result<Self> {
        Self::of(kind, lease, |rule| rule).await
    }

    async fn of(
        kind: Kind,
        lease: Duration,
        more: impl FnOnce(IdempotencyRule) -> IdempotencyRule,
    ) -> Result<Self> {
        let server = Server::start().await?;
        let backend = connect(server.url().into()).await?;
        scripts_are_loaded(&server).await?;
        let ledger = Ledger::beside(server.directory())?;
        let part = Part::beside(&backend, server.url().into(), &ledger, (kind, lease));
        let app = App::new(backend, more(kind.rule(lease)?), &ledger)?;
        Ok(Self {
            server,
            app,
            ledger,
            part,
        })
    }

    /// The answer to a request, and how many commands it took; all of them are writes.
    async fn trips(
        &self,
        request: impl Future<Output = Result<Answer>>,
    ) -> Result<(usize, Answer)> {
        let mut answer = None;
        let sent = self.server.commands_during(async {
            answer = Some(request.await?);
            Ok(())
        });
        let sent = Box::pin(sent).await?;
        for sent in &sent {
            assert_eq!(sent.name, "evalsha", "{sent:?} was not foreseen");
        }
        Ok((sent.len(), answer.ok_or("no answer")?))
    }

    async fn order(&self, key: &str, order: Order) -> Result<(usize, Answer)> {
        self.trips(self.app.order(key, order)).await
    }

    /// The handler of this key's request is running in a process that is killed.
    async fn leave_orphan(&self, key: &str, order: Order) -> Result<()> {
        let instance = Instance::start(&self.part).await?;
        scripts_are_loaded(&self.server).await?;
        let unanswered = instance.ordering(key, order)?;
        self.ledger.has_begun(key, 1).await?;
        instance.kill().await?;
        assert!(unanswered.await?.is_err(), "it was killed");
        Ok(())
    }
}

pub(super) async fn a_request_makes_no_more_round_trips_than_it_must(_: &Servers) -> Result<()> {
    for kind in Kind::ALL {
        let counted = Counted::new(kind, LEASE).await?;
        let writes = if kind.is_never() { 3 } else { 2 };

        let unprotected = Request::post("/unprotected")
            .header("idempotency-key", "a")
            .body(Bytes::new())?;
        let (trips, answer) = counted.trips(counted.app.send(unprotected)).await?;
        assert_eq!((trips, answer.status()), (0, 200), "{kind:?}: no rule");

        let order = Order::default();
        let (trips, first) = counted.order("a", order).await?;
        assert_eq!((trips, first.status()), (writes, 201), "{kind:?}: a run");
        let (trips, again) = counted.order("a", order).await?;
        assert_eq!(trips, 1, "{kind:?}: a replay");
        assert!(again.is_replay() && again.is_same(&first), "{again:?}");
        let other = Order { len: 1, ..order };
        let (trips, answer) = counted.order("a", other).await?;
        assert_eq!(trips, 1, "{kind:?}: a mismatch");
        assert_eq!(answer.refusal(), (422, "key-reused".to_owned()));

        let fails = Order {
            first: First::Fails,
            ..order
        };
        let (trips, answer) = counted.order("f", fails).await?;
        assert_eq!(trips, writes, "{kind:?}: a run that fails");
        assert!(answer.is_not_done(), "{answer:?}");
        let (trips, answer) = counted.order("f", fails).await?;
        assert_eq!((trips, answer.status()), (writes + 1, 201), "{kind:?}");
        assert_eq!(counted.ledger.runs_of("f")?.len(), 2);

        let releases = Order {
            first: First::IsNotExecuted,
            ..order
        };
        let (trips, answer) = counted.order("r", releases).await?;
        assert_eq!(trips, writes, "{kind:?}: a run that releases");
        assert!(answer.is_not_done(), "{answer:?}");
        let (trips, answer) = counted.order("r", releases).await?;
        assert_eq!((trips, answer.status()), (writes, 201), "{kind:?}");
    }
    Ok(())
}

pub(super) async fn a_request_whose_key_is_at_work_is_one_round_trip(_: &Servers) -> Result<()> {
    for kind in Kind::ALL {
        // Nothing is renewed meanwhile.
        let counted = Counted::new(kind, LEASE).await?;
        let order = Order::taking(Duration::from_secs(1));
        let app = counted.app.clone();
        let running = tokio::spawn(async move { app.order("a", order).await });
        counted.ledger.has_begun("a", 1).await?;
        let (trips, answer) = counted.order("a", order).await?;
        assert_eq!(trips, 1, "{kind:?}");
        assert!(answer.is_busy(), "{answer:?}");
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert!(running.await??.is_made());
    }
    Ok(())
}

pub(super) async fn a_takeover_is_one_round_trip_more(_: &Servers) -> Result<()> {
    of_each_kind(async |kind| {
        let counted = Counted::new(kind, SHORT).await?;
        let order = Order {
            before: 300,
            ..Order::default()
        };
        counted.leave_orphan("a", order).await?;
        sleep(SHORT + MARGIN).await;
        let (trips, answer) = counted.order("a", order).await?;
        if kind.is_never() {
            assert!(answer.is_unknown(), "{answer:?}");
            assert_eq!(trips, 1, "{kind:?}: to learn that nobody knows");
        } else {
            assert!(answer.is_made() && !answer.is_replay(), "{answer:?}");
            assert_eq!(trips, 3, "{kind:?}");
            let runs = counted.ledger.runs_of("a")?;
            let attempts: Vec<_> = runs.iter().map(|run| run.attempt).collect();
            assert_eq!(attempts, [1, 2]);
        }
        Ok(())
    })
    .await
}

pub(super) async fn a_lease_is_renewed_three_times(_: &Servers) -> Result<()> {
    let lease = Duration::from_millis(1_200);
    of_each_kind(async |kind| {
        let counted = Counted::new(kind, lease).await?;
        let (trips, answer) = counted.order("a", Order::taking(lease * 2)).await?;
        assert!(answer.is_made());
        let writes = if kind.is_never() { 3 } else { 2 };
        let renewals = trips - writes;
        // The sixth is due when the handler ends, and may be sent before it does.
        assert!((4..=6).contains(&renewals), "{kind:?}: {renewals} renewals");
        eprintln!("idempotency: {renewals} renewals in two leases");
        Ok(())
    })
    .await
}

/// The default.
const LEASE: Duration = Duration::from_secs(10);

/// So long that a third of it is more than a handler takes here.
const SHORT: Duration = Duration::from_secs(2);

const MARGIN: Duration = Duration::from_millis(100);
