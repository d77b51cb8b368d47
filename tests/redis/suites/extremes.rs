//! Quotas at their widest, and states that nobody wrote.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::try_join_all;
use libtest_mimic::Trial;
use tower_stash::{
    backend::{
        Acquire, Amendment, BackendError, Ban, DAY, Limit, MINUTE, MemoryBackend, Quota,
        Quotas as _, RedisBackend, Retry, Strikes, Take,
    },
    clock::Timestamp,
    key::{Key, KeyParts},
    testing::ManualClock,
};

use super::connect;
use crate::{
    servers::{Result, Servers, Topology, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "extremes":
        Standalone::the_widest_numbers_are_decided_as_in_memory
        Valkey::the_widest_numbers_are_decided_as_in_memory_by_valkey_too
        Standalone::the_longest_bans_and_strikes_are_told_as_in_memory
        Standalone::a_clock_that_steps_back_is_met_as_in_memory
        Standalone::a_bucket_that_a_refund_filled_is_full_wherever_the_clock_steps
        Standalone::a_state_of_another_form_counts_as_empty
        Standalone::a_state_of_any_numbers_is_no_error
        Standalone::a_log_of_words_counts_as_empty
        Standalone::a_word_in_a_log_is_no_error
        Standalone::forgotten_scripts_admit_exactly_the_limit
        Cluster::limits_strikes_and_sizes_of_a_subject_are_in_one_slot
    )
}

// === Wide numbers ===

/// Each algorithm with the largest limit, the longest window and the heaviest weight that it takes.
fn widest() -> Vec<Quota> {
    let most = 999_999_999_999_999;
    let millis = 366 * 24 * 60 * 60 * 1_000;
    let exact = (1 << 51) - 1;
    vec![
        Quota::fixed(most, YEAR),
        Quota::fixed(most, YEAR).with_weight(u32::MAX),
        Quota::fixed_aligned(most, YEAR).with_offset(YEAR.saturating_sub(MILLISECOND)),
        Quota::counter(exact / millis, YEAR),
        Quota::counter(most, Duration::from_millis(2)),
        Quota::buckets(u32::MAX.into(), YEAR, 100),
        Quota::buckets(u32::MAX.into(), YEAR, 7).with_weight(u32::MAX),
        Quota::log(10_000, YEAR).with_weight(1_000),
        Quota::token_bucket(millis * 1_000, YEAR).with_burst(exact),
        Quota::token_bucket(millis * 1_000, YEAR)
            .with_burst(exact)
            .with_weight(u32::MAX),
        Quota::token_bucket(1, YEAR).with_burst(exact / (millis * 1_000)),
        Quota::token_bucket(7, YEAR),
    ]
}

async fn the_widest_numbers_are_decided_as_in_memory(servers: &Servers) -> Result<()> {
    widest_as_in_memory(servers, Topology::Standalone).await
}

async fn the_widest_numbers_are_decided_as_in_memory_by_valkey_too(
    servers: &Servers,
) -> Result<()> {
    widest_as_in_memory(servers, Topology::Valkey).await
}

async fn widest_as_in_memory(servers: &Servers, topology: Topology) -> Result<()> {
    let pair = Pair::connect(servers, topology).await?;
    for (case, quota) in widest().into_iter().enumerate() {
        let limit = Limit::new("limit", quota)?;
        let calls = quota.capacity() / u64::from(quota.weight());
        let request = Acquire::new(subject(case), [limit]).with_resizing();
        pair.begin();
        for resized in [None, Some(0), Some(1), Some(u64::MAX), Some(quota.limit())] {
            if let Some(to) = resized {
                let lasting = YEAR;
                pair.amend(&request, &Amendment::Resize { limit, to, lasting })
                    .await?;
            }
            let wide = [1 << 40, 1 << 53, 1 << 56, (1 << 56) + 1, u64::MAX];
            let near = [0, 1, calls / 2, calls / 2 + 2, calls, calls + 1];
            for cost in near.into_iter().chain(wide) {
                for take in [Take::All, Take::UpTo] {
                    let request = request.clone().with_cost(cost).with_take(take);
                    pair.decide(&request).await?;
                    pair.clock.advance(YEAR / 97 + Duration::from_micros(999));
                }
            }
        }
    }
    Ok(())
}

