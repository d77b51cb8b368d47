//! What each request costs, counted where it arrives.

use std::time::Duration;

use tokio::time::sleep;
use tower_stash::cache::OutcomeKind;

use super::site::{Answer, Instance, Site, url};
use crate::servers::{Result, Servers};

impl Site {
    /// What a GET costs, and its answer; it is known already what was purged.
    async fn trips(&self, instance: &Instance, path: &str) -> Result<(Vec<String>, Answer)> {
        self.trips_in(instance, path, "en").await
    }

    async fn trips_in(
        &self,
        instance: &Instance,
        path: &str,
        language: &str,
    ) -> Result<(Vec<String>, Answer)> {
        is_current(instance).await?;
        let mut answer = None;
        let sent = self.commands(async {
            answer = Some(instance.get_in(path, language).await?);
            Ok(())
        });
        let sent = Box::pin(sent).await?;
        Ok((sent, answer.ok_or("no answer")?))
    }
}

/// The instance has just asked what was purged, and is not to ask again for half a second.
async fn is_current(instance: &Instance) -> Result<()> {
    sleep(Duration::from_millis(600)).await;
    instance.get("/warm").await?;
    sleep(Duration::from_millis(100)).await;
    Ok(())
}

pub(super) async fn a_request_makes_no_more_round_trips_than_it_must(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    let (one, other) = (&site.one, &site.other);
    one.get("/warm").await?;

    let (sent, answer) = site.trips(one, "/").await?;
    assert_eq!(sent, ["get", "evalsha", "evalsha"], "a miss: {answer:?}");
    let (sent, answer) = site.trips(one, "/").await?;
    assert!(answer.is_hit(), "{answer:?}");
    assert_eq!(sent, ["get"], "a hit");
    other.get("/warm").await?;
    let (sent, answer) = site.trips(other, "/").await?;
    assert!(answer.is_hit(), "{answer:?}");
    assert_eq!(sent, ["get"], "another's");

    let (sent, _) = site.trips(one, "/varies").await?;
    assert_eq!(
        sent,
        ["get", "evalsha", "evalsha", "evalsha"],
        "the first that varies"
    );
    let (sent, answer) = site.trips(one, "/varies").await?;
    assert!(
        answer.is_hit() && sent.len() <= 2,
        "{sent:?} for {answer:?}"
    );
    let (sent, answer) = site.trips_in(one, "/varies", "de").await?;
    assert_eq!(answer.kind, Some(OutcomeKind::Miss));
    assert!(sent.len() <= 5, "another variant: {sent:?}");

    let (sent, _) = site.trips(one, "/private").await?;
    assert_eq!(
        sent,
        ["get", "evalsha", "evalsha"],
        "the first that is not stored"
    );
    let (sent, _) = site.trips(one, "/private").await?;
    assert!(sent.len() <= 2, "hit for miss, remembered or not: {sent:?}");
    sleep(Duration::from_secs(1)).await;
    let (sent, _) = site.trips(one, "/private").await?;
    assert_eq!(sent, ["get", "evalsha"], "hit for miss");

    one.get("/stale").await?;
    sleep(Duration::from_millis(1_100)).await;
    let (sent, answer) = site.trips(one, "/stale").await?;
    assert_eq!(answer.kind, Some(OutcomeKind::Stale));
    // The client waits for the first; the others fetch it anew.
    assert_eq!(sent, ["get", "evalsha", "evalsha"], "a stale one");
    Ok(())
}

pub(super) async fn a_purge_is_three_round_trips_and_of_a_url_two(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    let one = &site.one;
    one.get("/").await?;
    for round in 0..2 {
        is_current(one).await?;
        let sent = site.commands(async { Ok(one.purge.tag("page:/").await?) });
        assert_eq!(
            sent.await?,
            ["evalsha", "evalsha", "publish"],
            "a tag, time {round}"
        );
        is_current(one).await?;
        let sent = site.commands(async { Ok(one.purge.url(url("/")).await?) });
        assert_eq!(sent.await?, ["evalsha", "publish"], "a URL, time {round}");
    }
    Ok(())
}

pub(super) async fn there_are_two_polls_a_second(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    site.one.get("/").await?;
    let sent = site.commands(async {
        for _ in 0..100 {
            assert!(site.one.get("/").await?.is_hit());
            sleep(Duration::from_millis(30)).await;
        }
        Ok(())
    });
    let sent = Box::pin(sent).await?;
    let polls = sent.iter().filter(|name| *name == "evalsha").count();
    let hits = sent.iter().filter(|name| *name == "get").count();
    assert_eq!(hits, 100);
    // Each takes a little longer than 30 ms.
    assert!((3..=10).contains(&polls), "{polls} polls");
    Ok(())
}

pub(super) async fn every_key_ends(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    for path in ["/", "/varies", "/private", "/stale"] {
        site.one.get(path).await?;
    }
    site.one.purge.tag("page:/").await?;
    site.one.purge.url(url("/")).await?;
    site.one.purge.soft().all().await?;
    sleep(Duration::from_millis(200)).await;
    let keys = site.server.call(&["KEYS", "*"]).await?;
    let mut kinds = Vec::new();
    for key in keys.items() {
        let key = key.to_string();
        let left: i64 = site
            .server
            .call(&["PTTL", &key])
            .await?
            .to_string()
            .parse()?;
        assert!((1..=26 * HOUR).contains(&left), "{key}: {left} ms");
        let kind = key.strip_prefix(site.backend.namespace()).unwrap_or(&key);
        kinds.push(kind.split(':').nth(1).unwrap_or_default().to_owned());
    }
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds, ["f1", "j1", "p1", "t1", "v1"]);
    Ok(())
}

pub(super) async fn what_is_stored_of_a_response_is_little_more_than_its_body(
    _: &Servers,
) -> Result<()> {
    let site = Site::new().await?;
    site.one.get("/long").await?;
    sleep(Duration::from_millis(200)).await;
    let pattern = format!("{}:p1:*", site.backend.namespace());
    let keys = site.server.call(&["KEYS", &pattern]).await?;
    let key = keys.items().first().ok_or("nothing is stored")?.to_string();
    let len: usize = site
        .server
        .call(&["STRLEN", &key])
        .await?
        .to_string()
        .parse()?;
    let usage = site
        .server
        .call(&["MEMORY", "USAGE", &key])
        .await?
        .to_string();
    eprintln!("cache: a response of 1 KiB has {len} bytes and takes {usage}");
    assert!(len <= 1_024 + 250, "{len} bytes");
    Ok(())
}

/// In milliseconds.
const HOUR: i64 = 3_600_000;
