//! The load generator: connections that are kept open, each with one request under way at a time.

use std::{
    cell::Cell,
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use futures_util::future::try_join_all;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    time::sleep,
};

use crate::servers::Result;

pub(crate) const CONNECTIONS: usize = 64;

/// How long a route is loaded at a time.
pub(crate) const TURN: Duration = Duration::from_millis(400);

/// Clients behind each connection, so that each of them stays below its limit.
const CLIENTS: usize = 16;

/// How many clients there are in all, by numbers from 0.
pub(crate) const ALL_CLIENTS: usize = CONNECTIONS * CLIENTS;

/// Twelve bytes of a request in whose place the generator writes digits.
pub(crate) const FRESH: &str = "############";

/// The child process that makes the requests, so that its processor time is not ours.
pub(crate) struct Load {
    process: Child,
    orders: ChildStdin,
    counts: BufReader<ChildStdout>,
}

impl Load {
    /// What the process is to know is written to its standard input before any path.
    pub(crate) fn start(address: SocketAddr, to_know: &str) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["load", &address.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (mut orders, counts) = pipes.ok_or("the load generator has no pipes")?;
        orders.write_all(to_know.as_bytes())?;
        Ok(Self {
            process,
            orders,
            counts: BufReader::new(counts),
        })
    }

    /// Loads a path for a turn, and says how many requests were answered.
    pub(crate) fn run(&mut self, path: &str) -> Result<f64> {
        writeln!(self.orders, "{path}")?;
        let mut count = String::new();
        self.counts.read_line(&mut count)?;
        let count: u32 = count
            .trim()
            .parse()
            .map_err(|_| "the load generator failed")?;
        Ok(count.into())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Makes the request for a path and the number of a client; in it, [`FRESH`] stands for digits that
/// no other request has.
pub(crate) type Requests<'a> = &'a dyn Fn(&str, usize) -> String;

/// Reads paths, a line each; loads each for a turn and prints how many requests were answered.
pub(crate) fn generate(address: SocketAddr, requests: Requests<'_>) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connect = (0..CONNECTIONS).map(|number| Connection::open(address, number));
    let mut connections = runtime.block_on(try_join_all(connect))?;
    for path in io::stdin().lines() {
        let count = runtime.block_on(turn(&mut connections, &path?, requests))?;
        println!("{count}");
    }
    Ok(())
}

async fn turn(connections: &mut [Connection], path: &str, requests: Requests<'_>) -> Result<u32> {
    let is_over = Cell::new(false);
    let running = connections
        .iter_mut()
        .map(|connection| connection.run(path, requests, &is_over));
    let end = async {
        sleep(TURN).await;
        is_over.set(true);
        Ok(())
    };
    let (counts, ()) = tokio::try_join!(try_join_all(running), end)?;
    Ok(counts.iter().sum())
}

struct Connection {
    stream: TcpStream,
    number: usize,
    /// How many requests were given digits.
    given: u32,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            number,
            given: 0,
            buffer: Vec::with_capacity(4096),
        })
    }

    async fn run(
        &mut self,
        path: &str,
        requests: Requests<'_>,
        is_over: &Cell<bool>,
    ) -> Result<u32> {
        let requests: Vec<String> = (0..CLIENTS)
            .map(|client| requests(path, self.number * CLIENTS + client))
            .collect();
        let mut count = 0;
        for request in requests.iter().cycle() {
            if is_over.get() {
                break;
            }
            match request.split_once(FRESH) {
                None => self.stream.write_all(request.as_bytes()).await?,
                Some((before, after)) => {
                    let request = format!("{before}{}{after}", self.fresh());
                    self.stream.write_all(request.as_bytes()).await?;
                }
            }
            self.read_response(path).await?;
            count += 1;
        }
        Ok(count)
    }

    /// As many digits as [`FRESH`] has, which nobody was given before.
    fn fresh(&mut self) -> String {
        self.given += 1;
        format!("{:03}{:09}", self.number, self.given)
    }

    /// Reads a response whose body is [`BODY`](crate::app::BODY); anything else is an error.
    async fn read_response(&mut self, path: &str) -> Result<()> {
        self.buffer.clear();
        let end = format!("\r\n\r\n{}", crate::app::BODY);
        while !self.buffer.ends_with(end.as_bytes()) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed a connection".into());
            }
            if !self.buffer.starts_with(b"HTTP/1.1 200 ") {
                let answer = String::from_utf8_lossy(&self.buffer);
                return Err(format!("{path} was not answered with 200: {answer}").into());
            }
        }
        Ok(())
    }
}
