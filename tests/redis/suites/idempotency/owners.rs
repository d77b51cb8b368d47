//! Processes that own keys: many at once, and one that is stopped.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::{
    super::connect,
    app::{Answer, App, GRACE, Kind, Ledger, Order, of_each_kind},
    instance::{Instance, Part, http_client, send},
};
use crate::servers::{Result, Servers, standalone::Server};

/// A server, the part of processes on it, and what is in their ledger.
async fn stage(kind: Kind) -> Result<(Server, App, Part, Ledger)> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    let ledger = Ledger::beside(server.directory())?;
    let part = Part::beside(&backend, server.url().into(), &ledger, (kind, LEASE));
    let app = App::new(backend, kind.rule(LEASE)?, &ledger)?;
    Ok((server, app, part, ledger))
}

/// 200 equal requests at once, half of them to each of two processes.
async fn at_once(waits: bool) -> Result<Vec<Answer>> {
    let (_server, app, mut part, ledger) = stage(Kind::ReExecute).await?;
    part.waits = waits;
    let instances = [Instance::start(&part).await?, Instance::start(&part).await?];
    let order = Order::taking(Duration::from_millis(500));
    let client = http_client();
    let answers = (0..200).map(|n| {
        let (client, base) = (&client, instances[n % 2].base());
        async move {
            loop {
                let answer = send(client, order.request(base, "/orders", "a")?).await?;
                // A busy machine may be late with so many.
                if !answer.is_unavailable() {
                    return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(answer);
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let answers = try_join_all(answers).await?;
    let runs = ledger.runs_of("a")?;
    assert_eq!(runs.len(), 1, "{runs:?}");
    let last = app.settle("a", order, LEASE).await?;
    assert!(last.is_replay());
    for answer in answers.iter().filter(|answer| answer.is_made()) {
        assert!(answer.is_same(&last), "{answer:?}");
    }
    let first = answers.iter().filter(|a| a.is_made() && !a.is_replay());
    assert_eq!(first.count(), 1, "one answer is no replay");
    Ok(answers)
}

pub(super) async fn two_hundred_at_once_on_two_servers_run_once(_: &Servers) -> Result<()> {
    let answers = at_once(false).await?;
    for answer in &answers {
        assert!(answer.is_made() || answer.is_busy(), "{answer:?}");
    }
    let busy = answers.iter().filter(|answer| answer.is_busy()).count();
    assert!(busy > 0, "they did not come at once");
    Ok(())
}

pub(super) async fn two_hundred_that_wait_on_two_servers_get_one_answer(_: &Servers) -> Result<()> {
    let answers = at_once(true).await?;
    for answer in &answers {
        assert!(answer.is_made(), "{answer:?}");
    }
    Ok(())
}

/// It goes on where it was, two leases later, and knows nothing of it.
pub(super) async fn an_owner_that_was_stopped_for_two_leases_gives_the_recorded_answer(
    _: &Servers,
) -> Result<()> {
    of_each_kind(async |kind| {
        let (_server, app, part, ledger) = stage(kind).await?;
        let stopped = Instance::start(&part).await?;
        let order = Order::taking(Duration::from_millis(300));
        let first = stopped.ordering("a", order)?;
        ledger.has_begun("a", 1).await?;
        stopped.signal("STOP").await?;
        assert!(app.order("a", order).await?.is_busy(), "the lease runs");
        let meanwhile = app.settle("a", order, LEASE).await?;
        sleep(LEASE).await;
        assert!(!first.is_finished());
        stopped.signal("CONT").await?;
        let late = first.await??;
        let last = app.settle("a", order, LEASE).await?;
        assert!(late.is_made(), "{kind:?}: {late:?}");
        assert!(
            last.is_replay() && last.is_same(&late),
            "{kind:?}: {last:?}"
        );

        let runs = ledger.runs_of("a")?;
        if kind.is_never() {
            assert!(meanwhile.is_unknown(), "{kind:?}: {meanwhile:?}");
            assert_eq!(runs.len(), 1);
            assert!(!late.is_replay() && !late.is_unrecorded(), "{late:?}");
        } else {
            assert!(meanwhile.is_same(&late) && late.is_replay(), "{late:?}");
            let attempts: Vec<_> = runs.iter().map(|run| run.attempt).collect();
            assert_eq!(attempts, [1, 2]);
            assert!(runs[0].fence < runs[1].fence, "{runs:?}");
        }
        Ok(())
    })
    .await
}

pub(super) async fn a_stopped_process_loses_only_its_own_keys(_: &Servers) -> Result<()> {
    let (_server, app, part, ledger) = stage(Kind::ReExecute).await?;
    let [stopped, other] = [Instance::start(&part).await?, Instance::start(&part).await?];
    let slow = Order::taking(Duration::from_millis(400));
    let held = stopped.ordering("held", slow)?;
    ledger.has_begun("held", 1).await?;
    stopped.signal("STOP").await?;
    for n in 0..20 {
        let answer = other.order(&format!("free-{n}"), Order::default()).await?;
        assert!(answer.is_made() && !answer.is_replay(), "{answer:?}");
    }
    let unread = stopped.ordering("unread", slow)?;
    let read = other.order("unread", slow).await?;
    assert!(read.is_made());
    let taken = app.settle("held", slow, LEASE).await?;
    assert!(taken.is_made() && !taken.is_replay(), "{taken:?}");
    stopped.signal("CONT").await?;
    // What it reads only now was done elsewhere.
    let unread = tokio::time::timeout(LEASE + GRACE, unread).await???;
    assert!(unread.is_replay() && unread.is_same(&read), "{unread:?}");
    let held = held.await??;
    assert!(held.is_replay() && held.is_same(&taken), "{held:?}");
    assert_eq!(ledger.runs_of("unread")?.len(), 1);
    Ok(())
}

const LEASE: Duration = Duration::from_millis(1_500);
