//! Another process with the same sessions, which does as it is told.

use std::{cell::Cell, env, io::stdin, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    runtime::Runtime,
    time::sleep,
};
use tower_stash::{
    backend::RedisBackend,
    session::{LoginTicket, OnGone, SessionRule, SessionState},
};

use super::app::{Browser, layer_of};
use crate::servers::{Result, standalone::Server};

/// A process that ends with this one.
#[derive(Debug)]
pub(super) struct Peer {
    /// Killed when dropped.
    _process: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    /// Starts one whose sessions are those of this backend.
    pub(super) async fn start(server: &Server, backend: &RedisBackend) -> Result<Self> {
        let address = format!("{} {}", server.url(), backend.namespace());
        let mut process = Command::new(env::current_exe()?)
            .env(PEER, address)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (orders, answers) = pipes.ok_or("no pipes")?;
        let mut peer = Self {
            _process: process,
            orders,
            answers: BufReader::new(answers).lines(),
        };
        // Once it is connected it answers.
        peer.order("ready".to_owned()).await?;
        Ok(peer)
    }

    /// Gives an order, and the answer.
    pub(super) async fn order(&mut self, words: String) -> Result<String> {
        self.orders
            .write_all((words.clone() + "\n").as_bytes())
            .await?;
        let answer = self.answers.next_line().await?;
        let answer = answer.ok_or("the other process has ended")?;
        match answer.strip_prefix("failed: ") {
            Some(error) => Err(format!("{words}: {error}").into()),
            None => Ok(answer),
        }
    }
}

/// If this process was started to be a peer, is one until its orders end, and says so.
pub(crate) fn obey_if_asked() -> bool {
    let Ok(address) = env::var(PEER) else {
        return false;
    };
    let (url, namespace) = address.split_once(' ').expect("a URL and a namespace");
    let runtime = Runtime::new().expect("a runtime");
    let connection = RedisBackend::connect(url);
    let backend = runtime.block_on(connection).expect("a connection");
    let backend = backend.with_namespace(namespace).expect("a namespace");
    let rule = SessionRule::new("web").expect("a rule");
    let layer = layer_of(&backend, rule.with_on_gone(OnGone::Reject));
    let browser = Browser::new(&layer.expect("a layer"));
    let mut ticket = None;
    for line in stdin().lines() {
        let line = line.expect("a line");
        let words: Vec<_> = line.split(' ').collect();
        let done = runtime.block_on(obey(&browser, &mut ticket, &words));
        println!(
            "{}",
            done.unwrap_or_else(|error| format!("failed: {error}"))
        );
    }
    true
}

async fn obey(
    browser: &Browser,
    ticket: &mut Option<LoginTicket>,
    words: &[&str],
) -> Result<String> {
    let with = |cookie: &str| browser.fork().with_cookie(cookie);
    match *words {
        ["ready"] => Ok("ready".to_owned()),
        ["write", cookie, name, count] => write(&with(cookie), name, count.parse()?).await,
        ["count", cookie, count] => {
            let browser = with(cookie);
            for _ in 0..count.parse()? {
                browser.incr("count").await.text()?;
            }
            Ok("done".to_owned())
        }
        ["save", cookie, wait] => save(&with(cookie), millis(wait)?).await,
        ["logout", cookie, wait] => {
            sleep(millis(wait)?).await;
            with(cookie).logout().await.text()
        }
        ["ticket", user] => {
            *ticket = Some(browser.sessions().begin_login(user).await?);
            Ok("begun".to_owned())
        }
        ["login", wait] => {
            let ticket = ticket.take().ok_or("there is no ticket")?;
            login(&browser.fork(), ticket, millis(wait)?).await
        }
        ["everywhere", user, wait] => {
            sleep(millis(wait)?).await;
            let ended = browser.sessions().destroy_all(user).await?;
            Ok(ended.to_string())
        }
        _ => Err("no such order".into()),
    }
}

/// So many requests that each find what the one before wrote, and write the next number.
async fn write(browser: &Browser, name: &str, count: i64) -> Result<String> {
    for n in 1..=count {
        browser
            .ask(async |session| {
                let before = session.get::<i64>(name).await?.unwrap_or(0);
                assert_eq!(before, n - 1, "{name} as the last request left it");
                session.insert(name, n).await?;
                Ok(String::new())
            })
            .await
            .text()?;
    }
    Ok("done".to_owned())
}

/// A request that takes its time: what it found, its status, and how many cookies it was given.
async fn save(browser: &Browser, wait: Duration) -> Result<String> {
    let found = Cell::new(SessionState::None);
    let saved = browser
        .ask(async |session| {
            found.set(session.state().await?);
            sleep(wait).await;
            session.insert("saved", 1).await?;
            Ok(String::new())
        })
        .await;
    let (found, status) = (found.get(), saved.status.as_u16());
    Ok(format!("{found:?} {status} {}", saved.cookies.len()))
}

/// The status of a login, and the cookie it gave or a dash.
async fn login(browser: &Browser, ticket: LoginTicket, wait: Duration) -> Result<String> {
    let login = browser
        .ask(async |session| {
            sleep(wait).await;
            session.login(ticket.clone()).await?;
            Ok(String::new())
        })
        .await;
    let cookie = browser.cookie().unwrap_or_else(|| "-".to_owned());
    Ok(format!("{} {cookie} {}", login.status.as_u16(), login.text))
}

fn millis(text: &str) -> Result<Duration> {
    Ok(Duration::from_millis(text.parse()?))
}

/// The variable that makes this program a peer instead of running tests.
const PEER: &str = "TOWER_STASH_TEST_PEER";
