//! Bad days: what requests are answered while Redis is away, and that all comes back by itself.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;
use tower_stash::session::SessionErrorKind;

use super::app::{Answer, Browser, own};
use crate::servers::{Result, Servers, eventually, timed};

/// A request to a server that does not answer: 503 within so many time-outs, and no word about the
/// cookie.
async fn is_outage(tries: u32, request: impl Future<Output = Answer>) -> Result<Answer> {
    let (answer, time) = timed(request).await;
    assert!(answer.is_outage(), "{answer:?}");
    assert!(
        time < (COMMAND_TIMEOUT + GRACE) * tries,
        "{time:?}: {answer:?}"
    );
    Ok(answer)
}

/// Waits until sessions can be read and written again.
async fn comes_back(browser: &Browser) -> Result<()> {
    eventually("sessions are back", async || {
        browser.incr("back").await.text()?;
        Ok(true)
    })
    .await
}

pub(super) async fn a_hung_server_is_an_outage_only_where_sessions_are_used(
    _: &Servers,
) -> Result<()> {
    let (server, _, browser) = own().await?;
    browser.insert("n", 1).await.text()?;
    let (stranger, cookie) = (Browser::new(&browser.layer()), browser.cookie());
    server.pause()?;
    for _ in 0..2 {
        let untouched = browser.untouched().await;
        assert_eq!(untouched.cookies, [""; 0]);
        assert_eq!(untouched.text()?, "untouched");
        assert_eq!(stranger.get("n").await.text()?, "none", "nothing to read");
        let read = is_outage(1, browser.get("n")).await?;
        assert_eq!(read.error, Some(SessionErrorKind::Unavailable));
    }
    is_outage(1, browser.insert("n", 2)).await?;
    is_outage(1, browser.logout()).await?;
    is_outage(1, browser.login("ada")).await?;
    // The breaker is open: nobody waits any more.
    let (answer, time) = timed(browser.get("n")).await;
    assert!(answer.is_outage() && time < COMMAND_TIMEOUT / 2, "{time:?}");
    is_outage(1, stranger.insert("n", 1)).await?;
    assert_eq!(browser.cookie(), cookie);
    assert_eq!(stranger.cookie(), None);

    server.resume()?;
    comes_back(&browser).await?;
    assert_eq!(browser.get("n").await.text()?, "1", "and nothing is lost");
    assert_eq!(browser.cookie(), cookie);
    Ok(())
}

pub(super) async fn an_outage_at_a_commit_or_a_logout_keeps_the_cookie(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    browser.insert("n", 1).await.text()?;
    let cookie = browser.cookie();
    let stopped = &server;
    let hangs = || stopped.pause().expect("the server can be paused");

    let insert = browser.ask(async |session| {
        session.insert("n", 2).await?;
        hangs();
        Ok("done".to_owned())
    });
    let answer = is_outage(3, insert).await?;
    assert_eq!(answer.error, None, "the handler had answered");
    server.resume()?;
    comes_back(&browser).await?;
    let left = browser.get("n").await.text()?;
    assert!(["1", "2"].contains(&&*left), "{left}");
    assert_eq!(browser.cookie(), cookie);

    let logout = browser.ask(async |session| {
        session.user().await?;
        hangs();
        session.destroy().await?;
        Ok("logged out".to_owned())
    });
    is_outage(3, logout).await?;
    assert_eq!(browser.cookie(), cookie);
    server.resume()?;
    // What was sent may be done now, or not: both are "ended or as it was".
    eventually("sessions can be read", async || {
        let state = browser.state().await.text()?;
        Ok(["Active", "Ended"].contains(&&*state))
    })
    .await?;
    eventually("the logout can be repeated", async || {
        browser.logout().await.text()?;
        Ok(true)
    })
    .await?;
    Ok(())
}

pub(super) async fn a_write_that_a_paused_server_may_make_is_reported(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    let pause = ["CLIENT", "PAUSE", "2000", "WRITE"];
    browser.insert("n", 1).await.text()?;
    server.call(&pause).await?;
    assert_eq!(browser.get("n").await.text()?, "1", "reading goes on");
    let counted = is_outage(3, browser.incr("n")).await?;
    assert_eq!(counted.error, Some(SessionErrorKind::Indeterminate));
    let stranger = Browser::new(&browser.layer());
    is_outage(3, stranger.insert("n", 1)).await?;
    assert_eq!(stranger.cookie(), None);
    comes_back(&browser).await?;
    let left = browser.get("n").await.text()?;
    assert!(["1", "2"].contains(&&*left), "{left}: once or not at all");
    Ok(())
}

