//! Clients that the user already has.
#![expect(
    clippy::disallowed_types,
    reason = "here the test is the user with a client of fred's"
)]

use std::time::Duration;

use bytes::Bytes;
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{
        Builder,
        config::{Config, PerformanceConfig, ReconnectPolicy},
    },
};
use libtest_mimic::Trial;
use tower_stash::{
    backend::{
        Acquire, Broadcast as _, GetOptions, KeyValue as _, Limit, PutOptions, Quota, Quotas as _,
        RedisBackend, Signal,
    },
    key::{Key, KeyParts},
};

use super::scripts_are_loaded;
use crate::{
    servers::{Result, Servers, eventually, standalone::Server},
    trial::{Bed, namespace, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "adopted":
        Standalone::a_client_serves_all_capabilities_and_stays_open_on_close
        Standalone::a_pool_serves_while_one_of_its_connections_is_killed
        Standalone::a_client_whose_task_ended_is_replaced
        Standalone::a_pool_reads_a_record_and_its_expiry_over_one_connection
        Standalone::a_client_with_freds_defaults_is_refused_with_what_to_write
    )
}

fn builder(url: &str) -> Result<Builder> {
    let mut builder = Builder::from_config(Config::from_url(url)?);
    builder.set_policy(ReconnectPolicy::new_exponential(0, 100, 5_000, 2));
    builder.set_performance_config(PerformanceConfig {
        default_command_timeout: Duration::from_millis(500),
        ..PerformanceConfig::default()
    });
    Ok(builder)
}

async fn all_capabilities_work(backend: &RedisBackend) -> Result<()> {
    let key = |name| Key::custom("adopted", &KeyParts::new().with(name));
    let minute = Duration::from_secs(60);
    let _ = backend
        .put(
            &key("record"),
            Bytes::from("value"),
            PutOptions::new(minute),
        )
        .await?;
    let entry = backend.get(&key("record"), GetOptions::new()).await?;
    assert_eq!(entry.map(|entry| entry.value), Some(Bytes::from("value")));
    let limit = Limit::new("adopted", Quota::per_minute(100))?;
    assert!(
        backend
            .acquire(&Acquire::new(key("subject"), [limit]))
            .await?
            .admitted
    );
    let mut subscription = backend.subscribe(&key("channel")).await?;
    backend
        .publish(&key("channel"), Bytes::from("message"))
        .await?;
    assert_eq!(
        subscription.next().await,
        Some(Signal::Message(Bytes::from("message")))
    );
    Ok(())
}

async fn a_client_serves_all_capabilities_and_stays_open_on_close(servers: &Servers) -> Result<()> {
    let server = servers.standalone().await?;
    let client = builder(&server.url())?.build()?;
    client.init().await?;
    let backend = RedisBackend::from_client(client.clone())?.with_namespace(&namespace())?;
    all_capabilities_work(&backend).await?;
    backend.close().await;
    client.ping::<()>(None).await?;
    client.quit().await?;
    Ok(())
}

async fn a_client_whose_task_ended_is_replaced(servers: &Servers) -> Result<()> {
    let client = builder(&servers.standalone().await?.url())?.build()?;
    let task = client.init().await?;
    let backend = RedisBackend::from_client(client)?.with_namespace(&namespace())?;
    all_capabilities_work(&backend).await?;
    task.abort();
    let _ = task.await;
    eventually("another client serves", async || {
        all_capabilities_work(&backend).await?;
        Ok(true)
    })
    .await
}

async fn a_pool_serves_while_one_of_its_connections_is_killed(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let pool = builder(&server.url())?.build_pool(3)?;
    pool.init().await?;
    let backend = RedisBackend::from_pool(&pool)?;
    all_capabilities_work(&backend).await?;
    let id = pool
        .next()
        .custom::<u64, _>(
            fred::types::CustomCommand::new_static("CLIENT", 0, false),
            vec!["ID"],
        )
        .await?;
    server
        .call(&["CLIENT", "KILL", "ID", &id.to_string()])
        .await?;
    eventually("all three connections serve again", async || {
        for _ in 0..9 {
            all_capabilities_work(&backend).await?;
        }
        Ok(true)
    })
    .await
}

async fn a_pool_reads_a_record_and_its_expiry_over_one_connection(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let pool = builder(&server.url())?.build_pool(3)?;
    pool.init().await?;
    let backend = RedisBackend::from_pool(&pool)?;
    scripts_are_loaded(&server).await?;
    let record = Key::custom("adopted", &KeyParts::new().with("record"));
    let sent = server
        .commands_during(async {
            backend
                .get(&record, GetOptions::new().with_expiry())
                .await?;
            Ok(())
        })
        .await?;
    let names: Vec<_> = sent.iter().map(|sent| &*sent.name).collect();
    assert_eq!(names, ["get", "pttl"]);
    assert_eq!(sent[0].client, sent[1].client);
    Ok(())
}

async fn a_client_with_freds_defaults_is_refused_with_what_to_write(
    servers: &Servers,
) -> Result<()> {
    let client = Client::new(
        Config::from_url(&servers.standalone().await?.url())?,
        None,
        None,
        None,
    );
    client.init().await?;
    let refusal = RedisBackend::from_client(client)
        .err()
        .ok_or("it was accepted")?
        .to_string();
    assert!(
        refusal.contains("write .set_policy(ReconnectPolicy::"),
        "{refusal}"
    );
    Ok(())
}
