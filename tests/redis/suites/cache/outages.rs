//! Servers that die or are full.

use std::time::Duration;

use super::site::Site;
use crate::servers::{Result, Servers, eventually, timed};

pub(super) async fn a_killed_server_is_done_without(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    site.one.get("/").await?;
    site.other.get("/").await?;
    site.server.kill()?;
    let mut slowest = Duration::ZERO;
    for _ in 0..100 {
        for instance in [&site.one, &site.other] {
            let (answer, time) = timed(instance.get("/")).await;
            assert_eq!(answer?.status, 200);
            slowest = slowest.max(time);
        }
    }
    eprintln!("cache: without a server the slowest of 200 took {slowest:?}");
    assert!(slowest < BOUND, "{slowest:?}");
    site.server.restart().await?;
    eventually("both store again", async || {
        let here = site.one.get("/").await?;
        let there = site.other.get("/").await?;
        Ok(here.is_hit() && there.is_hit() && here.body == there.body)
    })
    .await
}

pub(super) async fn a_full_server_stores_nothing_and_fails_nothing(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    let stored = site.one.get("/").await?;
    let full = ["CONFIG", "SET", "maxmemory", "1"];
    site.server.call(&full).await?;
    for path in ["/new", "/varies", "/private", "/new"] {
        let (answer, time) = timed(site.one.get(path)).await;
        assert_eq!(answer?.status, 200);
        assert!(time < BOUND, "{path}: {time:?}");
    }
    let again = site.one.get("/").await?;
    assert_eq!(again.status, 200);
    let room = ["CONFIG", "SET", "maxmemory", "0"];
    site.server.call(&room).await?;
    assert!(stored.body.starts_with("call"));
    eventually("it is stored again", async || {
        Ok(site.one.get("/new").await?.is_hit())
    })
    .await
}

/// A tenth of a second for a call, twice, and a busy machine.
const BOUND: Duration = Duration::from_millis(600);
