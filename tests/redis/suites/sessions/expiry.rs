//! Time-outs, on the clock of a real server.

use std::time::Duration;

use tokio::time::sleep;
use tower_stash::{backend::RedisBackend, session::SessionRule};

use super::app::{Browser, layer_of, own};
use crate::servers::{Result, Servers, eventually, standalone::Server};

/// The server's time in milliseconds, rounded down.
async fn now(server: &Server) -> Result<i64> {
    let time = server.call(&["TIME"]).await?;
    let [seconds, micros] = time.items() else {
        return Err(format!("{time} is no time").into());
    };
    let [seconds, micros]: [i64; 2] = [seconds.to_string().parse()?, micros.to_string().parse()?];
    Ok(seconds * 1_000 + micros / 1_000)
}

/// How long the only session has left, in milliseconds.
async fn left(server: &Server, backend: &RedisBackend) -> Result<i64> {
    let pattern = format!("{}:s1:*", backend.namespace());
    let keys = server.call(&["KEYS", &pattern]).await?;
    let [key] = keys.items() else {
        return Ok(-2);
    };
    let left = server.call(&["PTTL", &key.to_string()]).await?;
    Ok(left.to_string().parse()?)
}

/// A browser with a session of these time-outs that has just begun, and when it began at the
/// earliest and the latest.
async fn begun(
    server: &Server,
    backend: &RedisBackend,
    [idle, absolute]: [Duration; 2],
) -> Result<(Browser, [i64; 2])> {
    let rule = SessionRule::new("web")?
        .with_anonymous_timeouts(idle, absolute)?
        .with_touch_every(TOUCH_EVERY)?;
    let browser = Browser::new(&layer_of(backend, rule)?);
    let earliest = now(server).await?;
    browser.insert("n", 1).await.text()?;
    Ok((browser, [earliest, now(server).await?]))
}

pub(super) async fn an_unused_session_ends_and_a_used_one_lives(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let (browser, [_, began]) = begun(&server, &backend, [IDLE, HOUR]).await?;
    let idle = i64::try_from(IDLE.as_millis())?;
    // Longer than it lives without being used.
    while now(&server).await? < began + idle + 300 {
        sleep(TOUCH_EVERY).await;
        assert_eq!(browser.get("n").await.text()?, "1");
        let left = left(&server, &backend).await?;
        assert!(left <= idle, "{left} ms");
        let least = idle - i64::try_from(TOUCH_EVERY.as_millis())? - SLACK;
        assert!(left >= least, "{left} ms after it was used");
    }
    let used = now(&server).await?;
    // Nobody asks the session anything, though they come.
    while now(&server).await? <= used + idle {
        browser.untouched().await.text()?;
        sleep(TOUCH_EVERY).await;
    }
    let end = browser.get("n").await;
    assert_eq!(end.cookies, [""; 0]);
    assert_eq!(end.text()?, "none");
    assert_eq!(left(&server, &backend).await?, -2);
    let cookie = browser.cookie();
    browser.insert("n", 2).await.text()?;
    assert_ne!(browser.cookie(), cookie, "a session of its own");
    Ok(())
}

pub(super) async fn no_use_carries_a_session_over_its_deadline(_: &Servers) -> Result<()> {
    let (server, backend, _) = own().await?;
    let (browser, [earliest, latest]) = begun(&server, &backend, [IDLE, ABSOLUTE]).await?;
    let absolute = i64::try_from(ABSOLUTE.as_millis())?;
    let mut reads = 0;
    loop {
        let before = now(&server).await?;
        // Every other request writes, which must not carry it further either.
        let read = match reads % 2 {
            0 => browser.get("n").await.text()?,
            _ => browser
                .ask(async |session| {
                    let n: Option<i64> = session.get("n").await?;
                    if n.is_some() {
                        session.insert("written", reads).await?;
                    }
                    Ok(n.map_or_else(|| "none".to_owned(), |n| n.to_string()))
                })
                .await
                .text()?,
        };
        let after = now(&server).await?;
        if after < earliest + absolute - SLACK {
            assert_eq!(read, "1", "{} ms early", earliest + absolute - after);
            // A write on its way keeps the record for as long; who reads it then finds nothing.
            let most = latest + absolute - before + SLACK;
            let left = left(&server, &backend).await?;
            assert!(left <= most, "{left} ms of {most}");
        }
        if before > latest + absolute {
            assert_eq!(read, "none", "{} ms late", before - latest - absolute);
            break;
        }
        reads += 1;
        sleep(Duration::from_millis(20)).await;
    }
    eventually("the record is gone", async || {
        Ok(left(&server, &backend).await? == -2)
    })
    .await?;
    assert!(reads > 20, "{reads} reads");
    Ok(())
}

/// The shortest that may be.
const IDLE: Duration = Duration::from_secs(2);

const ABSOLUTE: Duration = Duration::from_millis(2_600);
const HOUR: Duration = Duration::from_secs(3_600);
const TOUCH_EVERY: Duration = Duration::from_millis(100);

/// How early a session may end, or less time be left: round trips on a busy machine.
const SLACK: i64 = 150;
