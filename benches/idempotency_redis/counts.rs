//! What is counted and not timed: handlers that run, and commands that are sent.

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use futures_util::future::try_join_all;

use crate::{
    app::{App, Key, Route},
    request::Asked,
    servers::{Result, standalone::Server},
    support,
};

/// How many times the same request is sent at once.
const DUPLICATES: usize = 50;

/// What a layer makes of duplicates that two instances get, half of them each.
pub(crate) async fn print_duplicates(apps: [&App; 2], has_peer: bool) -> Result<()> {
    support::heading(&[
        &format!("{DUPLICATES} duplicates at once, on two instances"),
        &"handlers that ran",
        &"answered with 200",
        &"answered with 409",
    ]);
    for (number, (label, path)) in CASES.into_iter().enumerate() {
        if path.starts_with("/peer") && !has_peer {
            continue;
        }
        for app in apps {
            app.ran.store(0, Ordering::Relaxed);
        }
        let duplicates = apps.iter().cycle().take(DUPLICATES).map(async |app| {
            let asked = Asked::numbered(path, 0, 1 + number);
            app.send(&asked).await.map(|response| response.status())
        });
        let statuses = try_join_all(duplicates).await?;
        let ran: u32 = apps.iter().map(|app| app.ran.load(Ordering::Relaxed)).sum();
        let answered_with = |wanted| {
            let wanted = statuses.iter().filter(|status| **status == wanted);
            wanted.count()
        };
        support::row(&[
            &label,
            &ran,
            &answered_with(StatusCode::OK),
            &answered_with(StatusCode::CONFLICT),
        ]);
    }
    Ok(())
}

/// What one request on each route sends to Redis.
pub(crate) async fn print_commands(server: &Server, app: &App, routes: &[Route]) -> Result<()> {
    support::heading(&[&"commands of a request", &"number", &"names"]);
    for (number, route) in routes.iter().enumerate() {
        let asked = match route.key() {
            Key::New => Asked::numbered(route.path(), 0, 1 + number),
            Key::Known | Key::None => Asked::loaded(*route, 0),
        };
        let sent = server.commands_during(app.ask(&asked)).await?;
        let names: Vec<&str> = sent.iter().map(|sent| &*sent.name).collect();
        support::row(&[&route.label(), &sent.len(), &names.join(", ")]);
    }
    Ok(())
}

const CASES: [(&str, &str); 3] = [
    ("IdempotencyLayer", "/ours/slow"),
    (
        "IdempotencyLayer, which lets them wait",
        "/ours/patient/slow",
    ),
    ("axum-idempotent", "/peer/slow"),
];
