//! Two instances on one server.

use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::sleep;

use super::site::{Site, url};
use crate::servers::{Result, Servers, eventually};

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
