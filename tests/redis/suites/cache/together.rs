//! Two instances on one server.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::site::{Instance, Site, url};
use crate::servers::{Result, Servers, Topology, eventually};

pub(super) async fn what_one_instance_purges_the_other_stops_using(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    let (one, other) = (&site.one, &site.other);
    one.get("/").await?;
    other.get("/").await?;
    for round in 0..20 {
        let before = one.get("/").await?;
        let is_same = async || Ok(other.get("/").await?.body == before.body);
        eventually("both have the same", is_same).await?;
        if round % 2 == 0 {
            one.purge.tag("page:/").await?;
        } else {
            one.purge.url(url("/")).await?;
        }
        assert_ne!(
            one.get("/").await?.body,
            before.body,
            "the purger, time {round}"
        );
        // The message needs a moment.
        sleep(Duration::from_millis(100)).await;
        assert_ne!(
            other.get("/").await?.body,
            before.body,
            "the other, time {round}"
        );
    }
    Ok(())
}

/// On servers of whatever kind.
pub(super) async fn instances_share_what_is_stored_and_purged(
    servers: &Servers,
    topology: Topology,
) -> Result<()> {
    let [one, other] = Instance::two_at(servers.address(topology).await?).await?;
    for page in 0..8 {
        let path = format!("/{page}");
        eventually("one has what the other has stored", async || {
            let here = one.get(&path).await?;
            let there = other.get(&path).await?;
            Ok(here.is_hit() && there.is_hit() && here.body == there.body)
        })
        .await?;
        let before = one.get(&path).await?;
        if page % 2 == 0 {
            one.purge.tag(format!("page:{path}")).await?;
        } else {
            one.purge.url(url(&path)).await?;
        }
        assert_ne!(one.get(&path).await?.body, before.body, "{path}");
        sleep(AT_WORST).await;
        assert_ne!(other.get(&path).await?.body, before.body, "{path}");
    }
    Ok(())
}

pub(super) async fn a_record_that_nobody_can_read_is_replaced(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    site.one.get("/").await?;
    sleep(Duration::from_millis(200)).await;
    let pattern = format!("{}:p1:*", site.backend.namespace());
    let keys = site.server.call(&["KEYS", &pattern]).await?;
    let key = keys.items().first().ok_or("nothing is stored")?.to_string();
    for cut in ["0 40", "0 9"] {
        let (from, to) = cut.split_once(' ').unwrap_or_default();
        let part = "redis.call('SET', KEYS[1], redis.call('GETRANGE', KEYS[1], ARGV[1], ARGV[2]), 'EX', 60)";
        site.server
            .call(&["EVAL", part, "1", &key, from, to])
            .await?;
        assert_eq!(site.one.get("/").await?.status, 200, "{cut}");
        let claim = format!("it is stored again after {cut}");
        eventually(&claim, async || Ok(site.other.get("/").await?.is_hit())).await?;
    }
    Ok(())
}

pub(super) async fn two_hundred_at_once_on_two_instances_are_one_call(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    site.one.get("/warm").await?;
    site.other.get("/warm").await?;
    let before = site.calls();
    let requests = (0..200).map(|number| {
        let instance = if number % 2 == 0 {
            &site.one
        } else {
            &site.other
        };
        instance.get("/slow")
    });
    let answers = try_join_all(requests).await?;
    assert_eq!(site.calls() - before, 1);
    assert!(answers.iter().all(|answer| answer.body == answers[0].body));
    Ok(())
}

pub(super) async fn what_was_purged_stays_so_when_all_is_flushed(_: &Servers) -> Result<()> {
    let site = Site::new().await?;
    let (one, other) = (&site.one, &site.other);
    let first = one.get("/").await?;
    assert_eq!(other.get("/").await?.body, first.body);
    one.purge.tag("page:/").await?;
    site.server.call(&["FLUSHALL"]).await?;
    let second = one.get("/").await?;
    assert_ne!(second.body, first.body);
    assert_ne!(other.get("/").await?.body, first.body);
    one.purge.tag("page:/").await?;
    assert_ne!(one.get("/").await?.body, second.body);
    eventually("it is stored again", async || {
        let here = one.get("/").await?;
        let there = other.get("/").await?;
        Ok(here.is_hit() && there.is_hit() && here.body == there.body)
    })
    .await
}

/// When every instance has heeded a purge.
const AT_WORST: Duration = Duration::from_millis(2_100);
