//! A shop with accounts: a cart that survives the login, a page of devices, an area for staff whose
//! sessions are their own, and a stream of news that ends with the session.
//!
//! ```sh
//! cargo run --example session_axum --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example session_axum --features full
//! ```

use std::{convert::Infallible, env, error::Error, time::Duration};

use axum::{
    Form, Json, Router,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::USER_AGENT},
    response::{IntoResponse, Redirect, Response, Sse, sse::Event},
    routing::{delete, get, post},
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::sleep};
use tower_stash::{
    ConfigError,
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    policy::{Policy, Routes},
    session::{
        Csrf, MaxSessions, Session, SessionCookie, SessionError, SessionId, SessionLayer,
        SessionRule, SessionUser, Sessions,
    },
};

/// Marks the sessions of staff, which know nothing of those of customers.
enum Staff {}

/// A session that cannot be read is an answer of its own: 503.
type Answer<T> = Result<T, SessionError>;

#[derive(Clone)]
struct App {
    customers: Sessions,
    staff: Sessions<Staff>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match env::var("REDIS_URL") {
        Ok(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        Err(_) => AnyBackend::new(MemoryBackend::new()),
    };
    let customers = SessionLayer::new(backend.clone(), shop_rules()?)?
        .with_users(backend.clone())?
        .with_max_sessions(MaxSessions::EvictOldest(5))?;
    let staff = SessionLayer::new(backend.clone(), staff_rules()?)?
        .with_users(backend)?
        .with_marker::<Staff>();
    let app = Router::new()
        .route("/", get(home))
        .route("/login", post(log_in))
        .route("/logout", post(log_out))
        .route("/profile", get(profile))
        .route("/cart", get(cart))
        .route("/cart/{item}", post(add_to_cart))
        .route("/checkout", post(check_out))
        .route("/news", get(news))
        .route("/devices", get(devices))
        .route("/devices/{id}", delete(log_out_one))
        .route("/devices/others", delete(log_out_others))
        .route("/devices/all", delete(log_out_all))
        .route("/staff/login", post(admit))
        .route("/staff/customers/{user}", delete(lock_out))
        .with_state(App {
            customers: customers.handle(),
            staff: staff.handle(),
        })
        .layer(customers)
        .layer(staff);

    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let curl = format!("curl -b jar -c jar http://{}", listener.local_addr()?);
    println!("Try:\n\n  {curl}/cart/lamp -X POST");
    println!("  {curl}/login -d user=ada -d 'password=correct horse'; {curl}/");
    println!("  {curl}/cart; {curl}/profile; {curl}/devices; {curl}/checkout -X POST");
    println!("  {curl}/news -N      # until staff locks ada out:");
    println!("  {curl}/staff/login -d user=eve -d 'password=battery staple'");
    println!("  {curl}/staff/customers/ada -X DELETE\n\nCtrl-C stops it.");
    axum::serve(listener, app).await?;
    Ok(())
}

/// All requests share one family of sessions; what differs is what a route may do with them.
fn shop_rules() -> Result<impl Policy<SessionRule>, ConfigError> {
    let hour = Duration::from_secs(3_600);
    let shop = SessionRule::new("shop")?
        .with_timeouts(48 * hour, 30 * 24 * hour)?
        .with_csrf(Csrf::new());
    Ok(Routes::new()
        // An open tab alone keeps nobody logged in.
        .get("/news", shop.clone().with_required_user().without_slide())
        // Of two checkouts of one cart at the same time the second gets 409.
        .post("/checkout", shop.clone().with_strict_commits())
        .or(shop))
}

/// Half an hour without a request, or a working day, ends a session of staff.
fn staff_rules() -> Result<impl Policy<SessionRule>, ConfigError> {
    let staff = SessionRule::new("staff")?
        .with_cookie(SessionCookie::strict().with_name("__Host-staff"))?
        .with_timeouts(Duration::from_secs(1_800), Duration::from_secs(8 * 3_600))?;
    Ok(Routes::new()
        .post("/staff/login", staff.clone())
        .any("/staff/{*rest}", staff.with_required_user()))
}

#[derive(Deserialize)]
struct Login {
    user: String,
    password: String,
}

async fn log_in(
    app: State<App>,
    session: Session,
    headers: HeaderMap,
    Form(login): Form<Login>,
) -> Answer<Response> {
    // Before the password is checked: who logs this user out everywhere meanwhile ends this login.
    let ticket = app.customers.begin_login(&login.user).await?;
    if login.password != "correct horse" {
        return Ok((StatusCode::UNAUTHORIZED, "Wrong name or password.\n").into_response());
    }
    let device = headers.get(USER_AGENT).and_then(|name| name.to_str().ok());
    let ticket = ticket.with_label(device.unwrap_or("unknown"));
    session.login(ticket).await?; // a new secret; the cart stays
    session.flash("info", "Welcome!").await?;
    Ok(Redirect::to("/").into_response())
}

async fn log_out(session: Session) -> Answer<Redirect> {
    session.destroy().await?;
    session.flash("info", "Goodbye!").await?; // of a new session, without a user
    Ok(Redirect::to("/"))
}

/// Shows, once, what was left by whoever redirected here.
async fn home(session: Session) -> Answer<String> {
    let user = session.user().await?.unwrap_or_else(|| "stranger".into());
    let flashes = session.flashes().await?;
    let lines: String = flashes.into_iter().map(|it| it.message + "\n").collect();
    Ok(lines + &format!("Hello, {user}.\n"))
}

async fn profile(user: SessionUser, session: Session) -> Answer<Json<Value>> {
    let visits = session.incr("visits", 1).await?; // exact, whoever else counts
    Ok(Json(json!({ "user": *user, "visits": visits })))
}

/// What the shop keeps in a session, of strangers too: each field is an attribute of it.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct Cart {
    items: Vec<String>,
}

