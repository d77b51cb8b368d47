//! Hits and misses over Redis and in memory against bare handlers and axum-response-cache, as ratios;
//! and how much is stored and sent.
//!
//! `cargo bench --bench cache_redis --all-features [-- --rounds 30]` starts a Redis server, a web
//! server in this process and a load generator in another, and prints ratios. In every round each
//! route is loaded once, the order turning from round to round, and a ratio is taken within a
//! round: what slows the machine down for a while slows both of its sides.
//!
//! Before that it prints what is counted; with `-- --no-load` nothing else.

use std::{env, time::Duration};

use tokio::{net::TcpListener, runtime::Runtime, time::sleep};

use self::{
    app::{App, Route},
    load::Load,
    processor::processor_time,
    rounds::Rounds,
    servers::{Result, standalone::Server},
};

mod app;
mod bytes;
#[path = "../layer_redis/load.rs"]
mod load;
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
        _ if support::is_asked_for() => bench(rounds_asked_for(&arguments)?),
        _ => Ok(()),
    }
}

/// A request of the load generator.
fn request(path: &str, client: usize) -> String {
    let mut routes = Route::ALL.into_iter();
    let route = routes.find(|route| route.path() == path);
    route.map_or_else(String::new, |route| request::to_http(route, client))
}

fn rounds_asked_for(arguments: &[String]) -> Result<usize> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match &**argument {
            "--rounds" => return Ok(arguments.next().ok_or("how many rounds?")?.parse()?),
            "--no-load" => return Ok(0),
            _ => {}
        }
    }
    Ok(ROUNDS)
}

fn bench(rounds: usize) -> Result<()> {
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::start())?;
    println!("{}", runtime.block_on(server.version())?);
    let app = runtime.block_on(count(&server))?;
    if rounds > 0 {
        let figures = load_all(&runtime, &server, &app, rounds)?;
        print_rates(&figures);
        print_ratios(&figures);
    }
    runtime.block_on(app.close());
    Ok(())
}

/// Prints what is counted, and leaves an application whose responses are stored.
async fn count(server: &Server) -> Result<App> {
    let app = App::start(&server.url()).await?;
    bytes::print(server, &app).await?;
    let weight = bytes::weigh(server, &app, bytes::PLAIN).await?;
    let app = app.with_bare(usize::try_from(weight.value)? - VERSION);
    server.call(&["FLUSHALL"]).await?;
    for client in 0..load::ALL_CLIENTS {
        for route in [Route::Get, Route::Moka] {
            app.store_bare(&request::path(route, client)).await?;
        }
        for route in [
            Route::Hit,
            Route::TaggedHit,
            Route::NearHit,
            Route::MemoryHit,
            Route::PeerHit,
        ] {
            app.ask(&request::path(route, client)).await?;
        }
    }
    print_commands(server, &app).await?;
    Ok(app)
}

/// What one request on each route sends to Redis.
async fn print_commands(server: &Server, app: &App) -> Result<()> {
    support::heading(&[&"commands of a request", &"number", &"names"]);
    for route in Route::ALL {
        // By then it is known what was purged, and what cannot be stored.
        app.ask(&request::path(Route::Hit, 0)).await?;
        app.ask(&request::path(Route::Private, 0)).await?;
        sleep(SETTLED).await;
        let path = request::path(route, 0).replace(load::FRESH, "000000000000");
        let asked = async {
            app.ask(&path).await?;
            sleep(SETTLED).await;
            Ok(())
        };
        let sent = server.commands_during(asked).await?;
        let names: Vec<&str> = sent.iter().map(|sent| &*sent.name).collect();
        support::row(&[&route.label(), &sent.len(), &names.join(", ")]);
    }
    Ok(())
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
}

impl Figures {
    fn of(route: Route) -> Self {
        Self {
            route,
            rate: Vec::new(),
            cost: Vec::new(),
            redis: Vec::new(),
        }
    }
}

