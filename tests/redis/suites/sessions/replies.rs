//! Writes whose answers do not come, or come when nobody waits any more.

use std::{cell::Cell, time::Duration};

use futures_util::future::join_all;
use tokio::time::sleep;
use tower_stash::session::{SessionErrorKind, SessionLayer, SessionRule};

use super::{
    super::connect,
    app::{Browser, layer, own},
};
use crate::servers::{
    Result, Servers, eventually,
    proxy::{Network, Proxy},
    standalone::Server,
};

/// The first try times out, and is made together with the second.
pub(super) async fn a_delayed_answer_is_known_by_its_mark(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    // A list of users has no marks.
    let rule = SessionRule::new("web")?;
    let browser = Browser::new(&SessionLayer::new(backend, rule)?);
    browser.insert("n", 1).await.text()?;
    let puts = async || -> Result<u64> {
        Ok(server
            .commandstats()
            .await?
            .get("evalsha")
            .copied()
            .unwrap_or(0))
    };
    let pause = ["CLIENT", "PAUSE", "350", "WRITE"];

    let before = puts().await?;
    server.call(&pause).await?;
    assert_eq!(browser.incr("n").await.text()?, "2");
    assert_eq!(browser.get("n").await.text()?, "2", "once");
    assert_eq!(puts().await? - before, 2, "though sent twice");

    let before = puts().await?;
    server.call(&pause).await?;
    browser.insert("m", 5).await.text()?;
    assert_eq!(browser.get("m").await.text()?, "5");
    assert_eq!(puts().await? - before, 2);

    server.call(&pause).await?;
    browser.login("ada").await.text()?;
    assert_eq!(browser.who().await.text()?, "ada");
    assert_eq!(browser.get("n").await.text()?, "2", "the session is kept");

    server.call(&pause).await?;
    let copy = browser.fork();
    assert_eq!(browser.logout().await.text()?, "logged out");
    assert_eq!(copy.who().await.text()?, "nobody");
    Ok(())
}

/// What one who counts and writes was told.
#[derive(Debug, Default)]
struct Told {
    counted: i64,
    /// It may have been counted.
    unknown: i64,
    written: i64,
    tried: i64,
}

pub(super) async fn nothing_is_lost_or_made_twice_when_connections_break(
    _: &Servers,
) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let direct = connect(server.url().into()).await?;
    let through = connect(proxy.url().into())
        .await?
        .with_namespace(direct.namespace())?;
    let browser = Browser::new(&layer(&through)?);
    let direct = layer(&direct)?;
    browser.insert("begun", 1).await.text()?;

    let done = Cell::new(false);
    let callers = (0..2).map(|caller| use_it(&browser, caller, &done));
    let weather = async {
        for round in 0..8 {
            // What is cut has been applied.
            proxy.set(if round % 2 == 0 {
                Network::DelaysReplies(Duration::from_millis(30))
            } else {
                Network::LosesReplies
            });
            sleep(Duration::from_millis(60)).await;
            proxy.set(Network::Cut);
            proxy.set(Network::Passes);
            sleep(Duration::from_millis(400)).await;
        }
        done.set(true);
    };
    let (told, ()) = tokio::join!(join_all(callers), weather);

    let browser = browser.at(&direct);
    assert_eq!(browser.get("begun").await.text()?, "1");
    for (caller, told) in told.into_iter().enumerate() {
        let told = told?;
        let stands = async |name: &str| -> Result<i64> {
            match &*browser.get(&format!("{name} {caller}")).await.text()? {
                "none" => Ok(0),
                stands => Ok(stands.parse()?),
            }
        };
        let (count, written) = (stands("count").await?, stands("write").await?);
        let possible = told.counted..=told.counted + told.unknown;
        assert!(possible.contains(&count), "{count} counted: {told:?}");
        let possible = told.written..=told.tried;
        assert!(possible.contains(&written), "{written} written: {told:?}");
        eprintln!("sessions: {count} counted and {written} written, {told:?}");
    }
    eventually("the connection is back", async || {
        browser.fork().get("begun").await.text()?;
        Ok(true)
    })
    .await
}

/// Counts and writes until it is done; an answer is a promise, and a failure says what it is.
async fn use_it(browser: &Browser, caller: usize, done: &Cell<bool>) -> Result<Told> {
    let browser = browser.fork();
    let (count, write) = (format!("count {caller}"), format!("write {caller}"));
    let mut told = Told::default();
    while !done.get() {
        let counted = browser.incr(&count).await;
        let was_answered = counted.error.is_none();
        match counted.error {
            None => {
                told.counted += 1;
                assert!(counted.text()?.parse::<i64>()? >= told.counted);
            }
            Some(SessionErrorKind::Indeterminate) => told.unknown += 1,
            Some(SessionErrorKind::Unavailable) => {}
            Some(error) => return Err(format!("{error:?}").into()),
        }
        told.tried += 1;
        let written = browser.insert(&write, told.tried).await;
        if written.status.is_success() {
            told.written = told.tried;
        } else {
            assert!(written.is_outage(), "{written:?}");
        }
        // Many failures in a row would have the breaker keep them from the network.
        sleep(Duration::from_millis(if was_answered { 2 } else { 120 })).await;
    }
    Ok(told)
}
