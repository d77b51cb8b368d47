//! What counters leave behind in Redis.

use std::time::Duration;

use libtest_mimic::Trial;
use tower_stash::{
    backend::{Acquire, Decision, Limit, Quota, Quotas as _, RedisBackend},
    key::{Key, KeyParts},
    testing::ManualClock,
};

use super::connect;
use crate::{
    servers::{Result, Servers, resp::Reply, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "counters":
        Standalone::a_log_forgets_what_no_longer_counts
        Standalone::a_log_takes_thousands_at_once
        Standalone::a_counter_that_cannot_be_read_counts_as_empty
        Standalone::a_refund_moves_no_deadline_and_makes_no_key
        Standalone::two_processes_admit_exactly_the_limit
    )
}

/// A server with one counter, whose clock the test moves.
struct Counter {
    server: Server,
    backend: RedisBackend,
    clock: ManualClock,
    request: Acquire,
}

impl Counter {
    async fn start(quota: Quota) -> Result<Self> {
        let server = Server::start().await?;
        let clock = ManualClock::new();
        let backend = connect(server.url().into())
            .await?
            .with_quota_clock(clock.clone());
        let subject = Key::custom("counters", &KeyParts::new());
        let request = Acquire::new(subject, [Limit::new("limit", quota)?]);
        Ok(Self {
            server,
            backend,
            clock,
            request,
        })
    }

    async fn take(&self, cost: u64) -> Result<Decision> {
        Ok(self
            .backend
            .acquire(&self.request.clone().with_cost(cost))
            .await?)
    }

    /// The counter's key, with the namespace.
    async fn key(&self) -> Result<String> {
        let keys = self.server.call(&["KEYS", "*"]).await?;
        match keys.items() {
            [key] => Ok(key.to_string()),
            keys => Err(format!("{} keys instead of one", keys.len()).into()),
        }
    }

    /// The reply to a command about the counter's key.
    async fn ask(&self, command: &str) -> Result<Reply> {
        self.server.call(&[command, &self.key().await?]).await
    }
}

const MINUTE: Duration = Duration::from_secs(60);

async fn a_log_forgets_what_no_longer_counts(_: &Servers) -> Result<()> {
    let counter = Counter::start(Quota::sliding(100, MINUTE)).await?;
    counter.take(40).await?;
    counter.clock.advance(MINUTE / 2);
    counter.take(2).await?;
    assert_eq!(counter.ask("LLEN").await?.to_string(), "42");
    counter.clock.advance(MINUTE / 2);
    counter.take(1).await?;
    assert_eq!(counter.ask("LLEN").await?.to_string(), "3");
    Ok(())
}

async fn a_log_takes_thousands_at_once(_: &Servers) -> Result<()> {
    let counter = Counter::start(Quota::log(10_000, MINUTE)).await?;
    assert!(counter.take(9_999).await?.admitted);
    assert!(!counter.take(2).await?.admitted);
    assert!(counter.take(1).await?.admitted);
    assert_eq!(counter.ask("LLEN").await?.to_string(), "10000");
    Ok(())
}

async fn a_counter_that_cannot_be_read_counts_as_empty(_: &Servers) -> Result<()> {
    let quotas = [
        Quota::fixed(2, MINUTE),
        Quota::counter(2, MINUTE),
        Quota::buckets(2, MINUTE, 10),
        Quota::token_bucket(2, MINUTE),
    ];
    for quota in quotas {
        let counter = Counter::start(quota).await?;
        counter.take(2).await?;
        let key = counter.key().await?;
        counter
            .server
            .call(&["SET", &key, "f9:not:ours", "KEEPTTL"])
            .await?;
        let decision = counter.take(1).await?;
        assert_eq!((decision.admitted, decision.limits[0].remaining), (true, 1));
    }
    Ok(())
}

async fn a_refund_moves_no_deadline_and_makes_no_key(_: &Servers) -> Result<()> {
    let quotas = [
        Quota::fixed(5, MINUTE),
        Quota::counter(5, MINUTE),
        Quota::sliding(5, MINUTE),
        Quota::buckets(5, MINUTE, 10),
        Quota::token_bucket(5, MINUTE),
    ];
    for quota in quotas {
        let counter = Counter::start(quota).await?;
        let receipt = counter.take(3).await?.receipt(&counter.request);
        counter.take(1).await?;
        let key = counter.key().await?;
        counter.server.call(&["PEXPIRE", &key, "5000"]).await?;
        counter.backend.refund(&receipt).await?;
        assert_eq!(counter.take(0).await?.limits[0].remaining, 4);
        let left: u64 = counter.ask("PTTL").await?.to_string().parse()?;
        assert!(left <= 5_000, "{left} ms");

        counter.server.call(&["DEL", &key]).await?;
        counter.backend.refund(&receipt).await?;
        assert_eq!(counter.server.call(&["DBSIZE"]).await?.to_string(), "0");
    }
    Ok(())
}

/// Two clients with connections of their own, as two processes have.
async fn two_processes_admit_exactly_the_limit(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let first = connect(server.url().into()).await?;
    let second = connect(server.url().into())
        .await?
        .with_namespace(first.namespace())?;
    let quotas = [
        Quota::sliding(97, MINUTE),
        Quota::counter(97, MINUTE),
        Quota::fixed(97, MINUTE),
        Quota::buckets(97, MINUTE, 10),
        Quota::token_bucket(97, 600 * MINUTE),
    ];
    for (round, quota) in quotas.into_iter().enumerate() {
        let subject = Key::custom("exactly", &KeyParts::new().with(round as u64));
        let request = Acquire::new(subject, [Limit::new("limit", quota)?]);
        let hits: Vec<_> = (0..16)
            .map(|task| {
                let backend = if task % 2 == 0 {
                    first.clone()
                } else {
                    second.clone()
                };
                let request = request.clone();
                tokio::spawn(async move {
                    let mut admitted = 0;
                    for _ in 0..20 {
                        admitted += u64::from(backend.acquire(&request).await?.admitted);
                    }
                    Ok::<_, tower_stash::backend::BackendError>(admitted)
                })
            })
            .collect();
        let mut admitted = 0;
        for hits in hits {
            admitted += hits.await??;
        }
        assert_eq!(admitted, 97, "{quota:?}");
    }
    Ok(())
}