pub(super) async fn a_killed_server_loses_sessions_and_removes_no_cookie(
    _: &Servers,
) -> Result<()> {
    let (server, _, browser) = own().await?;
    browser.login("ada").await.text()?;
    let cookie = browser.cookie();
    server.kill()?;
    for _ in 0..8 {
        assert_eq!(browser.untouched().await.text()?, "untouched");
        is_outage(1, browser.who()).await?;
    }
    is_outage(1, browser.logout()).await?;
    server.restart().await?;
    eventually("sessions are back", async || {
        Ok(browser.who().await.text()? == "nobody")
    })
    .await?;
    // It may be one that another instance has just given out.
    assert_eq!(browser.cookie(), cookie);
    eventually("logins are back", async || {
        browser.login("ada").await.text()?;
        Ok(true)
    })
    .await?;
    assert_eq!(browser.who().await.text()?, "ada");
    assert_ne!(browser.cookie(), cookie);
    Ok(())
}

pub(super) async fn a_full_server_keeps_and_ends_sessions(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    let [other, phone] = [(); 2].map(|()| browser.fork());
    for browser in [&browser, &other, &phone] {
        browser.login("ada").await.text()?;
    }
    browser.insert("n", 1).await.text()?;
    let (stranger, cookie) = (Browser::new(&browser.layer()), browser.cookie());
    server
        .call(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await?;
    server.call(&["CONFIG", "SET", "maxmemory", "1"]).await?;

    assert_eq!(browser.get("n").await.text()?, "1");
    is_outage(1, browser.insert("n", 2)).await?;
    let counted = is_outage(1, browser.incr("n")).await?;
    assert_eq!(
        counted.error,
        Some(SessionErrorKind::Unavailable),
        "for sure"
    );
    is_outage(1, browser.login("ada")).await?;
    is_outage(1, stranger.insert("n", 1)).await?;
    assert_eq!(browser.get("n").await.text()?, "1");
    assert_eq!((browser.cookie(), stranger.cookie()), (cookie, None));

    let sessions = browser.sessions();
    let phones = phone.ask(async |session| {
        Ok(session
            .id()
            .await?
            .map_or_else(String::new, |id| id.to_string()))
    });
    assert!(
        sessions
            .destroy_device("ada", &phones.await.text()?.parse()?)
            .await?
    );
    assert_eq!(phone.who().await.text()?, "nobody");
    assert_eq!(sessions.devices_of("ada").await?.len(), 2);
    let copy = browser.fork();
    let out = browser.logout().await;
    assert!(out.cookies[0].contains("Max-Age=0"), "{:?}", out.cookies);
    out.text()?;
    assert_eq!(copy.who().await.text()?, "nobody");
    assert_eq!(other.who().await.text()?, "ada");
    assert!(
        sessions.destroy_all("ada").await.is_err(),
        "logins under way were not told"
    );
    assert_eq!(other.who().await.text()?, "nobody", "but sessions ended");

    server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    comes_back(&other).await?;
    assert_eq!(copy.who().await.text()?, "nobody");
    stranger.insert("n", 1).await.text()?;
    assert_eq!(stranger.sessions().destroy_all("ada").await?, 0);
    Ok(())
}

pub(super) async fn a_forgotten_script_costs_no_session_anything(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    let calls = try_join_all((0..8).map(|_| async {
        let browser = browser.fork();
        for call in 1..=50 {
            browser.insert("written", call).await.text()?;
            assert_eq!(browser.incr("counted").await.text()?, call.to_string());
            assert_eq!(browser.get("written").await.text()?, call.to_string());
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
        called = calls => drop(called?),
        failed = flushes => return failed,
    }
    let whole = server.commandstats().await?.get("eval").copied();
    assert!(whole > Some(0), "no script was missing");
    Ok(())
}

/// The default.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);

/// What a busy machine may add to each.
const GRACE: Duration = Duration::from_millis(200);