async fn the_longest_bans_and_strikes_are_told_as_in_memory(servers: &Servers) -> Result<()> {
    let pair = Pair::connect(servers, Topology::Standalone).await?;
    let limits = [Limit::new("limit", Quota::fixed(1, YEAR))?];
    for (case, after) in [(100, u32::MAX), (101, 1 << 24), (102, 2)] {
        let strikes = Strikes::new("strikes", Ban::after(after).within(YEAR).lasting(YEAR))?;
        let request = Acquire::new(subject(case), limits)
            .with_strikes(strikes)
            .with_resizing();
        pair.begin();
        for _ in 0..4 {
            pair.decide(&request).await?;
            pair.clock.advance(DAY);
        }
        let lasting = YEAR;
        pair.amend(&request, &Amendment::Ban { strikes, lasting })
            .await?;
        for _ in 0..2 {
            pair.decide(&request).await?;
            // So far back that the ban is a whole one ahead.
            pair.clock.set(BEGIN - 362 * DAY);
        }
    }
    Ok(())
}

/// To a microsecond: up to where a state is kept, and from where it counts as empty.
async fn a_clock_that_steps_back_is_met_as_in_memory(servers: &Servers) -> Result<()> {
    let pair = Pair::connect(servers, Topology::Standalone).await?;
    let edges = [MILLISECOND, HALF_HOUR, 2 * HALF_HOUR];
    let steps = edges.into_iter().flat_map(|edge| {
        let beside = [Duration::from_micros(1), MILLISECOND];
        let before = beside.map(|less| edge.saturating_sub(less));
        before
            .into_iter()
            .chain([edge])
            .chain(beside.map(|more| edge + more))
    });
    let mut case = 1_000;
    for quota in EACH.into_iter().chain([LOG]) {
        for back in steps.clone() {
            // With room for one more after the step, and without.
            for taken in [LIMIT - 2, LIMIT] {
                case += 1;
                let request = Acquire::new(subject(case), [Limit::new("limit", quota)?]);
                pair.begin();
                pair.decide(&request.clone().with_cost(taken)).await?;
                pair.clock.set(BEGIN - back);
                for cost in [0, 1, LIMIT] {
                    pair.decide(&request.clone().with_cost(cost)).await?;
                }
            }
        }
    }
    Ok(())
}

async fn a_bucket_that_a_refund_filled_is_full_wherever_the_clock_steps(
    servers: &Servers,
) -> Result<()> {
    let pair = Pair::connect(servers, Topology::Standalone).await?;
    let limit = Limit::new("limit", Quota::token_bucket(LIMIT, HALF_HOUR))?;
    let request = Acquire::new(subject(200), [limit]);
    pair.begin();
    let receipt = pair.redis.acquire(&request).await?.receipt(&request);
    pair.clock.advance(MILLISECOND);
    pair.redis.refund(&receipt).await?;
    pair.clock.set(BEGIN - HALF_HOUR / 2);
    let seen = pair.redis.acquire(&request.with_cost(0)).await?;
    assert_eq!(seen.limits[0].remaining, LIMIT);
    Ok(())
}

/// Redis and memory on one clock.
struct Pair {
    redis: RedisBackend,
    memory: MemoryBackend,
    clock: ManualClock,
}

impl Pair {
    async fn connect(servers: &Servers, topology: Topology) -> Result<Self> {
        let clock = ManualClock::new();
        let address = servers.address(topology).await?;
        let redis = connect(address).await?.with_quota_clock(clock.clone());
        Ok(Self {
            redis: redis.with_command_timeout(Duration::from_secs(5)),
            memory: MemoryBackend::new().with_clock(clock.clone()),
            clock,
        })
    }

    fn begin(&self) {
        self.clock.set(BEGIN);
    }

    /// Lets both decide, and compares; then takes back every other time what was taken.
    async fn decide(&self, request: &Acquire) -> Result<()> {
        let in_memory = self.memory.acquire(request).await?;
        let on_redis = self.redis.acquire(request).await?;
        assert_eq!(on_redis, in_memory, "{request:?}");
        if request.cost.is_multiple_of(2) {
            let receipt = on_redis.receipt(request);
            self.memory.refund(&receipt).await?;
            self.redis.refund(&receipt).await?;
        }
        Ok(())
    }

    async fn amend(&self, request: &Acquire, amendment: &Amendment) -> Result<()> {
        self.memory.amend(&request.subject, amendment).await?;
        self.redis.amend(&request.subject, amendment).await?;
        Ok(())
    }
}

fn subject(case: usize) -> Key {
    Key::custom("extremes", &KeyParts::new().with(case as u64))
}

// === Spoilt states ===

