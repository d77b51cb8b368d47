//! The smallest service with shared sessions, a shared rate limit, payments that are made once, and
//! a shared cache.
//!
//! ```sh
//! cargo run --example quickstart --features full
//! REDIS_URL=redis://127.0.0.1:6379 PORT=3001 cargo run --example quickstart --features full
//! ```

use std::{env, error::Error, net::SocketAddr, time::Duration};

use axum::{
    Extension, Form, Json, RequestExt as _, Router,
    extract::{FromRequest, Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal, time::sleep};
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    cache::{CacheLayer, CacheRule, CacheTags, Purge, PurgeError},
    clock::{Clock as _, SystemClock},
    idempotency::{Execution, IdempotencyLayer, IdempotencyRule},
    policy::{KeyExtractor as _, Routes, extension, peer_ip},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    session::{Session, SessionError, SessionLayer, SessionRule, Sessions},
};

#[derive(Clone)]
struct App {
    sessions: Sessions,
    purge: Purge,
    redis: Option<RedisBackend>,
}

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
    let limited = Routes::new().get("/limited", per_client);
    let limits = RateLimitLayer::new(backend.clone(), limited)?;

    let sessions = SessionLayer::new(backend.clone(), SessionRule::new("web")?)?
        .with_users(backend.clone())?;

    // Whose key it is: that of the user whom `only_users` has found.
    let scope = extension::<User>().or_reject();
    let once = IdempotencyLayer::new(
        backend.clone(),
        scope,
        IdempotencyRule::payments("payments")?,
    )?;
    let running = once.handle();

    let a_minute = CacheRule::new("time")?.with_ttl(Duration::from_secs(60));
    let cache = CacheLayer::new(backend, Routes::new().get("/time", a_minute))?;

    let state = App {
        sessions: sessions.handle(),
        purge: cache.purge(),
        redis: redis.clone(),
    };

    let app = Router::new()
        .route("/limited", get(async || "You are within your limit.\n"))
        .route("/time", get(time).layer(cache))
        .route("/purge", post(purge))
        .route("/login", post(log_in))
        .route("/me", get(me))
        // The layer that is added last is the outermost: it guards repeated answers, too.
        .route(
            "/payments",
            post(pay).layer(once).layer(from_fn(only_users)),
        )
        .route("/logout", post(log_out))
        .route("/logout-everywhere", post(log_out_everywhere))
        .route("/health", get(health))
        .with_state(state)
        .layer(sessions)
        .layer(limits);

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    tell_what_to_try(listener.local_addr()?, redis.is_some());
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(ctrl_c())
        .await?;

    running.drain(Duration::from_secs(10)).await; // payments whose clients did not wait
    if let Some(redis) = redis {
        redis.close().await;
    }
    Ok(())
}

/// Asked once a minute, however many ask; its tag is how the answer is purged.
async fn time() -> impl IntoResponse {
    let millis = SystemClock.now().as_millis();
    let told = format!("It was {millis} when I looked.\n");
    (CacheTags::new(["time"]), told)
}

/// Whoever is asked after this looks anew. A real service purges where it has written.
async fn purge(State(app): State<App>) -> Result<&'static str, PurgeError> {
    app.purge.tag("time").await?;
    Ok("Purged.\n")
}

/// Whoever says who they are is believed. A real service checks a password once it has the ticket.
async fn log_in(
    State(app): State<App>,
    session: Session,
    login: Login,
) -> Result<Json<Value>, SessionError> {
    let ticket = app.sessions.begin_login(&login.user).await?;
    session.login(ticket).await?;
    Ok(Json(json!({ "user": login.user })))
}

async fn me(session: Session) -> Result<Response, SessionError> {
    Ok(match session.user().await? {
        Some(user) => Json(json!({ "user": user })).into_response(),
        None => StatusCode::UNAUTHORIZED.into_response(),
    })
}

