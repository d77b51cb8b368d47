//! `SessionLayer` over Redis against handlers that call Redis themselves, and against
//! tower-sessions with its Redis store.
//!
//! `cargo bench --bench session_redis --all-features [-- --rounds 30]` starts a Redis server, a web
//! server in this process and a load generator in another, and prints ratios. In every round each
//! route is loaded once, the order turning from round to round, and a ratio is taken within a
//! round: what slows the machine down for a while slows both of its sides.
//!
//! Before that it prints what sessions take of Redis' memory, and what two processes lose that
//! write different attributes of one session; with `-- --no-load` nothing else.

use std::{env, fmt::Write as _, io};

use tokio::{net::TcpListener, runtime::Runtime};

use self::{
    app::{App, Route, Side},
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
mod writers;

fn main() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &*arguments.iter().map(String::as_str).collect::<Vec<_>>() {
        ["load", address] => {
            let cookies = read_cookies()?;
            load::generate(address.parse()?, &|path, client| {
                request(path, client, &cookies)
            })
        }
        ["write", url, prefix, field, cookie] => writers::write(url, prefix, field, cookie),
        _ if support::is_asked_for() => bench(rounds_asked_for(&arguments)?),
        _ => Ok(()),
    }
}

/// The number after `--rounds`; none with `--no-load`.
fn rounds_asked_for(arguments: &[String]) -> Result<usize> {
    let mut arguments = arguments.iter();
    match arguments.find(|argument| ["--rounds", "--no-load"].contains(&argument.as_str())) {
        None => Ok(ROUNDS),
        Some(argument) if argument == "--no-load" => Ok(0),
        Some(_) => Ok(arguments.next().ok_or("how many rounds?")?.parse()?),
    }
}

fn bench(rounds: usize) -> Result<()> {
    let runtime = Runtime::new()?;
    let server = runtime.block_on(Server::start())?;
    println!("{}", runtime.block_on(server.version())?);
    let app = runtime.block_on(App::start(&server.url()))?;
    runtime.block_on(bytes::print(&server, &app))?;
    runtime.block_on(writers::print(&server, &app))?;
    if rounds > 0 {
        let figures = load_all(&runtime, &server, &app, rounds)?;
        print_rates(&figures);
        print_ratios(&figures);
    }
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
    /// The same of Redis.
    redis: Vec<f64>,
    /// How often Redis read from its connection, a request: the fewer, the more commands at a time.
    reads: Vec<f64>,
}

type AllFigures = [Figures; Route::ALL.len()];

fn load_all(runtime: &Runtime, server: &Server, app: &App, rounds: usize) -> Result<AllFigures> {
    let cookies = runtime.block_on(prepare(server, app))?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut load = Load::start(listener.local_addr()?, &cookies)?;
    let router = app.router();
    runtime.spawn(async move { axum::serve(listener, router).await });

    for route in Route::ALL {
        load.run(route.path())?;
    }
    let mut figures = AllFigures::default();
    for round in 0..rounds {
        eprint!("\rround {} of {rounds}", round + 1);
        for turn in 0..Route::ALL.len() {
            let index = (round + turn) % Route::ALL.len();
            if let (Some(route), Some(figures)) = (Route::ALL.get(index), figures.get_mut(index)) {
                let (time_before, reads_before) = runtime.block_on(of_redis(server))?;
                let before = processor_time()?;
                let requests = load.run(route.path())?;
                let spent = processor_time()?.saturating_sub(before);
                let (time, reads) = runtime.block_on(of_redis(server))?;
                figures.rate.push(requests / load::TURN.as_secs_f64());
                figures.cost.push(spent.as_secs_f64() * 1e6 / requests);
                figures.redis.push((time - time_before) * 1e6 / requests);
                figures.reads.push((reads - reads_before) / requests);
            }
        }
    }
    eprintln!();
    Ok(figures)
}

/// Gives each client a session on each side and as many bytes beside, and says the cookies, a line
/// each.
async fn prepare(server: &Server, app: &App) -> Result<String> {
    let weight = bytes::weigh(server, app, Side::Ours, bytes::LOADED).await?;
    let len = usize::try_from(weight.value)? - VERSION;
    server.call(&["FLUSHALL"]).await?;
    let mut cookies = String::new();
    for client in 0..load::ALL_CLIENTS {
        app.store_bare(&name(client), len).await?;
        let (ours, peer) = (app.begin(Side::Ours).await?, app.begin(Side::Peer).await?);
        _ = writeln!(cookies, "{ours} {peer}");
    }
    Ok(cookies)
}

fn read_cookies() -> Result<Vec<String>> {
    let lines = io::stdin().lines().take(load::ALL_CLIENTS);
    Ok(lines.collect::<io::Result<_>>()?)
}

/// A bare handler is sent our cookie, so that its request is as large.
fn request(path: &str, client: usize, cookies: &[String]) -> String {
    let cookies = cookies.get(client).map_or("", String::as_str);
    let (ours, peer) = cookies.split_once(' ').unwrap_or_default();
    let cookie = if path.starts_with(Side::Peer.prefix()) {
        peer
    } else {
        ours
    };
    let name = name(client);
    format!(
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nx-client: {name}\r\ncookie: {cookie}\r\n\r\n"
    )
}

fn name(client: usize) -> String {
    format!("client-of-the-bench-{client:05}")
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

fn print_rates(figures: &AllFigures) {
    support::heading(&[
        &format!("{} connections", load::CONNECTIONS),
        &"requests a second",
        &"µs of CPU a request",
        &"µs of Redis a request",
        &"its reads a request",
    ]);
    for (route, figures) in Route::ALL.iter().zip(figures) {
        let median = |figures: &[f64]| Rounds::new(figures.iter().copied()).median();
        support::row(&[
            &route.label(),
            &format!("{:.0}", median(&figures.rate)),
            &format!("{:.1}", median(&figures.cost)),
            &format!("{:.1}", median(&figures.redis)),
            &format!("{:.2}", median(&figures.reads)),
        ]);
    }
}

fn print_ratios(figures: &AllFigures) {
    support::heading(&[
        &"ratio, median (middle half)",
        &"CPU a request",
        &"Redis a request",
        &"requests a second",
        &"to be at least",
    ]);
    let of = |route: Route| {
        let index = Route::ALL.iter().position(|other| *other == route);
        index.and_then(|index| figures.get(index))
    };
    for (route, to, target) in RATIOS {
        if let (Some(route_figures), Some(to_figures)) = (of(route), of(to)) {
            support::row(&[
                &format!("{} / {}", route.label(), to.label()),
                &Rounds::ratio(&route_figures.cost, &to_figures.cost),
                &Rounds::ratio(&route_figures.redis, &to_figures.redis),
                &Rounds::ratio(&route_figures.rate, &to_figures.rate),
                &target,
            ]);
        }
    }
}

/// What is compared to what, and the least that its requests a second should be.
const RATIOS: [(Route, Route, &str); 10] = [
    (Route::Read, Route::Get, "0.9"),
    (Route::Write, Route::GetPut, "0.9"),
    (Route::Read, Route::PeerRead, "1.0"),
    (Route::Write, Route::PeerWrite, "1.2"),
    (Route::Read, Route::PlainGet, ""),
    (Route::Read, Route::GetTtl, ""),
    (Route::Write, Route::GetTtlPut, ""),
    (Route::GetTtl, Route::Get, ""),
    (Route::PeerRead, Route::Get, ""),
    (Route::Untouched, Route::Axum, ""),
];

const ROUNDS: usize = 15;

/// The bytes before a value.
const VERSION: usize = 8;
