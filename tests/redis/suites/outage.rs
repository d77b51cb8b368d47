//! Bad days: what a call is answered while Redis is away, and that all comes back by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use libtest_mimic::Trial;
use tokio::time::timeout;
use tower_stash::{
    backend::{
        Acquire, BackendError, BackendErrorKind, Broadcast as _, KeyValue as _, Limit, PutOptions,
        Quota, Quotas as _, RedisBackend, Signal,
    },
    key::{Key, KeyParts},
};

use super::connect;
use crate::{
    servers::{
        Result, Servers, eventually,
        proxy::{Network, Proxy},
        sentinel::Sentinel,
        standalone::Server,
        timed,
    },
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "outage":
        Standalone::a_refused_connection_is_an_error_at_once
        Standalone::a_hung_server_costs_one_time_out_and_comes_back
        Standalone::a_paused_client_list_costs_one_time_out_and_comes_back
        Standalone::a_killed_server_fails_calls_in_time_and_comes_back
        Standalone::killed_connections_come_back
        Standalone::a_flushed_script_cache_under_load_fails_no_call
        Standalone::a_full_server_rejects_and_serves_again_when_there_is_room
        Standalone::a_lost_reply_is_a_time_out_that_may_have_been_applied
        Standalone::no_call_is_applied_twice_while_connections_break
        Standalone::a_subscription_tells_the_gap
        Standalone::a_closed_backend_answers_at_once
        Sentinel::a_failover_is_followed
    )
}

async fn own() -> Result<(Server, RedisBackend)> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    Ok((server, backend))
}

fn hit() -> Acquire {
    hit_of("subject")
}

/// A hit of this subject's.
fn hit_of(subject: &str) -> Acquire {
    let quota = Quota::fixed(1_000_000, Duration::from_secs(3_600));
    let limit = Limit::new("outage", quota);
    Acquire::new(key(subject), [limit.expect("a valid limit")])
}

fn key(name: &str) -> Key {
    Key::custom("outage", &KeyParts::new().with(name))
}

/// How many hits were counted.
async fn counted(backend: &RedisBackend) -> Result<u64> {
    counted_of(backend, "subject").await
}

/// How many hits of this subject's were counted.
async fn counted_of(backend: &RedisBackend, subject: &str) -> Result<u64> {
    let seen = backend.acquire(&hit_of(subject).with_cost(0)).await?;
    Ok(1_000_000 - seen.limits[0].remaining)
}

/// The error of one hit, which comes within the time-out and a little.
async fn fails_in_time(backend: &RedisBackend) -> Result<BackendError> {
    let answer = timeout(COMMAND_TIMEOUT + GRACE, backend.acquire(&hit())).await;
    match answer.map_err(|_| "no answer within the time-out")? {
        Ok(_) => Err("the call succeeded".into()),
        Err(error) => Ok(error),
    }
}

async fn comes_back(backend: &RedisBackend) -> Result<()> {
    eventually("calls succeed again", async || {
        timeout(COMMAND_TIMEOUT + GRACE, backend.acquire(&hit()))
            .await
            .map_err(|_| "no answer within the time-out")??;
        Ok(true)
    })
    .await
}

async fn a_refused_connection_is_an_error_at_once(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.kill()?;
    let refused = timeout(Duration::from_secs(2), connect(server.url().into())).await?;
    assert!(refused.is_err());
    Ok(())
}

async fn a_hung_server_costs_one_time_out_and_comes_back(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    backend.acquire(&hit()).await?;
    server.pause()?;
    for _ in 0..8 {
        fails_in_time(&backend).await?;
    }
    server.resume()?;
    comes_back(&backend).await
}

async fn a_paused_client_list_costs_one_time_out_and_comes_back(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    server.call(&["CLIENT", "PAUSE", "1000", "ALL"]).await?;
    assert!(fails_in_time(&backend).await?.is_outage());
    comes_back(&backend).await
}

async fn a_killed_server_fails_calls_in_time_and_comes_back(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    backend.acquire(&hit()).await?;
    server.kill()?;
    for _ in 0..8 {
        fails_in_time(&backend).await?;
    }
    server.restart().await?;
    let (back, time) = timed(comes_back(&backend)).await;
    back?;
    eprintln!(
        "outage: back {:.1} s after the restart of a killed server",
        time.as_secs_f64()
    );
    assert_eq!(counted(&backend).await?, 1, "nothing was queued for later");
    Ok(())
}

async fn killed_connections_come_back(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    for _ in 0..5 {
        server.call(&["CLIENT", "KILL", "TYPE", "normal"]).await?;
        comes_back(&backend).await?;
    }
    Ok(())
}

async fn a_flushed_script_cache_under_load_fails_no_call(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let hits: Vec<_> = (0..8)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    backend.acquire(&hit()).await?;
                }
                Ok::<_, BackendError>(())
            })
        })
        .collect();
    for _ in 0..20 {
        server.call(&["SCRIPT", "FLUSH"]).await?;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for hits in hits {
        hits.await??;
    }
    assert_eq!(counted(&backend).await?, 1_600);
    let whole = server.commandstats().await?.get("eval").copied();
    assert!(
        whole.is_some_and(|calls| calls > 0),
        "no script was missing"
    );
    Ok(())
}

