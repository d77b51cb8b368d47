//! One subject that two clients ask about all the time.

use std::time::Duration;

use futures_util::future::try_join_all;
use libtest_mimic::Trial;
use tower_stash::{
    policy::{KeyExtractor as _, header},
    rate_limit::{Outage, Quota, RateLimitRule, RateLimiter},
};

use super::connect;
use crate::{
    servers::{Result, Servers, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "hot_keys":
        Standalone::two_clients_with_leases_admit_the_limit_at_most_in_few_calls
        Standalone::two_clients_that_coalesce_admit_exactly_the_limit_in_few_calls
    )
}

async fn two_clients_with_leases_admit_the_limit_at_most_in_few_calls(_: &Servers) -> Result<()> {
    let rule = rule(Quota::fixed(LIMIT, MINUTE))?.with_leases(2);
    let (admitted, calls) = rush(rule).await?;
    assert!(admitted <= LIMIT, "{admitted} were admitted");
    assert!(admitted >= LIMIT / 4 * 3, "{admitted} were admitted");
    assert!(
        calls * 5 <= REQUESTS,
        "{calls} calls for {REQUESTS} requests"
    );
    Ok(())
}

async fn two_clients_that_coalesce_admit_exactly_the_limit_in_few_calls(_: &Servers) -> Result<()> {
    let rule = rule(Quota::sliding(LIMIT, MINUTE))?.with_coalescing();
    let (admitted, calls) = rush(rule).await?;
    assert_eq!(admitted, LIMIT);
    assert!(
        calls * 5 <= REQUESTS,
        "{calls} calls for {REQUESTS} requests"
    );
    Ok(())
}

/// Denies what cannot be counted, so that whoever is admitted was counted.
fn rule(quota: Quota) -> Result<RateLimitRule> {
    let rule = RateLimitRule::new("hot", header("x-key").or_shared(), [("minute", quota)])?;
    Ok(rule.with_outage(Outage::Deny))
}

/// How many requests two clients admitted, and how many calls that took.
async fn rush(rule: RateLimitRule) -> Result<(u64, u64)> {
    let server = Server::start().await?;
    let first = connect(server.url().into()).await?;
    let second = connect(server.url().into())
        .await?
        .with_namespace(first.namespace())?;
    let first = RateLimiter::new(first, rule.clone())?;
    let second = RateLimiter::new(second, rule)?;
    let tasks = (0..TASKS).map(|task| {
        let limiter = if task % 2 == 0 { &first } else { &second }.clone();
        tokio::spawn(async move {
            let mut admitted = 0;
            for _ in 0..REQUESTS / TASKS {
                admitted += u64::from(limiter.check("ada", 1).await.admitted);
            }
            admitted
        })
    });
    let admitted = try_join_all(tasks).await?.into_iter().sum();
    let commands = server.commandstats().await?;
    let calls = ["evalsha", "eval"].map(|name| commands.get(name).copied().unwrap_or(0));
    Ok((admitted, calls.into_iter().sum()))
}

const LIMIT: u64 = 500;

const REQUESTS: u64 = 5_000;

/// Requests that are under way at the same time.
const TASKS: u64 = 50;

const MINUTE: Duration = Duration::from_secs(60);