/// A server with the counters of one subject, all of them with a strike and a size of their own.
struct Spoilt {
    server: Server,
    backend: RedisBackend,
    request: Acquire,
}

impl Spoilt {
    async fn start(quota: Quota) -> Result<Self> {
        let server = Server::start().await?;
        let backend = connect(server.url().into()).await?;
        let ban = Ban::after(9).within(HALF_HOUR).lasting(HALF_HOUR);
        let limit = Limit::new("limit", quota)?;
        let request = Acquire::new(subject(0), [limit])
            .with_strikes(Strikes::new("strikes", ban)?)
            .with_resizing();
        let resize = Amendment::Resize {
            limit,
            to: LIMIT,
            lasting: HALF_HOUR,
        };
        backend.amend(&request.subject, &resize).await?;
        backend.acquire(&request.clone().with_cost(LIMIT)).await?;
        backend.acquire(&request).await?;
        Ok(Self {
            server,
            backend,
            request,
        })
    }

    /// Makes something of every state that is a string: `make` is Lua for the new
    /// one, of `state` and `n`.
    async fn spoil(&self, make: &str, n: usize) -> Result<()> {
        let script = format!(
            "local n = tonumber(ARGV[1]) \
             for _, key in ipairs(redis.call('KEYS', '*')) do \
               if redis.call('TYPE', key).ok == 'string' then \
                 local state = redis.call('GET', key) \
                 redis.call('SET', key, {make}, 'KEEPTTL') \
               end end"
        );
        self.server
            .call(&["EVAL", &script, "0", &n.to_string()])
            .await?;
        Ok(())
    }

    /// Writes a word in place of this hit of the log.
    async fn put_word_at(&self, index: &str) -> Result<()> {
        let keys = self.server.call(&["KEYS", "*:l*"]).await?;
        let key = keys.items()[0].to_string();
        self.server.call(&["LSET", &key, index, "word"]).await?;
        Ok(())
    }

    /// Asks in every way, and gives what remained at first.
    async fn ask(&self) -> Result<u64> {
        let look = self.request.clone().with_cost(0);
        let looked = self.backend.acquire(&look).await?;
        for cost in [1, 2, 2 * LIMIT] {
            for take in [Take::All, Take::UpTo] {
                let request = self.request.clone().with_cost(cost).with_take(take);
                let decision = self.backend.acquire(&request).await?;
                self.backend.refund(&decision.receipt(&request)).await?;
            }
        }
        Ok(looked.limits[0].remaining)
    }
}

const EACH: [Quota; 5] = [
    Quota::fixed(LIMIT, HALF_HOUR),
    Quota::fixed_aligned(LIMIT, HALF_HOUR),
    Quota::counter(LIMIT, HALF_HOUR),
    Quota::buckets(LIMIT, HALF_HOUR, 3),
    Quota::token_bucket(LIMIT, HALF_HOUR),
];

const LOG: Quota = Quota::log(LIMIT, HALF_HOUR);

async fn a_state_of_another_form_counts_as_empty(_: &Servers) -> Result<()> {
    let forms = [
        ("string.sub(state, 1, n)", 0),
        ("string.sub(state, 1, n)", 1),
        ("string.sub(state, 1, n)", 2),
        ("string.sub(state, 1, n)", 15),
        ("string.sub(state, 1, -2)", 0),
        ("state .. 'x'", 0),
        ("'y' .. string.sub(state, 2)", 0),
        ("string.sub(state, 1, 1) .. '2' .. string.sub(state, 3)", 0),
        ("string.rep(string.char(n), #state)", 0),
        ("string.rep(string.char(n), #state)", 255),
    ];
    for quota in EACH {
        for (make, n) in forms {
            let spoilt = Spoilt::start(quota).await?;
            assert_eq!(spoilt.ask().await?, 0);
            spoilt.spoil(make, n).await?;
            assert_eq!(spoilt.ask().await?, LIMIT, "{quota:?}, {make}, {n}");
        }
    }
    Ok(())
}

async fn a_state_of_any_numbers_is_no_error(_: &Servers) -> Result<()> {
    for quota in EACH.into_iter().chain([LOG]) {
        for byte in [0, 1, 127, 128, 255] {
            for from in [3, 5, 10, 17] {
                let spoilt = Spoilt::start(quota).await?;
                let make = format!(
                    "string.sub(state, 1, {from} - 1) \
                     .. string.rep(string.char(n), #state - {from} + 1)"
                );
                spoilt.spoil(&make, byte).await?;
                // A size that is as large as this would be counted out, one by one.
                let sizes = "for _, key in ipairs(redis.call('KEYS', '*:o*')) do redis.call('DEL', key) end";
                spoilt.server.call(&["EVAL", sizes, "0"]).await?;
                spoilt.ask().await?;
            }
        }
    }
    Ok(())
}

