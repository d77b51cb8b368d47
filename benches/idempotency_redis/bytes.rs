//! What a stored answer takes of Redis' memory, by its own account.

use crate::{
    app::App,
    request::Asked,
    servers::{Result, standalone::Server},
    support,
};

/// What is stored of one answer.
pub(crate) struct Weight {
    /// With its key and its entry in the table.
    all: u32,
    pub(crate) value: usize,
}

pub(crate) async fn print(server: &Server, app: &App, has_peer: bool) -> Result<()> {
    support::heading(&[
        &"bytes of a stored answer in Redis, all in all",
        &"IdempotencyLayer",
        &"axum-idempotent",
    ]);
    for len in LENGTHS {
        let ours = weigh(server, app, "ours", len).await?;
        let ours = format!("{} (value {})", ours.all, ours.value);
        let peer = if has_peer {
            let peer = weigh(server, app, "peer", len).await?;
            format!("{} (value {})", peer.all, peer.value)
        } else {
            String::new()
        };
        support::row(&[
            &format!("body of {len}, and its Content-Type"),
            &ours,
            &peer,
        ]);
    }
    Ok(())
}

/// Stores one answer with a body of this length, and nothing else.
pub(crate) async fn weigh(server: &Server, app: &App, side: &str, len: usize) -> Result<Weight> {
    server.call(&["FLUSHALL"]).await?;
    let path = format!("/{side}/answers/{len}");
    app.ask(&Asked::numbered(&path, 0, 0)).await?;
    let keys = server.call(&["KEYS", "*"]).await?;
    let [key] = keys.items() else {
        return Err("there is more than one key".into());
    };
    let key = key.to_string();
    let all = server
        .call(&["MEMORY", "USAGE", &key, "SAMPLES", "0"])
        .await?;
    Ok(Weight {
        all: all.to_string().parse()?,
        value: value_len(server, &key).await?,
    })
}

/// The peer's is in a hash.
async fn value_len(server: &Server, key: &str) -> Result<usize> {
    if server.call(&["TYPE", key]).await? == "string" {
        let len = server.call(&["STRLEN", key]).await?;
        return Ok(len.to_string().parse()?);
    }
    let fields = server.call(&["HKEYS", key]).await?;
    let field = fields.items().first().ok_or("the session is empty")?;
    let len = server.call(&["HSTRLEN", key, &field.to_string()]).await?;
    Ok(len.to_string().parse()?)
}

const LENGTHS: [usize; 3] = [0, 128, 1_024];
