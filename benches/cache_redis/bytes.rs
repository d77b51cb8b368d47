//! What a stored response takes of Redis' memory, by its own account.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    app::App,
    servers::{Result, standalone::Server},
    support,
};

/// What is stored of one response.
pub(crate) struct Weight {
    /// With its key and its entry in the table.
    all: u32,
    pub(crate) value: u32,
    /// The same of what else is there: the lease of who fetched it, and the journal of purges.
    beside: u32,
}

pub(crate) async fn print(server: &Server, app: &App) -> Result<()> {
    support::heading(&[
        &"bytes of a stored response in Redis",
        &"all in all (value)",
        &"lease and journal",
    ]);
    for (label, path) in CASES {
        let weight = weigh(server, app, path).await?;
        support::row(&[
            &label,
            &format!("{} ({})", weight.all, weight.value),
            &weight.beside,
        ]);
    }
    Ok(())
}

/// Stores the response to one request, and nothing else.
pub(crate) async fn weigh(server: &Server, app: &App, path: &str) -> Result<Weight> {
    server.call(&["FLUSHALL"]).await?;
    app.ask(path).await?;
    sleep(SETTLED).await;
    let mut weight = Weight {
        all: 0,
        value: 0,
        beside: 0,
    };
    for key in server.call(&["KEYS", "*"]).await?.items() {
        let key = key.to_string();
        let usage = server
            .call(&["MEMORY", "USAGE", &key, "SAMPLES", "0"])
            .await?;
        let all: u32 = usage.to_string().parse()?;
        if key.contains(PAGE) {
            let len = server.call(&["STRLEN", &key]).await?;
            weight.value = len.to_string().parse()?;
            weight.all = all;
        } else {
            weight.beside += all;
        }
    }
    if weight.value == 0 {
        return Err(format!("{path} was not stored").into());
    }
    Ok(weight)
}

const CASES: [(&str, &str); 4] = [
    ("no body, usual headers", "/redis/plain/0"),
    ("body of 1024", PLAIN),
    ("body of 1024, three tags", "/redis/labelled/1024"),
    ("body of 65536", "/redis/plain/65536"),
];

/// What is loaded is as large.
pub(crate) const PLAIN: &str = "/redis/plain/1024";

/// In the keys of responses.
const PAGE: &str = "p1:{";

/// A response is stored after its client has it.
const SETTLED: Duration = Duration::from_millis(50);
