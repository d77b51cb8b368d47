//! `RateLimitLayer` over Redis against handlers that make one call to Redis themselves.
//!
//! `cargo bench --bench layer_redis --all-features [-- --rounds 30]` starts a Redis server, a web
//! server in this process and a load generator in another, and prints ratios. In every round each
//! route is loaded once, the order turning from round to round, and a ratio is taken within a
//! round: what slows the machine down for a while slows both of its sides.

use std::env;

use tokio::{net::TcpListener, runtime::Runtime};

use self::{
    app::{App, Route},
    load::Load,
    processor::processor_time,
    rounds::Rounds,
    servers::{Result, standalone::Server},
};

mod app;
#[expect(dead_code, reason = "another bench uses the rest")]
mod load;
mod processor;
#[path = "../support/redis.rs"]
mod redis;
mod rounds;
mod scripts;
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

fn request(path: &str, client: usize) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-client: client-of-the-bench-{client:05}\r\n\r\n"
    )
}

/// The number after `--rounds`.
fn rounds_asked_for(arguments: &[String]) -> Result<usize> {
    let mut arguments = arguments.iter();
    match arguments.find(|argument| *argument == "--rounds") {
        None => Ok(ROUNDS),
        Some(_) => Ok(arguments.next().ok_or("how many rounds?")?.parse()?),
    }
}

fn bench(rounds: usize) -> Result<()> {
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::start())?;
    println!("{}", runtime.block_on(server.version())?);
    let app = runtime.block_on(App::start(&server))?;

    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut load = Load::start(listener.local_addr()?, "")?;
    let router = app.router()?;
    runtime.spawn(async move { axum::serve(listener, router).await });
    let figures = load_all(&mut load, rounds)?;
    drop(load);
    print_rates(&figures);
    print_ratios(&figures);

    let costs = runtime.block_on(scripts::measure(&server, &app, rounds))?;
    scripts::print(&costs);
    runtime.block_on(app.close());
    Ok(())
}

/// What was seen of one route, round by round.
#[derive(Default)]
struct Figures {
    /// Requests a second.
    rate: Vec<f64>,
    /// This process' processor time a request, in microseconds.
    cost: Vec<f64>,
}

fn load_all(load: &mut Load, rounds: usize) -> Result<[Figures; Route::ALL.len()]> {
    for route in Route::ALL {
        load.run(route.path())?;
    }
    let mut figures: [Figures; Route::ALL.len()] = Default::default();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        for turn in 0..Route::ALL.len() {
            let index = (round + turn) % Route::ALL.len();
            if let (Some(route), Some(figures)) = (Route::ALL.get(index), figures.get_mut(index)) {
                let before = processor_time()?;
                let requests = load.run(route.path())?;
                let spent = processor_time()?.saturating_sub(before);
                figures.rate.push(requests / load::TURN.as_secs_f64());
                figures.cost.push(spent.as_secs_f64() * 1e6 / requests);
            }
        }
    }
    eprintln!();
    Ok(figures)
}

fn print_rates(figures: &[Figures]) {
    support::heading(&[
        &format!("{} connections", load::CONNECTIONS),
        &"requests a second",
        &"µs of CPU a request",
    ]);
    for (route, figures) in Route::ALL.iter().zip(figures) {
        let rate = Rounds::new(figures.rate.iter().copied()).median();
        let cost = Rounds::new(figures.cost.iter().copied()).median();
        support::row(&[&route.label(), &format!("{rate:.0}"), &format!("{cost:.1}")]);
    }
}

fn print_ratios(figures: &[Figures; Route::ALL.len()]) {
    support::heading(&[
        &"ratio, median (middle half)",
        &"CPU a request",
        &"requests a second",
    ]);
    let of = |route: Route| {
        let index = Route::ALL.iter().position(|other| *other == route);
        index.and_then(|index| figures.get(index))
    };
    for (route, to) in RATIOS {
        if let (Some(route_figures), Some(to_figures)) = (of(route), of(to)) {
            support::row(&[
                &format!("{} / {}", route.label(), to.label()),
                &Rounds::ratio(&route_figures.cost, &to_figures.cost),
                &Rounds::ratio(&route_figures.rate, &to_figures.rate),
            ]);
        }
    }
}

/// What is compared to what. The first is the layer's own cost on top of one round trip.
const RATIOS: [(Route, Route); 6] = [
    (Route::Layer, Route::Acquire),
    (Route::Backend, Route::Acquire),
    (Route::Layer, Route::Backend),
    (Route::Layer, Route::Script),
    (Route::Layer, Route::Get),
    (Route::Acquire, Route::Script),
];

const ROUNDS: usize = 15;
