//! What counters leave behind in Redis.

use std::time::Duration;

use libtest_mimic::Trial;
use tower_stash::{
    backend::{
        Acquire, Algorithm, Amendment, Ban, Decision, Limit, MINUTE, Quota, Quotas as _,
        RedisBackend, Strikes,
    },
    clock::Clock as _,
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
        Standalone::a_denial_leaves_every_key_as_it_was
        Standalone::a_denial_by_strikes_writes_the_strike_only
        Standalone::a_banned_subject_writes_nothing
        Standalone::every_key_goes_soon_after_it_stops_to_count
        Standalone::a_key_that_goes_is_missed_by_nobody
        Standalone::exactly_what_remains_passes_at_once
        Standalone::two_processes_admit_exactly_the_limit
        Standalone::a_script_has_room_for_eight_limits_of_any_algorithm
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

    /// The counter and all else there is, as digests of what `DUMP` gives.
    async fn digest(&self) -> Result<String> {
        let all = "local all = redis.call('KEYS', '*') table.sort(all) \
                   for i, key in ipairs(all) do \
                     all[i] = key .. redis.sha1hex(redis.call('DUMP', key)) .. redis.call('PEXPIRETIME', key) \
                   end return table.concat(all, ' ')";
        Ok(self.server.call(&["EVAL", all, "0"]).await?.to_string())
    }

    /// Counts denials as strikes, so many of which ban for ten minutes.
    fn striking(mut self, after: u32) -> Result<Self> {
        let ban = Ban::after(after).within(MINUTE).lasting(10 * MINUTE);
        self.request = self.request.with_strikes(Strikes::new("strikes", ban)?);
        Ok(self)
    }

    /// The reply to a command about the counter's key.
    async fn ask(&self, command: &str) -> Result<Reply> {
        self.server.call(&[command, &self.key().await?]).await
    }
}

/// One of each algorithm, for 5 calls in a minute.
const EACH: [Quota; 7] = [
    Quota::log(5, MINUTE),
    Quota::buckets(5, MINUTE, 7),
    Quota::token_bucket(5, MINUTE),
    Quota::token_bucket(2, MINUTE).with_burst(5),
    Quota::counter(5, MINUTE),
    Quota::fixed(5, MINUTE),
    Quota::fixed_aligned(5, MINUTE),
];

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

/// P8
async fn a_denial_leaves_every_key_as_it_was(_: &Servers) -> Result<()> {
    for quota in EACH {
        let counter = Counter::start(quota).await?;
        counter.take(2).await?;
        counter.clock.advance(MINUTE / 7);
        counter.take(2).await?;
        counter.clock.advance(MINUTE / 7);
        let before = counter.digest().await?;
        for cost in [5, 9, 0] {
            counter.take(cost).await?;
            assert_eq!(counter.digest().await?, before, "{quota:?}, {cost}");
        }
    }
    Ok(())
}

async fn a_denial_by_strikes_writes_the_strike_only(_: &Servers) -> Result<()> {
    for quota in EACH {
        let counter = Counter::start(quota).await?.striking(3)?;
        counter.take(5).await?;
        let before = counter.digest().await?;
        counter.take(1).await?;
        let after = counter.digest().await?;
        let added: Vec<_> = after
            .split(' ')
            .filter(|key| !before.contains(key))
            .collect();
        assert!(
            matches!(added[..], [strikes] if strikes.contains("}:x60000.")),
            "{added:?}"
        );
    }
    Ok(())
}

async fn a_banned_subject_writes_nothing(_: &Servers) -> Result<()> {
    let counter = Counter::start(Quota::fixed(5, MINUTE)).await?.striking(1)?;
    counter.take(6).await?;
    let before = counter.digest().await?;
    assert!(before.contains("}:x60000."), "{before}");
    for cost in [1, 6, 0] {
        counter.take(cost).await?;
        assert_eq!(counter.digest().await?, before);
    }
    Ok(())
}

