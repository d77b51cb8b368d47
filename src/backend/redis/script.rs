//! The scripts, and how they are called.

use std::sync::OnceLock;

use fred::{bytes_utils::Str, types::Value, util::sha1_hash};

use super::{RedisBackend, accept, client::error_text, error, reply::Reply, send};
use crate::{backend::Result, clock::monotonic_now};

/// A script that Redis runs as one step.
pub(super) struct Script {
    pub(super) body: &'static str,
    digest: OnceLock<Str>,
}

pub(super) static PUT: Script = Script::new(include_str!("scripts/put.lua"));
pub(super) static DELETE: Script = Script::new(include_str!("scripts/delete.lua"));
pub(super) static TOUCH: Script = Script::new(include_str!("scripts/touch.lua"));
pub(super) static INDEX_ADD: Script = Script::new(include_str!("scripts/index_add.lua"));
pub(super) static INDEX_REMOVE: Script = Script::new(include_str!("scripts/index_remove.lua"));
pub(super) static INDEX_MEMBERS: Script = Script::new(include_str!("scripts/index_members.lua"));
pub(super) static ACQUIRE: Script = Script::new(include_str!("scripts/acquire.lua"));
pub(super) static REFUND: Script = Script::new(include_str!("scripts/refund.lua"));

/// All of them, for loading them ahead of their first use.
pub(super) static ALL: [&Script; 8] = [
    &PUT,
    &DELETE,
    &TOUCH,
    &INDEX_ADD,
    &INDEX_REMOVE,
    &INDEX_MEMBERS,
    &ACQUIRE,
    &REFUND,
];

impl Script {
    const fn new(body: &'static str) -> Self {
        Self {
            body,
            digest: OnceLock::new(),
        }
    }

    /// The name under which a server knows the script.
    fn digest(&self) -> Str {
        self.digest
            .get_or_init(|| sha1_hash(self.body).into())
            .clone()
    }
}

impl RedisBackend {
    /// Runs a script on a single key.
    pub(super) async fn run_on(
        &self,
        attempted: &'static str,
        script: &Script,
        key: &Str,
        arguments: &[Value],
    ) -> Result<Reply> {
        let keys = std::slice::from_ref(key);
        self.run(attempted, script, key, keys, arguments).await
    }

    /// Runs a script on these keys, which share a slot with `routing_key`.
    ///
    /// A server that does not know the script gets it whole: it has not run anything by then, so the script runs
    /// once. Both trips together stay within the time-out.
    pub(super) async fn run(
        &self,
        attempted: &'static str,
        script: &Script,
        routing_key: &str,
        keys: &[Str],
        arguments: &[Value],
    ) -> Result<Reply> {
        let client = self.client(attempted)?;
        let call = |name: Str| {
            let mut args = Vec::with_capacity(2 + keys.len() + arguments.len());
            args.push(Value::String(name));
            args.push(count(keys));
            args.extend(keys.iter().cloned().map(Value::String));
            args.extend(arguments.iter().cloned());
            args
        };
        let begun = monotonic_now();
        let by_digest = call(script.digest());
        let frame = send(
            client,
            attempted,
            "EVALSHA",
            routing_key,
            by_digest,
            self.timeout,
        )
        .await?;
        if !error_text(&frame).is_some_and(error::is_unknown_script) {
            return accept(attempted, frame);
        }
        let left = self.timeout.saturating_sub(monotonic_now() - begun);
        let whole = call(Str::from_static(script.body));
        let frame = send(client, attempted, "EVAL", routing_key, whole, left).await?;
        accept(attempted, frame)
    }
}

/// How many keys there are, as an argument.
fn count(keys: &[Str]) -> Value {
    Value::Integer(i64::try_from(keys.len()).unwrap_or(i64::MAX))
}
