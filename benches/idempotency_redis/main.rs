//! Runs and replays over Redis against bare handlers and axum-idempotent, as ratios; and how much is
//! stored, sent, and run twice.
//!
//! `cargo bench --bench idempotency_redis --all-features [-- --rounds 30]` starts a Redis server, a
//! web server in this process and a load generator in another, and prints ratios. In every round each
//! route is loaded once, the order turning from round to round, and a ratio is taken within a
//! round: what slows the machine down for a while slows both of its sides.
//!
//! axum-idempotent needs a server that lets fields of hashes expire. If the installed Redis does not,
//! Valkey is taken, if there is one, or else the peer left out; with `-- --redis` it is Redis anyway.
//!
//! Before that it prints what is counted; with `-- --no-load` nothing else.

use std::env;

use tokio::{net::TcpListener, runtime::Runtime};

use self::{
    app::{App, Route},
    load::Load,
    processor::processor_time,
    request::Asked,
    rounds::Rounds,
    servers::{Result, standalone::Server, valkey},
};

mod app;
mod bytes;
mod counts;
#[path = "../layer_redis/load.rs"]
mod load;
mod peer;
#[path = "../layer_redis/processor.rs"]
mod processor;
#[path = "../support/redis.rs"]
mod redis;
mod request;
#[path = "../layer_redis/rounds.rs"]
mod rounds;
#[path = "../../tests/redis/servers/mod.rs"]
#[allow(
    dead_code,
    clippy::indexing_slicing,
    clippy::large_futures,
    reason = "shared with the tests, which need more of it"
)]
mod servers;
#[path = "../support/mod.rs"]
mod support;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["load", address] => load::generate(address.parse()?, &request),
        _ if support::is_asked_for() => bench(&Options::of(&arguments)?),
        _ => Ok(()),
    }
}

/// A request of the load generator.
fn request(path: &str, client: usize) -> String {
    let mut routes = Route::ALL.into_iter();
    let route = routes.find(|route| route.path() == path);
    route.map_or_else(String::new, |route| Asked::loaded(route, client).to_http())
}

struct Options {
    rounds: usize,
    /// Whether it is Redis also where the peer cannot run on it.
    is_redis: bool,
}

impl Options {
    fn of(arguments: &[String]) -> Result<Self> {
        let mut options = Self {
            rounds: ROUNDS,
            is_redis: false,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match &**argument {
                "--rounds" => {
                    options.rounds = arguments.next().ok_or("how many rounds?")?.parse()?;
                }
                "--no-load" => options.rounds = 0,
                "--redis" => options.is_redis = true,
                _ => {}
            }
        }
        Ok(options)
    }
}

fn bench(options: &Options) -> Result<()> {
    let runtime = Runtime::new()?;
    let (server, has_peer) = runtime.block_on(start_server(options))?;
    println!("{}", runtime.block_on(server.version())?);
    let routes: Vec<Route> = Route::ALL
        .into_iter()
        .filter(|route| has_peer || !route.is_peers())
        .collect();
    let app = runtime.block_on(count(&server, &routes, has_peer))?;
    if options.rounds > 0 {
        let figures = load_all(&runtime, &server, &app, &routes, options.rounds)?;
        print_rates(&figures);
        print_ratios(&figures);
    }
    runtime.block_on(app.close());
    Ok(())
}

/// A server, and whether the peer can run on it.
async fn start_server(options: &Options) -> Result<(Server, bool)> {
    let redis = Server::start().await?;
    let has_peer = peer::can_run_on(&redis).await?;
    if has_peer || options.is_redis || valkey::find().is_none() {
        return Ok((redis, has_peer));
    }
    let valkey = valkey::start().await?;
    let has_peer = peer::can_run_on(&valkey).await?;
    Ok((valkey, has_peer))
}

/// Prints what is counted, and leaves an application whose answers are there.
async fn count(server: &Server, routes: &[Route], has_peer: bool) -> Result<App> {
    let app = App::start(&server.url(), has_peer).await?;
    bytes::print(server, &app, has_peer).await?;

    let other = App::start(&server.url(), has_peer).await?;
    counts::print_duplicates([&app, &other], has_peer).await?;
    other.close().await;

    let weight = bytes::weigh(server, &app, "ours", app::BODY.len()).await?;
    let app = app.with_bare(weight.value - VERSION);
    server.call(&["FLUSHALL"]).await?;
    for client in 0..load::ALL_CLIENTS {
        app.store_bare(&Asked::loaded(Route::Get, client)).await?;
        app.ask(&Asked::loaded(Route::Replay, client)).await?;
        if has_peer {
            app.ask(&Asked::loaded(Route::PeerReplay, client)).await?;
        }
    }
    counts::print_commands(server, &app, routes).await?;
    Ok(app)
}

