//! Payments that are made once: however often a client sends them, and wherever a process dies.
//!
//! ```sh
//! cargo run --example idempotency_axum --features full
//!
//! pay() { curl -si localhost:3000/payments -H 'x-api-key: key-of-ada' -H "idempotency-key: $1" \
//!     -H 'content-type: application/json' -d "{\"amount\": $2}"; echo; }
//! pay order-1 30                  # 201, after three seconds
//! pay order-1 30                  # at once, the same: idempotent-replayed: true
//! pay order-1 31                  # 422: the key was for something else
//! pay order-2 5000                # 402: declined, which is an answer like any other
//! pay order-3 20 & pay order-3 20 # both get the one answer; the second one waits for it
//! curl localhost:3000/ledger      # what was paid, and what the provider charged
//! ```
//!
//! To see what becomes of a payment whose process dies, keep the keys in Redis:
//!
//! ```sh
//! cargo run --example idempotency_axum --features full -- --redis redis://127.0.0.1:6379
//! pay order-4 40 & sleep 1; kill -9 PID # the number that the program printed
//! cargo run --example idempotency_axum --features full -- --redis redis://127.0.0.1:6379
//! pay order-4 40                  # 201 and "attempt": 2
//! curl localhost:3000/ledger      # the provider was asked twice and charged once
//! ```
//!
//! Killed after two seconds instead, it has noted the charge down in Redis, and the second attempt
//! does not ask the provider any more. Ctrl-C ends the program when the payments that run have ended.