async fn a_log_of_words_counts_as_empty(_: &Servers) -> Result<()> {
    for index in ["0", "-1"] {
        let spoilt = Spoilt::start(LOG).await?;
        spoilt.put_word_at(index).await?;
        assert_eq!(spoilt.ask().await?, LIMIT, "hit {index}");
    }
    Ok(())
}

async fn a_word_in_a_log_is_no_error(_: &Servers) -> Result<()> {
    let mut spoilt = Spoilt::start(LOG).await?;
    let clock = ManualClock::new();
    spoilt.backend = spoilt.backend.with_quota_clock(clock.clone());
    let request = Acquire::new(subject(1), spoilt.request.limits.clone());
    let take = async |cost| {
        spoilt
            .backend
            .acquire(&request.clone().with_cost(cost))
            .await
    };
    spoilt.server.call(&["FLUSHDB"]).await?;
    take(3).await?;
    clock.advance(HALF_HOUR / 2);
    take(2).await?;
    // Which has to leave before two more fit.
    spoilt.put_word_at("3").await?;
    assert_eq!(take(2).await?.retry(), Retry::After(HALF_HOUR));
    clock.advance(HALF_HOUR / 2);
    // Where the search for the oldest hit that counts begins.
    spoilt.put_word_at("2").await?;
    assert_eq!(take(0).await?.limits[0].remaining, 3);
    Ok(())
}

// === Scripts ===

async fn forgotten_scripts_admit_exactly_the_limit(_: &Servers) -> Result<()> {
    let server = Arc::new(Server::start().await?);
    let backend = connect(server.url().into()).await?;
    let backend = backend.with_command_timeout(Duration::from_secs(5));
    let is_done = Arc::new(AtomicBool::new(false));
    let forgetting = tokio::spawn({
        let (server, is_done) = (Arc::clone(&server), Arc::clone(&is_done));
        async move {
            while !is_done.load(Ordering::Relaxed) {
                server.call(&["SCRIPT", "FLUSH"]).await?;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        }
    });
    let limits = [
        Limit::new("log", Quota::log(97, HALF_HOUR))?,
        Limit::new("fixed", Quota::fixed(97, HALF_HOUR))?,
        Limit::new("bucket", Quota::token_bucket(97, YEAR))?,
    ];
    let request = &Acquire::new(subject(0), limits).with_resizing();
    let hits = (0..16).map(async |_| {
        let mut admitted = 0;
        for _ in 0..20 {
            admitted += u64::from(backend.acquire(request).await?.admitted);
        }
        Ok::<_, BackendError>(admitted)
    });
    let admitted: u64 = try_join_all(hits).await?.into_iter().sum();
    is_done.store(true, Ordering::Relaxed);
    forgetting.await??;
    assert_eq!(admitted, 97);
    Ok(())
}

async fn limits_strikes_and_sizes_of_a_subject_are_in_one_slot(servers: &Servers) -> Result<()> {
    let backend = connect(servers.address(Topology::Cluster).await?).await?;
    let ban = Ban::after(1).within(MINUTE).lasting(MINUTE);
    for case in 0..20 {
        let limits = EACH.map(|quota| Limit::new("limit", quota));
        let limits = limits
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let resize = Amendment::Resize {
            limit: limits[4],
            to: 2,
            lasting: MINUTE,
        };
        let request = Acquire::new(subject(case), limits)
            .with_strikes(Strikes::new("strikes", ban)?)
            .with_resizing();
        backend.amend(&request.subject, &resize).await?;
        let decision = backend.acquire(&request.clone().with_cost(2)).await?;
        assert!(decision.admitted);
        backend.refund(&decision.receipt(&request)).await?;
        let decision = backend.acquire(&request.clone().with_cost(3)).await?;
        assert!(decision.banned.is_some(), "{decision:?}");
    }
    Ok(())
}

const LIMIT: u64 = 5;

/// As long that nothing ends while a test runs, but for an aligned window now and then.
const HALF_HOUR: Duration = Duration::from_secs(30 * 60);

/// The longest window.
const YEAR: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const MILLISECOND: Duration = Duration::from_millis(1);

/// 2026-01-01, and a fraction.
const BEGIN: Timestamp = Timestamp::from_micros(1_767_225_600_123_456);