async fn log_out(session: Session) -> Result<StatusCode, SessionError> {
    session.destroy().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ends all sessions of the user, on all devices, and says how many there were.
async fn log_out_everywhere(
    State(app): State<App>,
    session: Session,
) -> Result<Response, SessionError> {
    let Some(user) = session.user().await? else {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    };
    let ended = app.sessions.destroy_all(user).await?;
    session.destroy().await?; // which takes the cookie as well
    Ok(Json(json!({ "ended": ended })).into_response())
}

/// The name of who is logged in, for layers and handlers further inside.
type User = String;

async fn only_users(
    session: Session,
    mut request: Request,
    next: Next,
) -> Result<Response, SessionError> {
    let Some(user) = session.user().await? else {
        return Ok(StatusCode::UNAUTHORIZED.into_response());
    };
    request.extensions_mut().insert::<User>(user);
    Ok(next.run(request).await)
}

/// Runs once for each `Idempotency-Key`, as the number of the receipt shows.
async fn pay(
    run: Execution,
    Extension(user): Extension<User>,
    Form(payment): Form<Payment>,
) -> (StatusCode, Json<Value>) {
    sleep(Duration::from_secs(1)).await; // as if a bank were asked
    let receipt = json!({ "receipt": run.fence(), "user": user, "amount": payment.amount });
    (StatusCode::CREATED, Json(receipt))
}

#[derive(Deserialize)]
struct Payment {
    amount: u32,
}

/// Who wants to log in, in JSON or from a form.
#[derive(Deserialize)]
struct Login {
    user: String,
}

impl<S: Sync> FromRequest<S> for Login {
    type Rejection = Response;

    async fn from_request(request: Request, _: &S) -> Result<Self, Response> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_json =
            content_type.is_some_and(|text| text.as_bytes().starts_with(b"application/json"));
        let login = if is_json {
            let json = request.extract::<Json<Self>, _>().await;
            json.map_err(IntoResponse::into_response)?.0
        } else {
            let form = request.extract::<Form<Self>, _>().await;
            form.map_err(IntoResponse::into_response)?.0
        };
        match login.user.len() {
            1..=256 => Ok(login),
            _ => Err(StatusCode::UNPROCESSABLE_ENTITY.into_response()),
        }
    }
}

/// Says which backend it is, and whether it answers.
async fn health(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let Some(redis) = app.redis else {
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
        "Redis: start another one with the same REDIS_URL and another PORT, and they share sessions, limits, payments and what is cached"
    } else {
        "memory"
    };
    println!("Listening on http://{address}, counting in {backend}. Try:\n");
    println!("  curl -i http://{address}/limited     # 5 in 10 seconds; the sixth gets 429");
    println!(
        "  for i in 1 2 3 4 5 6; do curl -s -o /dev/null -w '%{{http_code}}\\n' http://{address}/limited; done\n"
    );
    println!(
        "  curl -i http://{address}/time; sleep 1; curl -i http://{address}/time    # the same, from the cache"
    );
    println!("  curl -X POST http://{address}/purge; curl -i http://{address}/time    # another\n");
    println!("  curl -i -b jar -c jar -d user=ada http://{address}/login");
    println!("  curl -i -b jar -c jar http://{address}/me                           # ada\n");
    println!(
        "  curl -i -b jar -H 'idempotency-key: order-1' -d amount=5 http://{address}/payments    # 201; again: the same receipt"
    );
    println!(
        "  curl -i -b jar -H 'idempotency-key: order-1' -d amount=6 http://{address}/payments    # 422"
    );
    println!(
        "  for i in 1 2; do curl -s -b jar -H 'idempotency-key: order-2' -d amount=5 http://{address}/payments & done; wait    # 409 while it is made\n"
    );
    println!(
        "  curl -i -b jar -c jar -X POST http://{address}/logout-everywhere    # on all devices"
    );
    println!("  curl -i -b jar -c jar http://{address}/me                           # 401");
    println!("  curl -i -b jar -c jar -d user=ada http://{address}/login            # once more");
    println!(
        "  curl -i -b jar -c jar -X POST http://{address}/logout               # on this one\n"
    );
    println!("  curl -i http://{address}/health\n");
    println!(
        "The cookie is Secure. To 127.0.0.1 curl, Chrome and Firefox send it without TLS too, Safari does not."
    );
    println!("Ctrl-C stops it.");
}