use std::{
    env,
    error::Error,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Extension, Json, Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{net::TcpListener, signal, task::spawn_blocking, time::sleep};
use tower_stash::{
    ConfigError,
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    idempotency::{Execution, IdempotencyLayer, IdempotencyRule, InProgress, Recovery},
    policy::{KeyExtractor as _, Routes, extension},
};

#[derive(Clone)]
struct App {
    ledger: Ledger,
    provider: Provider,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match argument("--redis") {
        Some(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        None => AnyBackend::new(MemoryBackend::new()),
    };
    let file = argument("--file").map_or_else(in_temp_dir, PathBuf::from);
    let database = Database::open(&file)?;

    // Whose keys they are: those of the account that `authenticate` has found.
    let scope = extension::<Account>().or_reject();
    let payments = Routes::new().post("/payments", payment_rule()?);
    let idempotency = IdempotencyLayer::new(backend, scope, payments)?;
    let handle = idempotency.handle();

    let app = Router::new()
        .route("/payments", post(pay))
        .layer(idempotency)
        // Added later, so further outside: it guards repeated answers as well.
        .layer(middleware::from_fn(authenticate))
        .route("/ledger", get(ledger))
        .with_state(App {
            ledger: Ledger(database.clone()),
            provider: Provider(database),
        });

    let port = argument("--port").map_or(Ok(3000), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (address, process) = (listener.local_addr()?, std::process::id());
    println!("Listening on http://{address}; to kill it: kill -9 {process}");
    println!("The ledger is {}", file.display());
    axum::serve(listener, app)
        .with_graceful_shutdown(ctrl_c())
        .await?;

    // The server waits for clients. A payment whose client is gone runs all the same.
    let left = handle.drain(Duration::from_secs(30)).await;
    println!("Stopped; payments that did not end: {left}");
    Ok(())
}

/// An orphan may run again: the provider knows its key, and the ledger its fence.
fn payment_rule() -> Result<IdempotencyRule, ConfigError> {
    IdempotencyRule::new("payments", Recovery::ReExecute)?
        .with_in_progress(InProgress::Wait(Duration::from_secs(10)))
        .with_lease(Duration::from_secs(3))
}

// === Handlers ===

#[derive(Deserialize)]
struct Payment {
    amount: u32,
}

#[derive(Serialize)]
struct Receipt {
    charge: i64,
    amount: u32,
    attempt: u32,
}

async fn pay(
    State(app): State<App>,
    run: Execution,
    Extension(account): Extension<Account>,
    Json(Payment { amount }): Json<Payment>,
) -> Result<(StatusCode, Json<Receipt>), Failure> {
    let attempt = run.attempt();
    println!("{account} pays {amount}, attempt {attempt}");

    let noted = run.recovered("charged");
    let charge = if let Some(charge) = noted.as_deref().and_then(number) {
        charge
    } else {
        // The same in every attempt, so the provider charges once.
        let key = run.downstream_key("charge");
        let charge = app.provider.charge(&key, amount).await?;
        // For the next attempt, if this one does not come to its end. It could ask again.
        let noted = run.checkpoint("charged", charge.to_string()).await;
        println!("charge {charge} is made, noted down: {}", noted.is_ok());
        charge
    };

    sleep(SLOW).await; // as if much were to be done
    // An attempt that was taken for dead, and is not, changes nothing after this one.
    let id = run.downstream_key("payment");
    app.ledger
        .record(id, account, amount, charge, run.fence())
        .await?;
    println!("charge {charge} is in the ledger");
    Ok((
        StatusCode::CREATED,
        Json(Receipt {
            charge,
            amount,
            attempt,
        }),
    ))
}

async fn ledger(State(app): State<App>) -> Result<Json<Value>, Failure> {
    let paid = app.ledger.lines().await?;
    let charged = app.provider.lines().await?;
    Ok(Json(json!({ "paid": paid, "charged": charged })))
}

fn number(text: &[u8]) -> Option<i64> {
    str::from_utf8(text).ok()?.parse().ok()
}

/// Why there is no receipt.
enum Failure {
    /// Whoever sends it again gets this answer again.
    Declined,
    /// A later attempt is at work. Nobody sees this answer: the key is not this attempt's any more.
    Superseded,
    /// Whoever sends it again makes another attempt.
    Database(rusqlite::Error),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        match self {
            Self::Declined => (StatusCode::PAYMENT_REQUIRED, "Declined.\n").into_response(),
            Self::Superseded => {
                println!("the ledger has a later attempt");
                StatusCode::CONFLICT.into_response()
            }
            Self::Database(error) => {
                eprintln!("database: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

// === Who it is ===

/// The name of an account: unlike its API key it stays the same.
type Account = String;

/// Looks the API key up, as a database would.
async fn authenticate(headers: HeaderMap, mut request: Request, next: Next) -> Response {
    let account = match headers.get("x-api-key").map(HeaderValue::as_bytes) {
        Some(b"key-of-ada") => "ada",
        Some(b"key-of-eve") => "eve",
        _ => return StatusCode::UNAUTHORIZED.into_response(),
    };
    request.extensions_mut().insert::<Account>(account.into());
    next.run(request).await
}

// === The ledger ===

/// What was paid. What an account owes is a sum over its lines, so a line that is written twice
/// counts once.
#[derive(Clone)]
struct Ledger(Database);

impl Ledger {
    /// Writes the line of a payment, unless a later attempt has.
    async fn record(
        &self,
        id: String,
        account: Account,
        amount: u32,
        charge: i64,
        fence: u64,
    ) -> Result<(), Failure> {
        let fence = fence.cast_signed(); // far below 2^63
        let changed = self.0.with(move |database| {
            database.execute(
                "INSERT INTO ledger (id, account, amount, charge, fence) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET charge = ?4, fence = ?5 WHERE fence < ?5",
                params![id, account, amount, charge, fence],
            )
        });
        match changed.await? {
            0 => Err(Failure::Superseded),
            _ => Ok(()),
        }
    }

    async fn lines(&self) -> rusqlite::Result<Vec<Value>> {
        self.0
            .with(|database| {
                let mut lines = database.prepare("SELECT account, amount, charge FROM ledger")?;
                let lines = lines.query_map([], |line| {
                    let (account, amount): (Account, u32) = (line.get(0)?, line.get(1)?);
                    let charge: i64 = line.get(2)?;
                    Ok(json!({ "account": account, "amount": amount, "charge": charge }))
                })?;
                lines.collect()
            })
            .await
    }
}

// === The payment provider ===

/// Another company, behind its API; here a table. As usual it has idempotency keys of its own.
#[derive(Clone)]
struct Provider(Database);

impl Provider {
    /// Charges once for each key, and says under which number.
    async fn charge(&self, key: &str, amount: u32) -> Result<i64, Failure> {
        if amount > 1_000 {
            return Err(Failure::Declined);
        }
        let key = key.to_owned();
        let charge = self.0.with(move |database| {
            database.query_row(
                "INSERT INTO charges (key, amount, asked) VALUES (?1, ?2, 1)
                 ON CONFLICT (key) DO UPDATE SET asked = asked + 1 RETURNING number",
                params![key, amount],
                |charge| charge.get(0),
            )
        });
        let charge = charge.await?;
        sleep(SLOW).await; // the money is gone, and the answer is on its way
        Ok(charge)
    }

    async fn lines(&self) -> rusqlite::Result<Vec<Value>> {
        self.0
            .with(|database| {
                let mut lines = database.prepare("SELECT number, amount, asked FROM charges")?;
                let lines = lines.query_map([], |line| {
                    let (number, amount): (i64, u32) = (line.get(0)?, line.get(1)?);
                    let asked: u32 = line.get(2)?;
                    Ok(json!({ "charge": number, "amount": amount, "asked": asked }))
                })?;
                lines.collect()
            })
            .await
    }
}

/// So that there is time to kill the program.
const SLOW: Duration = Duration::from_millis(1_500);

// === The database ===

#[derive(Clone)]
struct Database(Arc<Mutex<Connection>>);

impl Database {
    fn open(file: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(file)?;
        connection.execute_batch(
            "CREATE TABLE IF NOT EXISTS ledger (
                 id TEXT PRIMARY KEY, account TEXT, amount INTEGER, charge INTEGER, fence INTEGER
             );
             CREATE TABLE IF NOT EXISTS charges (
                 number INTEGER PRIMARY KEY, key TEXT UNIQUE, amount INTEGER, asked INTEGER
             );",
        )?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Works with the connection where it may block.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> rusqlite::Result<T> {
        let connection = Arc::clone(&self.0);
        let done = spawn_blocking(move || {
            work(&connection.lock().unwrap_or_else(PoisonError::into_inner))
        });
        done.await.unwrap_or(Err(rusqlite::Error::UnwindingPanic))
    }
}

// === The rest ===

/// What follows this word on the command line.
fn argument(name: &str) -> Option<String> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.nth(1)
}

fn in_temp_dir() -> PathBuf {
    env::temp_dir().join("payments.sqlite")
}

async fn ctrl_c() {
    if signal::ctrl_c().await.is_err() {
        // Without a signal handler there is nothing to wait for; the process is ended from outside.
        std::future::pending::<()>().await;
    }
}
