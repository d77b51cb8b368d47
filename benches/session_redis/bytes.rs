//! What a session takes of Redis' memory, by its own account.

use crate::{
    app::{App, Side},
    servers::{Result, standalone::Server},
    support,
};

pub(crate) async fn print(server: &Server, app: &App) -> Result<()> {
    support::heading(&[
        &"bytes of a session in Redis, all in all",
        &"SessionLayer",
        &"tower-sessions",
        &"ratio",
    ]);
    for (case, path) in CASES {
        let ours = weigh(server, app, Side::Ours, path).await?;
        let peer = weigh(server, app, Side::Peer, path).await?;
        support::row(&[
            &case,
            &format!("{} (value {})", ours.all, ours.value),
            &format!("{} (value {})", peer.all, peer.value),
            &format!("{:.2}", f64::from(ours.all) / f64::from(peer.all)),
        ]);
    }
    Ok(())
}

/// What is stored of one session.
pub(crate) struct Weight {
    /// With its key and its entry in the table.
    all: u32,
    pub(crate) value: u32,
}

/// Stores one session and nothing else.
pub(crate) async fn weigh(server: &Server, app: &App, side: Side, path: &str) -> Result<Weight> {
    server.call(&["FLUSHALL"]).await?;
    app.ask(&format!("{}{path}", side.prefix()), "").await?;
    let keys = server.call(&["KEYS", "*"]).await?;
    let [key] = keys.items() else {
        return Err("there is more than one key".into());
    };
    let key = key.to_string();
    let all = server
        .call(&["MEMORY", "USAGE", &key, "SAMPLES", "0"])
        .await?;
    let value = server.call(&["STRLEN", &key]).await?;
    Ok(Weight {
        all: all.to_string().parse()?,
        value: value.to_string().parse()?,
    })
}

/// The one that is read and written under load.
pub(crate) const LOADED: &str = "/begin";

const CASES: [(&str, &str); 4] = [
    ("no attribute, no user", "/fill/0"),
    ("1 attribute of 32 characters", "/fill/1"),
    ("10 attributes of 32 characters", "/fill/10"),
    ("10 of 100 characters and a number", LOADED),
];