async fn cart(session: Session) -> Answer<Json<Cart>> {
    Ok(Json(session.typed().await?))
}

async fn add_to_cart(session: Session, Path(item): Path<String>) -> Answer<Json<Cart>> {
    let mut cart: Cart = session.typed().await?;
    cart.items.push(item);
    session.set_typed(&cart).await?;
    Ok(Json(cart))
}

async fn check_out(user: SessionUser, session: Session) -> Answer<Json<Value>> {
    let cart: Cart = session.typed().await?;
    session.set_typed(&Cart::default()).await?;
    Ok(Json(json!({ "user": *user, "bought": cart.items })))
}

async fn devices(app: State<App>, session: Session) -> Answer<Json<Value>> {
    let devices = app.customers.devices(&session).await?;
    let shown = devices.iter().map(|device| {
        json!({ "id": device.id.to_string(), "name": device.label, "this": device.is_current })
    });
    Ok(Json(shown.collect()))
}

async fn log_out_one(
    app: State<App>,
    user: SessionUser,
    id: Path<SessionId>,
) -> Answer<StatusCode> {
    let is_theirs = app.customers.destroy_device(&*user, &id).await?;
    Ok(if is_theirs {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    })
}

async fn log_out_others(app: State<App>, session: Session) -> Answer<Json<usize>> {
    Ok(Json(app.customers.destroy_others(&session).await?))
}

async fn log_out_all(app: State<App>, user: SessionUser, session: Session) -> Answer<Json<usize>> {
    let ended = app.customers.destroy_all(&*user).await?;
    session.destroy().await?; // ended already; this takes the cookie
    Ok(Json(ended))
}

/// A stream that ends with its session.
async fn news(session: Session) -> Answer<impl IntoResponse> {
    let news = stream::unfold(session.detach().await?, async |mut session| {
        sleep(Duration::from_secs(1)).await;
        // Logged out, or nobody can say.
        if !session.revalidate().await.unwrap_or(false) {
            return None;
        }
        let event = Event::default().data("nothing new");
        Some((Ok::<_, Infallible>(event), session))
    });
    Ok(Sse::new(news))
}

async fn admit(app: State<App>, session: Session<Staff>, login: Form<Login>) -> Answer<StatusCode> {
    let ticket = app.staff.begin_login(&login.user).await?;
    if login.password != "battery staple" {
        return Ok(StatusCode::UNAUTHORIZED);
    }
    session.login(ticket).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// No handler runs here without a user among staff: the rule says so.
async fn lock_out(app: State<App>, Path(customer): Path<String>) -> Answer<Json<usize>> {
    Ok(Json(app.customers.destroy_all(customer).await?))
}
