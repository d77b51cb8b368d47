//! The scripts, and how they are called.

use std::{borrow::Cow, sync::OnceLock};

use fred::{bytes_utils::Str, types::Value, util::sha1_hash};

use super::{
    RedisBackend,
    client::error_text,
    command::{accept, send},
    error,
    reply::Reply,
};
use crate::{backend::Result, clock::monotonic_now};

/// A script that Redis runs as one step.
pub(super) struct Script {
    body: Cow<'static, str>,
    digest: OnceLock<Str>,
}

pub(super) static PUT: Script = Script::new(include_str!("scripts/put.lua"));
pub(super) static DELETE: Script = Script::new(include_str!("scripts/delete.lua"));
pub(super) static TOUCH: Script = Script::new(include_str!("scripts/touch.lua"));
pub(super) static INDEX_ADD: Script = Script::new(include_str!("scripts/index_add.lua"));
pub(super) static INDEX_REMOVE: Script = Script::new(include_str!("scripts/index_remove.lua"));
pub(super) static INDEX_MEMBERS: Script = Script::new(include_str!("scripts/index_members.lua"));
pub(super) static REFUND: Script = Script::new(include_str!("scripts/refund.lua"));
pub(super) static AMEND: Script = Script::new(include_str!("scripts/amend.lua"));
pub(super) static SLOTS_HOLD: Script = Script::new(include_str!("scripts/slots_hold.lua"));
pub(super) static SLOTS_RENEW: Script = Script::new(include_str!("scripts/slots_renew.lua"));

/// All of them but those that decide, which `acquire` puts together; for loading them
/// ahead of their first use.
pub(super) static ALL: [&Script; 10] = [
    &PUT,
    &DELETE,
    &TOUCH,
    &INDEX_ADD,
    &INDEX_REMOVE,
    &INDEX_MEMBERS,
    &REFUND,
    &AMEND,
    &SLOTS_HOLD,
    &SLOTS_RENEW,
];

impl Script {
    const fn new(body: &'static str) -> Self {
        Self {
            body: Cow::Borrowed(body),
            digest: OnceLock::new(),
        }
    }

    /// A script that was put together.
    pub(super) fn assembled(body: String) -> Self {
        Self {
            body: Cow::Owned(body),
            digest: OnceLock::new(),
        }
    }

    /// The whole of it.
    pub(super) fn body(&self) -> Value {
        match &self.body {
            Cow::Borrowed(body) => Value::from_static_str(body),
            Cow::Owned(body) => Value::String(body.into()),
        }
    }

    /// The name under which a server knows the script.
    fn digest(&self) -> Str {
        self.digest
            .get_or_init(|| sha1_hash(&self.body).into())
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
        let call = |mut call: Vec<Value>| {
            call.extend([Value::Integer(1), Value::String(key.clone())]);
            call.extend(arguments.iter().cloned());
            call
        };
        self.run(attempted, script, key, call).await
    }

    /// Runs a script whose keys share a slot with `routing_key`; `call` appends the number of keys,
    /// the keys, and the arguments.
    ///
    /// A server that does not know the script gets it whole: it has not run anything by then, so
    /// the script runs once. Both trips together stay within the time-out.
    pub(super) async fn run(
        &self,
        attempted: &'static str,
        script: &Script,
        routing_key: &str,
        call: impl Fn(Vec<Value>) -> Vec<Value>,
    ) -> Result<Reply> {
        let client = self.client(attempted)?;
        let slot = client.slot(routing_key);
        let begun = monotonic_now();
        let by_digest = call(vec![Value::String(script.digest())]);
        let frame = send(
            client,
            attempted,
            "EVALSHA",
            slot.clone(),
            by_digest,
            self.timeout,
        )
        .await?;
        if !error_text(&frame).is_some_and(error::is_unknown_script) {
            return accept(attempted, frame);
        }
        let left = self.timeout.saturating_sub(monotonic_now() - begun);
        let whole = call(vec![script.body()]);
        let frame = send(client, attempted, "EVAL", slot, whole, left).await?;
        accept(attempted, frame)
    }
}