/// P13
async fn every_key_goes_soon_after_it_stops_to_count(_: &Servers) -> Result<()> {
    for quota in EACH {
        let counter = Counter::start(quota).await?;
        let longest = match quota.algorithm() {
            Algorithm::TokenBucket { burst } => {
                2 * MINUTE * u32::try_from(burst)? / u32::try_from(quota.limit())?
            }
            _ => 2 * MINUTE,
        };
        let mut behind = Duration::ZERO;
        for step in 0..8 {
            counter.clock.advance(MINUTE / 9);
            if step == 5 {
                behind = MINUTE / 2;
                counter.clock.set(counter.clock.now() - behind);
            }
            counter.take(1).await?;
            let left: u64 = counter.ask("PTTL").await?.to_string().parse()?;
            let left = Duration::from_millis(left);
            assert!(
                left <= longest + behind + Duration::from_secs(1),
                "{left:?}, {quota:?}"
            );
        }
    }
    let counter = Counter::start(EACH[0]).await?.striking(2)?;
    let [limit] = *counter.request.limits else {
        unreachable!("it has one")
    };
    let resize = Amendment::Resize {
        limit,
        to: 1,
        lasting: MINUTE,
    };
    counter
        .backend
        .amend(&counter.request.subject, &resize)
        .await?;
    for expected in [61_000, 601_000] {
        counter.take(9).await?;
        let longest = "local most = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                         most = math.max(most, redis.call('PTTL', key)) end return most";
        let left: u64 = counter
            .server
            .call(&["EVAL", longest, "0"])
            .await?
            .to_string()
            .parse()?;
        assert!((expected - 2_000..=expected).contains(&left), "{left} ms");
    }
    Ok(())
}

/// P14
async fn a_key_that_goes_is_missed_by_nobody(_: &Servers) -> Result<()> {
    for quota in EACH {
        for gaps in [0_u32, 1, 4] {
            let counter = Counter::start(quota).await?;
            for _ in 0..4 {
                counter.take(1).await?;
                counter.clock.advance(gaps * MINUTE / 9);
            }
            counter.take(1).await?;
            let left: u64 = counter.ask("PTTL").await?.to_string().parse()?;
            counter.clock.advance(Duration::from_millis(left));
            let state = counter.take(0).await?.limits[0];
            assert_eq!((state.remaining, state.reset), (5, None), "{quota:?}");
        }
    }
    Ok(())
}

/// P9
async fn exactly_what_remains_passes_at_once(_: &Servers) -> Result<()> {
    for quota in EACH {
        let counter = Counter::start(quota).await?;
        for gap in [3_u32, 7, 11, 40] {
            let seen = counter.take(1).await?.limits[0].remaining;
            for _ in 0..seen {
                assert!(counter.take(1).await?.admitted, "{quota:?}");
            }
            assert!(!counter.take(1).await?.admitted, "{quota:?}");
            counter.clock.advance(gap * MINUTE / 16);
        }
    }
    Ok(())
}

/// P12: two clients with connections of their own, as two processes have.
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

async fn a_script_has_room_for_eight_limits_of_any_algorithm(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    let quotas = [
        Quota::log(100, MINUTE),
        Quota::buckets(100, MINUTE, 100),
        Quota::token_bucket(100, MINUTE),
        Quota::counter(100, MINUTE),
        Quota::fixed(100, MINUTE),
        Quota::fixed_aligned(100, MINUTE),
    ];
    let ban = Ban::after(2).within(MINUTE).lasting(MINUTE);
    for quota in quotas {
        let limits = (0..8_u64).map(|number| Limit::new(number, quota));
        let limits = limits.collect::<std::result::Result<Vec<_>, _>>()?;
        let subject = Key::custom("counters", &KeyParts::new().with("eight"));
        let request = Acquire::new(subject, limits)
            .with_strikes(Strikes::new("eight", ban)?)
            .with_resizing();
        let decision = backend.acquire(&request).await?;
        assert!(decision.admitted, "{quota:?}");
        assert!(decision.limits.iter().all(|limit| limit.remaining == 99));
    }
    Ok(())
}
