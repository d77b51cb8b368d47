//! An API with plans, a login that only failures count against, and a hand on the counters.
//!
//! ```sh
//! cargo run --example rate_limit_axum --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example rate_limit_axum --features full
//! ```

use std::{env, error::Error, net::SocketAddr};

use axum::{
    Extension, Form, Json, Router,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    middleware::{self, Next},
    response::Response,
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_stash::{
    ConfigError,
    backend::{AnyBackend, BackendError, MemoryBackend, RedisBackend},
    policy::{KeyExtractor as _, Routes, extension, peer_ip},
    rate_limit::{Ban, MINUTE, Outage, Permit, Quota, RateLimitLayer, RateLimitRule, RateLimiter},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match env::var("REDIS_URL") {
        Ok(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        Err(_) => AnyBackend::new(MemoryBackend::new()),
    };

    let api = api_rule()?;
    let routes = Routes::new()
        .post("/login", login_rule()?)
        .any("/api/{*rest}", api.clone());
    let limits = RateLimitLayer::new(backend, routes)?;
    let accounts = limits.limiter(&api);

    let app = Router::new()
        .route("/login", post(log_in))
        .route("/api/orders", get(orders).post(order))
        .route("/api/search", get(search))
        .route("/admin/accounts/{account}", get(account).delete(forgive))
        .with_state(accounts)
        .layer(limits)
        // Added last, so outermost: it says who it is before the limits ask.
        .layer(middleware::from_fn(authenticate));

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tell_what_to_try(listener.local_addr()?);
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}

// === Rules ===

/// Five wrong passwords in a minute, fifty in a day; who keeps trying is
/// banned. A right one is free.
fn login_rule() -> Result<RateLimitRule, ConfigError> {
    let quotas = [
        ("burst", Quota::per_minute(5)),
        ("daily", Quota::per_day(50)),
    ];
    let rule = RateLimitRule::new("login", peer_ip().or_reject(), quotas)?
        .with_count_if(|response| response.status == StatusCode::UNAUTHORIZED)
        .with_ban(Ban::after(20).within(10 * MINUTE).lasting(15 * MINUTE))
        .with_outage(Outage::Deny);
    Ok(rule)
}

/// What each plan has bought. Writing costs five times as much as reading.
fn api_rule() -> Result<RateLimitRule, ConfigError> {
    let quotas = [("rate", Quota::per_minute(600))];
    let rule = RateLimitRule::new("api", extension::<Account>().or_reject(), quotas)?
        .with_dynamic_limit("rate", |request| match request.extensions.get::<Plan>() {
            Some(Plan::Free) | None => Some(10),
            Some(Plan::Team) => Some(600),
            Some(Plan::Unlimited) => None,
        })
        .with_cost(|request| if request.method == Method::GET { 1 } else { 5 })
        .with_permit()
        .with_outage(Outage::Local { instances: 2 });
    Ok(rule)
}

// === Who it is ===

/// The name of an account, under which its requests are counted.
type Account = String;

#[derive(Clone, Copy, Debug)]
enum Plan {
    Free,
    Team,
    Unlimited,
}

/// Looks the API key up, as a database would.
async fn authenticate(headers: HeaderMap, mut request: Request, next: Next) -> Response {
    let known = match headers.get("x-api-key").map(HeaderValue::as_bytes) {
        Some(b"key-of-ada") => Some(("ada", Plan::Free)),
        Some(b"key-of-acme") => Some(("acme", Plan::Team)),
        Some(b"key-of-root") => Some(("root", Plan::Unlimited)),
        _ => None,
    };
    if let Some((account, plan)) = known {
        request.extensions_mut().insert::<Account>(account.into());
        request.extensions_mut().insert(plan);
    }
    next.run(request).await
}

// === Handlers ===

#[derive(serde::Deserialize)]
struct Login {
    password: String,
}

async fn log_in(Form(login): Form<Login>) -> StatusCode {
    if login.password == "correct horse" {
        StatusCode::OK
    } else {
        StatusCode::UNAUTHORIZED
    }
}

async fn orders() -> Json<Value> {
    Json(json!(["a lamp", "a chair"]))
}

async fn order() -> StatusCode {
    StatusCode::CREATED
}

/// An answer that was at hand costs nothing.
async fn search(Extension(permit): Extension<Permit>) -> &'static str {
    permit.refund();
    "the same as for everybody\n"
}

/// What an account has used; takes nothing. It says nothing of what is left, which depends on the
/// plan: for that there is `RateLimiter::with_limit`.
async fn account(
    State(accounts): State<RateLimiter>,
    Path(account): Path<Account>,
) -> Result<Json<Value>, Unavailable> {
    let check = accounts.peek(account).await?;
    let limits = check
        .limits
        .iter()
        .map(|limit| json!({ "limit": *limit.name, "used": limit.limit - limit.remaining }));
    Ok(Json(limits.collect()))
}

/// Forgets what an account has used.
async fn forgive(
    State(accounts): State<RateLimiter>,
    Path(account): Path<Account>,
) -> Result<StatusCode, Unavailable> {
    accounts.reset(account).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The backend did not answer.
struct Unavailable;

impl From<BackendError> for Unavailable {
    fn from(_: BackendError) -> Self {
        Self
    }
}

impl axum::response::IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        StatusCode::SERVICE_UNAVAILABLE.into_response()
    }
}

fn tell_what_to_try(address: SocketAddr) {
    println!("Listening on http://{address}. Try:\n");
    println!("  curl -i http://{address}/login -d password=guess            # the sixth gets 429");
    println!("  curl -i http://{address}/login -d 'password=correct horse'  # costs nothing");
    println!(
        "  curl -i http://{address}/api/orders -H 'x-api-key: key-of-ada'          # 10 a minute"
    );
    println!("  curl -i http://{address}/api/orders -H 'x-api-key: key-of-ada' -X POST  # costs 5");
    println!(
        "  curl -i http://{address}/api/orders -H 'x-api-key: key-of-acme'         # 600 a minute"
    );
    println!(
        "  curl -i http://{address}/api/orders -H 'x-api-key: key-of-root'         # no limit"
    );
    println!(
        "  curl -i http://{address}/api/search -H 'x-api-key: key-of-ada'          # given back"
    );
    println!("  curl http://{address}/admin/accounts/ada                 # what is used");
    println!("  curl -X DELETE http://{address}/admin/accounts/ada       # forgive\n");
    println!("Ctrl-C stops it.");
}
