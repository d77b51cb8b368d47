//! The smallest service with a shared rate limit.
//!
//! ```sh
//! cargo run --example quickstart --features full
//! REDIS_URL=redis://127.0.0.1:6379 PORT=3001 cargo run --example quickstart --features full
//! ```

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal};
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    policy::{KeyExtractor as _, Routes, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let redis = match env::var("REDIS_URL") {
        Ok(url) => Some(RedisBackend::connect(url).await?),
        Err(_) => None,
    };
    let backend = match &redis {
        Some(redis) => AnyBackend::new(redis.clone()),
        None => AnyBackend::new(MemoryBackend::new()),
    };

    let five_in_ten_seconds = Quota::sliding(5, Duration::from_secs(10));
    let per_client = RateLimitRule::new(
        "limited",
        peer_ip().or_reject(),
        [("burst", five_in_ten_seconds)],
    )?;
    let limits = RateLimitLayer::new(backend, Routes::new().get("/limited", per_client))?;

    let app = Router::new()
        .route("/limited", get(async || "You are within your limit.\n"))
        .route("/health", get(health))
        .with_state(redis.clone())
        .layer(limits);

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tell_what_to_try(listener.local_addr()?, redis.is_some());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(ctrl_c())
        .await?;

    if let Some(redis) = redis {
        redis.close().await;
    }
    Ok(())
}

/// Says which backend it is, and whether it answers.
async fn health(State(redis): State<Option<RedisBackend>>) -> (StatusCode, Json<Value>) {
    let Some(redis) = redis else {
        return (
            StatusCode::OK,
            Json(json!({ "backend": "memory", "answers": true })),
        );
    };
    let answers = redis.ping().await.is_ok();
    let status = if answers {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        Json(json!({ "backend": "redis", "answers": answers })),
    )
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        // Without a signal handler there is nothing to wait for; the process is ended from outside.
        std::future::pending::<()>().await;
    }
}

fn tell_what_to_try(address: SocketAddr, on_redis: bool) {
    let backend = if on_redis {
        "Redis: start another one with the same REDIS_URL and another PORT, and they share one limit"
    } else {
        "memory"
    };
    println!("Listening on http://{address}, counting in {backend}. Try:\n");
    println!("  curl -i http://{address}/limited     # 5 in 10 seconds; the sixth gets 429");
    println!(
        "  for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://{address}/limited; done"
    );
    println!("  curl -i http://{address}/health\n");
    println!("Ctrl-C stops it.");
}
