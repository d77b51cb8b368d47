//! What each request costs, counted where it arrives.
//!
//! A read is the command `GET`, with which once in a second goes `PTTL`: neither waits for the other's
//! answer, so they count as one round trip. Every other command is one.

use std::time::Duration;

use tower_stash::session::{SessionLayer, SessionRule};

use super::app::{Answer, Browser, layer_of, own};
use crate::servers::{Result, Servers, standalone::Server, timed};

/// The round trips of a call: `read` for a read, and `write` for a script.
async fn trips(server: &Server, call: impl Future<Output = Result<()>>) -> Result<String> {
    let mut trips = Vec::new();
    let mut before = "";
    let sent = server.commands_during(call).await?;
    for sent in &sent {
        match (before, &*sent.name) {
            (_, "get") => trips.push("read"),
            ("get", "pttl") => {}
            (_, "evalsha") => trips.push("write"),
            _ => return Err(format!("{sent:?} was not foreseen").into()),
        }
        before = &sent.name;
    }
    Ok(trips.join(" "))
}

/// Those of a request, which has to succeed.
async fn of(server: &Server, request: impl Future<Output = Answer>) -> Result<String> {
    Box::pin(trips(server, async { request.await.text().map(drop) })).await
}

pub(super) async fn a_request_makes_no_more_round_trips_than_it_must(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let rule = SessionRule::new("web")?;
    let browser = Browser::new(&SessionLayer::new(backend, rule)?);
    let server = &server;

    assert_eq!(of(server, browser.untouched()).await?, "");
    assert_eq!(of(server, browser.get("n")).await?, "", "without a token");
    assert_eq!(of(server, browser.insert("n", 1)).await?, "write");
    assert_eq!(of(server, browser.untouched()).await?, "");
    assert_eq!(of(server, browser.get("n")).await?, "read");
    assert_eq!(
        of(server, browser.insert("n", 1)).await?,
        "read",
        "as it was"
    );
    assert_eq!(of(server, browser.insert("n", 2)).await?, "read write");
    assert_eq!(of(server, browser.incr("n")).await?, "read write");
    let both = async {
        browser
            .ask(async |session| {
                session.insert("m", 1).await?;
                Ok(session.incr("n", 1).await?.to_string())
            })
            .await
    };
    assert_eq!(of(server, both).await?, "read write write");
    assert_eq!(of(server, browser.login("ada")).await?, "read write");
    assert_eq!(of(server, browser.logout()).await?, "read write");
    assert_eq!(of(server, browser.login("ada")).await?, "write write");
    Ok(())
}

pub(super) async fn a_login_with_an_index_is_five_round_trips(_: &Servers) -> Result<()> {
    let (server, _, browser) = own().await?;
    // The ticket; the session; the list; the epoch again; the user.
    let first = server.commands_during(async { browser.login("ada").await.text().map(drop) });
    let names: Vec<_> = first.await?.into_iter().map(|sent| sent.name).collect();
    let five = ["get", "evalsha", "evalsha", "get", "evalsha"];
    assert_eq!(names, five);
    // The session is read instead of made.
    let again = server.commands_during(async { browser.login("ada").await.text().map(drop) });
    let names: Vec<_> = again.await?.into_iter().map(|sent| sent.name).collect();
    let trips = names.iter().filter(|name| **name != "pttl").count();
    assert_eq!(trips, 5, "{names:?}");
    assert_eq!(
        of(&server, browser.logout()).await?,
        "read write write",
        "it leaves the list"
    );
    Ok(())
}

/// What the server's clock showed is remembered for a second.
pub(super) async fn most_reads_are_one_command(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let rule = SessionRule::new("web")?;
    let browser = Browser::new(&SessionLayer::new(backend, rule)?);
    browser.insert("n", 1).await.text()?;
    let (sent, time) = timed(server.commands_during(async {
        for _ in 0..100 {
            browser.get("n").await.text()?;
        }
        Ok(())
    }))
    .await;
    let sent = sent?;
    let count = |name: &str| sent.iter().filter(|sent| sent.name == name).count();
    let seconds = usize::try_from(time.as_secs())? + 1;
    assert_eq!(count("get"), 100);
    assert!(count("pttl") <= seconds, "{} in {time:?}", count("pttl"));
    Ok(())
}

pub(super) async fn a_logout_everywhere_is_two_round_trips_and_three_a_session(
    _: &Servers,
) -> Result<()> {
    let (server, _, browser) = own().await?;
    let sessions = browser.sessions();
    for count in [0, 1, 4] {
        for _ in 0..count {
            browser.fork().login("ada").await.text()?;
        }
        let sent = trips(&server, async {
            assert_eq!(sessions.destroy_all("ada").await?, count);
            Ok(())
        });
        let expected = "write write".to_owned() + &" read write write".repeat(count);
        assert_eq!(sent.await?, expected);
    }
    Ok(())
}

/// Reads as fast as it can: a write each `touch_every`, and none in between.
pub(super) async fn reading_writes_once_in_touch_every(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let rule = SessionRule::new("web")?.with_touch_every(TOUCH_EVERY)?;
    let browser = Browser::new(&layer_of(&backend, rule)?);
    for writes_a_slide in [1, 2] {
        // The user's list has to live on as well.
        if writes_a_slide == 2 {
            browser.login("ada").await.text()?;
        }
        let (sent, time) = timed(server.commands_during(async {
            browser.insert("n", writes_a_slide).await.text()?;
            let reads = async {
                loop {
                    assert_eq!(browser.get("n").await.text()?, writes_a_slide.to_string());
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            };
            match tokio::time::timeout(TOUCH_EVERY * 5, reads).await {
                Ok(failed) => failed,
                Err(_) => Ok(()),
            }
        }))
        .await;
        let sent = sent?;
        let count = |name: &str| sent.iter().filter(|sent| sent.name == name).count();
        let slides = (count("evalsha") - 1) / usize::try_from(writes_a_slide)?;
        let most = time.as_millis() / TOUCH_EVERY.as_millis();
        assert!(slides >= 2, "{slides} slides in {time:?}");
        assert!(slides as u128 <= most, "{slides} slides in {time:?}");
        assert!(count("get") > 2 * slides, "most reads write nothing");
    }
    Ok(())
}

/// As if the list had been lost in a failover.
pub(super) async fn a_slide_puts_a_session_back_on_its_users_list(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let rule = SessionRule::new("web")?.with_touch_every(TOUCH_EVERY)?;
    let browser = Browser::new(&layer_of(&backend, rule)?);
    browser.login("ada").await.text()?;
    let pattern = format!("{}:i1:*", backend.namespace());
    let lists = server.call(&["KEYS", &pattern]).await?;
    let list = lists.items().first().ok_or("there is no list")?.to_string();
    server.call(&["DEL", &list]).await?;
    assert_eq!(browser.sessions().devices_of("ada").await?, []);
    tokio::time::sleep(TOUCH_EVERY).await;
    browser.who().await.text()?;
    assert_eq!(browser.sessions().destroy_all("ada").await?, 1);
    assert_eq!(browser.who().await.text()?, "nobody");
    Ok(())
}

const TOUCH_EVERY: Duration = Duration::from_millis(200);