async fn a_full_server_rejects_and_serves_again_when_there_is_room(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    server
        .call(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await?;
    server.call(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    let error = fails_in_time(&backend).await?;
    assert_eq!(error.kind(), BackendErrorKind::Rejected);
    assert!(error.is_outage() && !error.may_have_applied());
    server.call(&["CONFIG", "SET", "maxmemory", "0"]).await?;
    assert!(backend.acquire(&hit()).await?.admitted);
    assert_eq!(counted(&backend).await?, 1);
    Ok(())
}

async fn a_lost_reply_is_a_time_out_that_may_have_been_applied(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let direct = connect(server.url().into()).await?;
    let through = connect(proxy.url().into())
        .await?
        .with_namespace(direct.namespace())?;
    through.acquire(&hit()).await?;
    proxy.set(Network::LosesReplies);
    assert!(fails_in_time(&through).await?.may_have_applied());
    // Were it kept to be sent again, a new connection would do it.
    proxy.set(Network::Cut);
    proxy.set(Network::Passes);
    eventually("there is a new connection", async || {
        counted(&through).await?;
        Ok(true)
    })
    .await?;
    assert_eq!(
        counted(&direct).await?,
        2,
        "applied once, and not sent again"
    );
    Ok(())
}

async fn no_call_is_applied_twice_while_connections_break(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let proxy = Proxy::start(server.port()).await?;
    let direct = connect(server.url().into()).await?;
    let through = connect(proxy.url().into())
        .await?
        .with_namespace(direct.namespace())?;
    let done = Arc::new(AtomicBool::new(false));
    let calls: Vec<_> = (0..8)
        .map(|caller| {
            let (backend, done) = (through.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut calls = Vec::new();
                while !done.load(Ordering::Relaxed) {
                    let subject = format!("call {} of {caller}", calls.len());
                    let result = backend.acquire(&hit_of(&subject)).await;
                    calls.push((subject, result.map(drop)));
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                calls
            })
        })
        .collect();
    for _ in 0..6 {
        // What is cut has been applied, and the client is connected again within
        // the time-out of the calls.
        proxy.set(Network::DelaysReplies(Duration::from_millis(30)));
        tokio::time::sleep(Duration::from_millis(60)).await;
        proxy.set(Network::Cut);
        proxy.set(Network::Passes);
        tokio::time::sleep(COMMAND_TIMEOUT).await;
    }
    done.store(true, Ordering::Relaxed);

    let [mut answered, mut lost, mut applied] = [0; 3];
    for calls in calls {
        for (subject, result) in calls.await? {
            let count = counted_of(&direct, &subject).await?;
            match &result {
                Ok(()) => {
                    answered += 1;
                    assert_eq!(count, 1, "{subject} was answered");
                }
                Err(error) if error.may_have_applied() => {
                    lost += 1;
                    applied += count;
                    assert!(count <= 1, "{subject} was applied {count} times: {error}");
                }
                Err(error) => assert_eq!(count, 0, "{subject} was applied: {error}"),
            }
        }
    }
    eprintln!("outage: {answered} answered, {applied} of {lost} lost ones applied");
    assert!(answered > 0 && lost > 0, "connections broke under calls");
    comes_back(&through).await
}

async fn a_subscription_tells_the_gap(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let channel = key("channel");
    let mut subscription = backend.subscribe(&channel).await?;
    backend.publish(&channel, Bytes::from("before")).await?;
    assert_eq!(
        subscription.next().await,
        Some(Signal::Message(Bytes::from("before")))
    );
    server.call(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
    let signal = timeout(Duration::from_secs(15), subscription.next()).await?;
    assert_eq!(signal, Some(Signal::Reconnected));
    backend.publish(&channel, Bytes::from("after")).await?;
    assert_eq!(
        subscription.next().await,
        Some(Signal::Message(Bytes::from("after")))
    );
    Ok(())
}

async fn a_closed_backend_answers_at_once(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let clone = backend.clone();
    let mut subscription = backend.subscribe(&key("channel")).await?;
    assert!(server.connections().await? >= 2, "one is for subscriptions");
    backend.close().await;
    for backend in [&backend, &clone] {
        let answer = timeout(Duration::from_millis(50), backend.acquire(&hit())).await?;
        let error = answer.err().ok_or("the call succeeded")?;
        assert_eq!(error.kind(), BackendErrorKind::Unavailable);
    }
    assert_eq!(timeout(COMMAND_TIMEOUT, subscription.next()).await?, None);
    eventually("no connection is left", async || {
        Ok(server.connections().await? == 0)
    })
    .await
}

async fn a_failover_is_followed(_: &Servers) -> Result<()> {
    let sentinel = Sentinel::start().await?;
    let backend = connect(sentinel.url().into()).await?;
    let record = key("record");
    for round in 0..2 {
        sentinel.failover().await?;
        eventually("writes succeed again", async || {
            let put = backend.put(
                &record,
                Bytes::from(vec![round]),
                PutOptions::new(Duration::from_secs(60)),
            );
            let _ = put.await?;
            Ok(true)
        })
        .await?;
    }
    sentinel.kill_primary().await?;
    comes_back(&backend).await?;
    Ok(())
}

/// The default.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(250);

/// What a busy machine may add; a second time-out would be longer.
const GRACE: Duration = Duration::from_millis(200);