fn load_all(runtime: &Runtime, server: &Server, app: &App, rounds: usize) -> Result<Vec<Figures>> {
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut load = Load::start(listener.local_addr()?, "")?;
    let service = app.router();
    runtime.spawn(async move { axum::serve(listener, service).await });

    for route in Route::ALL {
        load.run(route.path())?;
    }
    let mut all: Vec<Figures> = Route::ALL.into_iter().map(Figures::of).collect();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        for turn in 0..Route::ALL.len() {
            let Some(figures) = all.get_mut((round + turn) % Route::ALL.len()) else {
                continue;
            };
            let time_before = runtime.block_on(time_of_redis(server))?;
            let before = processor_time()?;
            let requests = load.run(figures.route.path())?;
            let spent = processor_time()?.saturating_sub(before);
            let time = runtime.block_on(time_of_redis(server))?;
            figures.rate.push(requests / load::TURN.as_secs_f64());
            figures.cost.push(spent.as_secs_f64() * 1e6 / requests);
            figures.redis.push((time - time_before) * 1e6 / requests);
        }
    }
    eprintln!();
    Ok(all)
}

/// How long Redis has been on a processor, in seconds.
async fn time_of_redis(server: &Server) -> Result<f64> {
    let info = server.call(&["INFO", "cpu"]).await?;
    let number = |field: &str| -> Result<f64> {
        let number = info.field(field).ok_or("INFO tells less than it did")?;
        Ok(number.parse()?)
    };
    Ok(number("used_cpu_user")? + number("used_cpu_sys")?)
}

fn print_rates(all: &[Figures]) {
    support::heading(&[
        &format!("{} connections", load::CONNECTIONS),
        &"requests a second",
        &"µs of CPU a request",
        &"µs of Redis a request",
    ]);
    for figures in all {
        let median = |figures: &[f64]| Rounds::new(figures.iter().copied()).median();
        support::row(&[
            &figures.route.label(),
            &format!("{:.0}", median(&figures.rate)),
            &format!("{:.1}", median(&figures.cost)),
            &format!("{:.1}", median(&figures.redis)),
        ]);
    }
}

fn print_ratios(all: &[Figures]) {
    support::heading(&[
        &"ratio, median (middle half)",
        &"CPU a request",
        &"requests a second",
        &"to be at least",
    ]);
    let of = |route: Route| all.iter().find(|figures| figures.route == route);
    for (route, to, target) in RATIOS {
        if let (Some(figures), Some(to_figures)) = (of(route), of(to)) {
            support::row(&[
                &format!("{} / {}", route.label(), to.label()),
                &Rounds::ratio(&figures.cost, &to_figures.cost),
                &Rounds::ratio(&figures.rate, &to_figures.rate),
                &target,
            ]);
        }
    }
}

/// What is compared to what, and the least that its requests a second should be.
const RATIOS: [(Route, Route, &str); 14] = [
    (Route::Hit, Route::Get, "0.9"),
    (Route::TaggedHit, Route::Hit, ""),
    (Route::Hit, Route::Axum, ""),
    (Route::Miss, Route::GetSet, ""),
    (Route::Miss, Route::Axum, ""),
    (Route::Private, Route::Axum, ""),
    (Route::Unruled, Route::Axum, ""),
    (Route::NearHit, Route::Moka, "0.8"),
    (Route::NearHit, Route::PeerHit, ""),
    (Route::MemoryHit, Route::PeerHit, "0.8"),
    (Route::MemoryHit, Route::Moka, ""),
    (Route::MemoryMiss, Route::PeerMiss, ""),
    (Route::MemoryMiss, Route::Axum, ""),
    (Route::PeerHit, Route::Moka, ""),
];

const ROUNDS: usize = 15;

/// The bytes before a value.
const VERSION: usize = 8;

/// A response is stored after its client has it.
const SETTLED: Duration = Duration::from_millis(20);
