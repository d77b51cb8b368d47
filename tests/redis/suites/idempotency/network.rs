//! One accident on the network, at each call of a request's life.
//!
//! Whatever it is and wherever: the handler has run once, all get one answer, and a lease later the
//! key is settled.

use std::{cell::Cell, time::Duration};

use futures_util::future::try_join_all;
use tokio::time::sleep;
use tower_stash::backend::RedisBackend;

use super::{
    super::{connect, scripts_are_loaded},
    app::{App, First, Kind, Ledger, Order},
};
use crate::servers::{
    Result, Servers,
    standalone::Server,
    wire::{Accident, LATE, Wire},
};

/// A server, and an application that nothing stands between.
struct Bed {
    server: Server,
    backend: RedisBackend,
    ledger: Ledger,
    /// How many requests with an accident were made, and how many got 503.
    made: Cell<u32>,
    unavailable: Cell<u32>,
}

impl Bed {
    async fn new() -> Result<Self> {
        let server = Server::start().await?;
        let backend = connect(server.url().into()).await?;
        scripts_are_loaded(&server).await?;
        let ledger = Ledger::beside(server.directory())?;
        Ok(Self {
            server,
            backend,
            ledger,
            made: Cell::new(0),
            unavailable: Cell::new(0),
        })
    }

    /// A request has this accident at the call of this number; then others come.
    async fn strike(
        &self,
        (kind, accident): (Kind, Accident),
        call: u32,
        order: Order,
    ) -> Result<()> {
        let key = format!("{kind:?}-{accident:?}").replace(' ', "");
        let namespace = self.backend.namespace();
        let wire = Wire::start(self.server.port(), &format!("{namespace}:x1:")).await?;
        let backend = connect(wire.url().into()).await?;
        let backend = backend.with_namespace(namespace)?;
        let rule = kind.rule(LEASE)?;
        let app = App::new(backend, rule.clone(), &self.ledger)?;
        let other = App::new(self.backend.clone(), rule, &self.ledger)?;

        wire.strike(call, accident);
        let first = app.order(&key, order).await?;
        assert!(wire.count() > call, "{key}: there was no such call");
        let runs = self.ledger.runs_of(&key)?.len();
        let is_refused = first.is_unavailable();
        if is_refused {
            assert!(call < kind.before_the_handler(), "{key}: {first:?}");
        } else if order.first == First::IsFinal {
            assert!(
                first.is_made() && !first.is_unrecorded(),
                "{key}: {first:?}"
            );
        } else {
            assert!(first.is_not_done(), "{key}: {first:?}");
        }
        let so_far = u32::from(!is_refused);
        assert_eq!(runs, usize::try_from(so_far)?, "{key}: {first:?}");
        self.made.update(|made| made + so_far);
        self.unavailable.update(|count| count + 1 - so_far);

        let is_run_again = !is_refused && order.first != First::IsFinal;
        let settled = other.settle(&key, order, LEASE).await?;
        assert!(settled.is_made(), "{key}: {settled:?}");
        assert_eq!(settled.is_replay(), first.is_made(), "{key}");
        assert!(!first.is_made() || settled.is_same(&first), "{key}");
        // What comes late comes now.
        sleep(LATE).await;
        let last = other.order(&key, order).await?;
        assert!(
            last.is_replay() && last.is_same(&settled),
            "{key}: {last:?}"
        );
        let again = app.settle(&key, order, LEASE).await?;
        assert!(again.is_replay() && again.is_same(&settled), "{key}");

        let runs = self.ledger.runs_of(&key)?;
        let expected = if is_run_again { 2 } else { 1 };
        assert_eq!(runs.len(), expected, "{key}: {runs:?}");
        assert!(runs.is_sorted_by(|a, b| a.fence < b.fence), "{runs:?}");
        if is_run_again && order.first == First::Fails {
            assert_eq!(runs[1].attempt, 2, "{key}");
        }
        assert_eq!(self.ledger.effects_of(&key)?.len(), 1, "{key}");
        Ok(())
    }

    /// Each accident, for each of these rules.
    async fn strike_all(
        &self,
        kinds: &[Kind],
        call: impl Fn(Kind) -> u32,
        order: Order,
    ) -> Result<()> {
        let all = kinds.iter().flat_map(|kind| {
            let of_kind = move |accident| (*kind, accident);
            Accident::ALL.into_iter().map(of_kind)
        });
        try_join_all(all.map(|case| self.strike(case, call(case.0), order))).await?;
        Ok(())
    }
}

pub(super) async fn an_accident_at_a_claim_runs_nothing_twice(_: &Servers) -> Result<()> {
    let bed = Bed::new().await?;
    bed.strike_all(&Kind::ALL, |_| 0, Order::default()).await?;
    told("a claim", &bed);
    Ok(())
}

pub(super) async fn an_accident_at_a_start_runs_nothing_twice(_: &Servers) -> Result<()> {
    let bed = Bed::new().await?;
    bed.strike_all(&NEVER, |_| 1, Order::default()).await?;
    told("a start", &bed);
    Ok(())
}

pub(super) async fn an_accident_at_a_renewal_changes_nothing(_: &Servers) -> Result<()> {
    let bed = Bed::new().await?;
    let order = Order::taking(LEASE / 3 + Duration::from_millis(300));
    bed.strike_all(&Kind::ALL, Kind::before_the_handler, order)
        .await
}

pub(super) async fn an_answer_is_recorded_though_its_write_has_an_accident(
    _: &Servers,
) -> Result<()> {
    let bed = Bed::new().await?;
    bed.strike_all(&Kind::ALL, Kind::before_the_handler, Order::default())
        .await
}

pub(super) async fn a_failure_is_recorded_though_its_write_has_an_accident(
    _: &Servers,
) -> Result<()> {
    let bed = Bed::new().await?;
    let order = Order {
        first: First::Fails,
        ..Order::default()
    };
    bed.strike_all(&Kind::ALL, Kind::before_the_handler, order)
        .await
}

pub(super) async fn a_key_is_free_again_though_its_release_has_an_accident(
    _: &Servers,
) -> Result<()> {
    let bed = Bed::new().await?;
    let order = Order {
        first: First::IsNotExecuted,
        ..Order::default()
    };
    bed.strike_all(&Kind::ALL, Kind::before_the_handler, order)
        .await
}

/// What is sent once more is made where only its first answer is lost.
fn told(at: &str, bed: &Bed) {
    let (made, unavailable) = (bed.made.get(), bed.unavailable.get());
    eprintln!("idempotency: accidents at {at}: {made} made, {unavailable} got 503");
    assert!(made > 0, "nothing was sent once more");
}

const NEVER: [Kind; 2] = [Kind::Withhold, Kind::Answer];

/// Longer than it takes to replace a connection that is silent.
const LEASE: Duration = Duration::from_secs(4);