/// What was seen of one route, round by round.
struct Figures {
    route: Route,
    /// Requests a second.
    rate: Vec<f64>,
    /// This process' processor time a request, in microseconds.
    cost: Vec<f64>,
    /// The same of Redis.
    redis: Vec<f64>,
    /// How often Redis read from its connection, a request: the fewer, the more commands at a time.
    reads: Vec<f64>,
}

impl Figures {
    fn of(route: Route) -> Self {
        Self {
            route,
            rate: Vec::new(),
            cost: Vec::new(),
            redis: Vec::new(),
            reads: Vec::new(),
        }
    }
}

fn load_all(
    runtime: &Runtime,
    server: &Server,
    app: &App,
    routes: &[Route],
    rounds: usize,
) -> Result<Vec<Figures>> {
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut load = Load::start(listener.local_addr()?, "")?;
    let service = app.router();
    runtime.spawn(async move { axum::serve(listener, service).await });

    for route in routes {
        load.run(route.path())?;
    }
    let mut all: Vec<Figures> = routes.iter().copied().map(Figures::of).collect();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        for turn in 0..routes.len() {
            let Some(figures) = all.get_mut((round + turn) % routes.len()) else {
                continue;
            };
            let (time_before, reads_before) = runtime.block_on(of_redis(server))?;
            let before = processor_time()?;
            let requests = load.run(figures.route.path())?;
            let spent = processor_time()?.saturating_sub(before);
            let (time, reads) = runtime.block_on(of_redis(server))?;
            figures.rate.push(requests / load::TURN.as_secs_f64());
            figures.cost.push(spent.as_secs_f64() * 1e6 / requests);
            figures.redis.push((time - time_before) * 1e6 / requests);
            figures.reads.push((reads - reads_before) / requests);
        }
    }
    eprintln!();
    Ok(all)
}

/// How long Redis has been on a processor, in seconds, and how often it has read.
async fn of_redis(server: &Server) -> Result<(f64, f64)> {
    let info = server.call(&["INFO", "everything"]).await?;
    let number = |field: &str| -> Result<f64> {
        let number = info.field(field).ok_or("INFO tells less than it did")?;
        Ok(number.parse()?)
    };
    let time = number("used_cpu_user")? + number("used_cpu_sys")?;
    Ok((time, number("total_reads_processed")?))
}

fn print_rates(all: &[Figures]) {
    support::heading(&[
        &format!("{} connections", load::CONNECTIONS),
        &"requests a second",
        &"µs of CPU a request",
        &"µs of Redis a request",
        &"its reads a request",
    ]);
    for figures in all {
        let median = |figures: &[f64]| Rounds::new(figures.iter().copied()).median();
        support::row(&[
            &figures.route.label(),
            &format!("{:.0}", median(&figures.rate)),
            &format!("{:.1}", median(&figures.cost)),
            &format!("{:.1}", median(&figures.redis)),
            &format!("{:.2}", median(&figures.reads)),
        ]);
    }
}

fn print_ratios(all: &[Figures]) {
    support::heading(&[
        &"ratio, median (middle half)",
        &"CPU a request",
        &"Redis a request",
        &"requests a second",
        &"to be at least",
    ]);
    let of = |route: Route| all.iter().find(|figures| figures.route == route);
    for (route, to, target) in RATIOS {
        if let (Some(figures), Some(to_figures)) = (of(route), of(to)) {
            support::row(&[
                &format!("{} / {}", route.label(), to.label()),
                &Rounds::ratio(&figures.cost, &to_figures.cost),
                &Rounds::ratio(&figures.redis, &to_figures.redis),
                &Rounds::ratio(&figures.rate, &to_figures.rate),
                &target,
            ]);
        }
    }
}

/// What is compared to what, and the least that its requests a second should be.
const RATIOS: [(Route, Route, &str); 11] = [
    (Route::Replay, Route::Get, "0.9"),
    (Route::Run, Route::GetSet, "0.8"),
    (Route::Replay, Route::PeerReplay, ""),
    (Route::Run, Route::PeerRun, ""),
    (Route::Replay, Route::Refused, ""),
    (Route::Run, Route::Stored, ""),
    (Route::RunOnce, Route::Run, ""),
    (Route::Refused, Route::Get, ""),
    (Route::Stored, Route::GetSet, ""),
    (Route::Unruled, Route::Axum, ""),
    (Route::Keyless, Route::Axum, ""),
];

const ROUNDS: usize = 15;

/// The bytes before a value.
const VERSION: usize = 8;
