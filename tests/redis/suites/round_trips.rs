//! One call is one command, and no key stays for ever.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use libtest_mimic::Trial;
use tower_stash::{
    backend::{
        Acquire, Broadcast as _, GetOptions, Index as _, KeyValue as _, Limit, Precondition, Put,
        PutOptions, Quota, Quotas as _, RedisBackend,
    },
    clock::{Clock as _, SystemClock},
    key::{Key, KeyParts},
};

use super::{connect, scripts_are_loaded};
use crate::{
    servers::{Result, Servers, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "round_trips":
        Standalone::every_call_is_one_command
        Standalone::a_forgotten_script_costs_one_more_command_and_runs_once
        Standalone::every_key_has_a_time_to_live
        Standalone::a_denied_or_free_call_writes_nothing
    )
}

fn key(name: &str) -> Key {
    Key::custom("round-trips", &KeyParts::new().with(name))
}

fn limits(count: usize) -> Vec<Limit> {
    let quotas = [
        Quota::sliding(3, MINUTE),
        Quota::counter(3, MINUTE),
        Quota::fixed(3, MINUTE),
        Quota::fixed_aligned(3, MINUTE),
    ];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let limits = names
        .into_iter()
        .zip(quotas.into_iter().cycle())
        .take(count);
    limits
        .map(|(name, quota)| Limit::new(name, quota).expect("a valid limit"))
        .collect()
}

/// A server of its own, so that only this backend's commands are counted.
async fn own() -> Result<(Server, RedisBackend)> {
    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    scripts_are_loaded(&server).await?;
    Ok((server, backend))
}

/// The commands that the backend sent during a call, in their order; those that scripts
/// make are not round trips.
async fn commands(server: &Server, call: impl Future<Output = Result<()>>) -> Result<Vec<String>> {
    let sent = server.commands_during(call).await?;
    Ok(sent.into_iter().map(|sent| sent.name).collect())
}

async fn every_call_is_one_command(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let subject = key("subject");
    for count in 1..=8 {
        let request = Acquire::new(subject.clone(), limits(count));
        // A sequence of algorithms that was never asked for is a script that the server does not know.
        backend.acquire(&request).await?;
        let sent = commands(&server, async {
            backend.acquire(&request).await?;
            Ok(())
        });
        assert_eq!(sent.await?, ["evalsha"], "{count} limits");
    }

    let request = Acquire::new(key("refunded"), limits(4));
    let receipt = backend.acquire(&request).await?.receipt(&request);
    let sent = commands(&server, async { Ok(backend.refund(&receipt).await?) });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        Ok(backend.reset(&subject, &limits(8)).await?)
    });
    assert_eq!(sent.await?, ["del"]);

    let record = key("record");
    let sent = commands(&server, async {
        let _ = backend
            .put(&record, Bytes::from("value"), PutOptions::new(MINUTE))
            .await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        backend.get(&record, GetOptions::new()).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["get"]);
    let sent = commands(&server, async {
        backend.touch(&record, MINUTE, Precondition::Any).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["pexpire"]);
    let sent = commands(&server, async {
        backend.delete(&record, Precondition::Any).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["del"]);

    let version = match backend
        .put(&record, Bytes::from("value"), PutOptions::new(MINUTE))
        .await?
    {
        Put::Stored(version) => version,
        Put::Conflict { .. } => return Err("the record could not be written".into()),
    };
    let sent = commands(&server, async {
        let matches = Precondition::Matches(version);
        assert!(backend.touch(&record, MINUTE, matches).await?);
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        let matches = Precondition::Matches(version);
        assert!(backend.delete(&record, matches).await?);
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        Ok(backend.publish(&record, Bytes::from("message")).await?)
    });
    assert_eq!(sent.await?, ["publish"]);

    let index = key("index");
    let deadline = SystemClock.now() + MINUTE;
    let sent = commands(&server, async {
        Ok(backend.add(&index, Bytes::from("m"), deadline).await?)
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        backend.members(&index, None).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    let sent = commands(&server, async {
        backend.remove(&index, Bytes::from("m")).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"]);
    Ok(())
}

async fn a_forgotten_script_costs_one_more_command_and_runs_once(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let request = Acquire::new(key("subject"), limits(1));
    backend.acquire(&request).await?;
    server.call(&["SCRIPT", "FLUSH"]).await?;
    let sent = commands(&server, async {
        let decision = backend.acquire(&request).await?;
        assert_eq!(decision.limits[0].remaining, 1, "counted once");
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha", "eval"]);
    let sent = commands(&server, async {
        backend.acquire(&request).await?;
        Ok(())
    });
    assert_eq!(sent.await?, ["evalsha"], "the server knows it again");
    Ok(())
}

async fn every_key_has_a_time_to_live(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    for count in 1..=8 {
        let request = Acquire::new(key(&format!("subject {count}")), limits(count));
        let receipt = backend.acquire(&request).await?.receipt(&request);
        backend.refund(&receipt).await?;
        backend.acquire(&request.with_cost(3)).await?;
    }
    let _ = backend
        .put(
            &key("record"),
            Bytes::from("value"),
            PutOptions::new(MINUTE),
        )
        .await?;
    backend
        .add(&key("index"), Bytes::from("m"), SystemClock.now() + MINUTE)
        .await?;
    let immortal = "local immortal = {} \
        for _, key in ipairs(redis.call('KEYS', '*')) do \
          local left = redis.call('PTTL', key) \
          if left < 0 or left > 2 * 60000 + 1000 then immortal[#immortal + 1] = key end \
        end \
        return #redis.call('KEYS', '*') .. ' keys, ' .. #immortal .. ' immortal'";
    assert_eq!(
        server.call(&["EVAL", immortal, "0"]).await?,
        "38 keys, 0 immortal"
    );
    Ok(())
}

async fn a_denied_or_free_call_writes_nothing(_: &Servers) -> Result<()> {
    let (server, backend) = own().await?;
    let request = Acquire::new(key("subject"), limits(8));
    backend.acquire(&request.clone().with_cost(3)).await?;
    let before = server.call(&["EVAL", DUMP, "0"]).await?;
    let writes = |stats: BTreeMap<String, u64>| {
        let writing = ["set", "lpush", "ltrim", "del", "pexpire", "lrem"];
        stats
            .into_iter()
            .filter(|(name, _)| writing.contains(&&**name))
            .collect::<Vec<_>>()
    };
    server.call(&["CONFIG", "RESETSTAT"]).await?;
    for cost in [0, 1, 4] {
        let decision = backend.acquire(&request.clone().with_cost(cost)).await?;
        assert_eq!((decision.admitted, decision.taken), (cost == 0, 0));
    }
    let free = Acquire::new(key("nobody"), limits(8)).with_cost(0);
    assert!(backend.acquire(&free).await?.admitted);
    assert_eq!(writes(server.commandstats().await?), []);
    assert_eq!(
        server.call(&["EVAL", DUMP, "0"]).await?.to_string(),
        before.to_string()
    );
    Ok(())
}

/// Every key with what is stored under it.
const DUMP: &str = "local keys = redis.call('KEYS', '*') \
    table.sort(keys) \
    local dump = {} \
    for i, key in ipairs(keys) do dump[i] = key .. redis.sha1hex(redis.call('DUMP', key)) end \
    return table.concat(dump, ' ')";

const MINUTE: Duration = Duration::from_secs(60);
