//! The load generator: connections that are kept open, each with one request under way at a time.

use std::{cell::Cell, io::BufRead as _, net::SocketAddr, time::Duration};

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

/// Reads paths, a line each; loads each for a turn and prints how many requests were answered.
pub(crate) fn generate(address: SocketAddr) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let connect = (0..CONNECTIONS).map(|number| Connection::open(address, number));
    let mut connections = runtime.block_on(try_join_all(connect))?;
    for path in std::io::stdin().lock().lines() {
        println!("{}", runtime.block_on(turn(&mut connections, &path?))?);
    }
    Ok(())
}

async fn turn(connections: &mut [Connection], path: &str) -> Result<u32> {
    let is_over = Cell::new(false);
    let requests = connections
        .iter_mut()
        .map(|connection| connection.run(path, &is_over));
    let end = async {
        sleep(TURN).await;
        is_over.set(true);
        Ok(())
    };
    let (counts, ()) = tokio::try_join!(try_join_all(requests), end)?;
    Ok(counts.iter().sum())
}

struct Connection {
    stream: TcpStream,
    number: usize,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(address: SocketAddr, number: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            number,
            buffer: Vec::with_capacity(4096),
        })
    }

    async fn run(&mut self, path: &str, is_over: &Cell<bool>) -> Result<u32> {
        let requests: Vec<String> = (0..CLIENTS)
            .map(|client| {
                let client = self.number * CLIENTS + client;
                format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nx-client: client-of-the-bench-{client:05}\r\n\r\n")
            })
            .collect();
        let mut count = 0;
        for request in requests.iter().cycle() {
            if is_over.get() {
                break;
            }
            self.stream.write_all(request.as_bytes()).await?;
            self.read_response().await?;
            count += 1;
        }
        Ok(count)
    }

    /// Reads a response whose body is [`BODY`](crate::app::BODY); anything else is an error.
    async fn read_response(&mut self) -> Result<()> {
        self.buffer.clear();
        let end = format!("\r\n\r\n{}", crate::app::BODY);
        while !self.buffer.ends_with(end.as_bytes()) {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the server closed a connection".into());
            }
            if !self.buffer.starts_with(b"HTTP/1.1 200 ") {
                let answer = String::from_utf8_lossy(&self.buffer);
                return Err(format!("a request was not admitted: {answer}").into());
            }
        }
        Ok(())
    }
}
