//! What a counter takes of Redis' memory, by its own account.
//!
//! `cargo bench --bench memory_per_key --all-features` prints it.

use std::{sync::Arc, time::Duration};

use tower_stash::{
    backend::{Acquire, Limit, Quota, Quotas as _, RedisBackend},
    key::{Key, KeyParts},
};

use self::servers::{Result, standalone::Server};

#[path = "../tests/redis/servers/mod.rs"]
#[allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::large_futures,
    reason = "shared with the tests, which need more of it"
)]
mod servers;
mod support;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if !support::is_asked_for() {
        return Ok(());
    }
    let server = Server::start().await?;
    let backend = RedisBackend::connect(server.url()).await?;
    println!("{}, namespace \"stash\"", server.version().await?);
    support::heading(&[
        &"one counter",
        &"bytes",
        &"empty string there",
        &"above that",
    ]);
    for (case, quota, hits) in cases() {
        let weight = weigh(&server, &backend, quota, hits).await?;
        print_row(case, &weight, hits);
    }
    backend.close().await;
    Ok(())
}

fn cases() -> [(&'static str, Quota, u64); 6] {
    let minute = Duration::from_secs(60);
    let (most, many) = (1_000_000, 999_999);
    [
        ("fixed, 1 hit", Quota::fixed(most, minute), 1),
        ("fixed, 999,999 hits", Quota::fixed(most, minute), many),
        ("counter, 1 hit", Quota::counter(most, minute), 1),
        ("counter, 999,999 hits", Quota::counter(most, minute), many),
        ("log, 1 hit", Quota::sliding(1_000, minute), 1),
        ("log, 1,000 hits", Quota::sliding(1_000, minute), 1_000),
    ]
}

/// What `MEMORY USAGE` says.
struct Weight {
    counter: i64,
    /// Of an empty string under the same key: key, value object and entry of the table.
    empty: i64,
}

async fn weigh(server: &Server, backend: &RedisBackend, quota: Quota, hits: u64) -> Result<Weight> {
    server.call(&["FLUSHALL"]).await?;
    let subject = Key::custom("memory", &KeyParts::new().with("203.0.113.7"));
    let limits: Arc<[Limit]> = [Limit::new(("api", "burst"), quota)?].into();
    // A list that grows hit by hit is laid out as it is in production.
    let calls = if hits <= 1_000 { hits } else { 1 };
    for _ in 0..calls {
        let request = Acquire::new(subject.clone(), Arc::clone(&limits)).with_cost(hits / calls);
        let decision = backend.acquire(&request).await?;
        if !decision.admitted {
            return Err("a hit was denied".into());
        }
    }
    let keys = server.call(&["KEYS", "*"]).await?;
    let [key] = keys.items() else {
        return Err("there is more than one key".into());
    };
    let key = key.to_string();
    let counter = usage(server, &key).await?;
    server.call(&["SET", &key, ""]).await?;
    let empty = usage(server, &key).await?;
    Ok(Weight { counter, empty })
}

async fn usage(server: &Server, key: &str) -> Result<i64> {
    let usage = server
        .call(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
        .await?;
    Ok(usage.to_string().parse()?)
}

fn print_row(case: &str, weight: &Weight, hits: u64) {
    let Weight { counter, empty } = *weight;
    let above = counter - empty;
    let above = if hits == 1_000 {
        let hundredths = above * 100 / 1_000;
        format!(
            "{above} ({}.{:02} a hit)",
            hundredths / 100,
            hundredths % 100
        )
    } else {
        above.to_string()
    };
    support::row(&[&case, &counter, &empty, &above]);
}
