//! A network on which one command has an accident.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
    time::sleep,
};

use super::Result;

/// A TCP proxy in front of a server, which counts the commands with a certain text in them and lets
/// one of them have an accident; dropping it closes the port.
///
/// A connection on which something is lost stays open, and nothing arrives on it any more, as TCP
/// loses nothing in the middle. New connections pass.
#[derive(Debug)]
pub(crate) struct Wire {
    port: u16,
    plan: Arc<Plan>,
    accept: JoinHandle<()>,
}

/// What happens to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accident {
    /// It does not arrive.
    CommandLost,
    /// It arrives, and its answer does not.
    ReplyLost,
    /// Its answer arrives this much later.
    ReplyLate(Duration),
    /// It arrives this much later, when its client may have another connection.
    CommandLate(Duration),
    /// Half of it arrives, then the connection breaks.
    CutInside,
    /// It arrives, and the connection breaks when the server has answered.
    CutAfter,
}

impl Accident {
    /// One of each.
    pub(crate) const ALL: [Self; 6] = [
        Self::CommandLost,
        Self::ReplyLost,
        Self::ReplyLate(Duration::from_millis(400)),
        Self::CommandLate(LATE),
        Self::CutInside,
        Self::CutAfter,
    ];
}

/// So much later a command arrives; longer than two tries and the making of a connection.
pub(crate) const LATE: Duration = Duration::from_millis(1_500);

#[derive(Debug)]
struct Plan {
    /// What the commands have in them that are counted.
    counted: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    count: u32,
    /// At which of them what happens.
    accident: Option<(u32, Accident)>,
}

impl Wire {
    /// Starts one that passes everything on to a port of the loopback interface.
    ///
    /// A command is counted where it is sent by itself, as is one at a time.
    pub(crate) async fn start(server: u16, counted: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let plan = Arc::new(Plan {
            counted: counted.to_owned(),
            state: Mutex::default(),
        });
        let followed = Arc::clone(&plan);
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, Arc::clone(&followed)));
            }
        });
        Ok(Self { port, plan, accept })
    }

    /// The server's URL through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Lets this happen to the command of this number, the first one being 0.
    pub(crate) fn strike(&self, number: u32, accident: Accident) {
        self.plan.state().accident = Some((number, accident));
    }

    /// How many commands were counted.
    pub(crate) fn count(&self) -> u32 {
        self.plan.state().count
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl Plan {
    /// What happens to these bytes.
    fn accident(&self, sent: &[u8]) -> Option<Accident> {
        let counted = self.counted.as_bytes();
        if !sent.windows(counted.len()).any(|text| text == counted) {
            return None;
        }
        let mut state = self.state();
        let number = state.count;
        state.count += 1;
        let (at, accident) = state.accident?;
        (at == number).then_some(accident)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has happened on a connection.
#[derive(Debug, Default)]
struct Fate {
    is_silent: AtomicBool,
    is_cut_at_reply: AtomicBool,
    late: Mutex<Duration>,
}

/// Serves one client until either side closes, or the connection is cut.
async fn connection(client: TcpStream, server: u16, plan: Arc<Plan>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let fate = Fate::default();
    // What ends one of them ends the connection, so its result is of no interest.
    tokio::select! {
        _ = commands(from_client, to_server, &plan, &fate) => {}
        _ = replies(from_server, to_client, &fate) => {}
    }
}

async fn commands(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: &Plan,
    fate: &Fate,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut buffer).await?;
        let sent = &buffer[..len];
        if len == 0 {
            return Ok(());
        }
        match plan.accident(sent) {
            Some(Accident::CommandLost) => return swallow(from).await,
            Some(Accident::CommandLate(late)) => {
                tokio::spawn(deliver(to, sent.to_vec(), late));
                return swallow(from).await;
            }
            Some(Accident::ReplyLost) => fate.is_silent.store(true, Ordering::SeqCst),
            Some(Accident::ReplyLate(late)) => {
                *fate.late.lock().unwrap_or_else(PoisonError::into_inner) = late;
            }
            Some(Accident::CutInside) => {
                to.write_all(&sent[..len / 2]).await?;
                return Ok(());
            }
            Some(Accident::CutAfter) => fate.is_cut_at_reply.store(true, Ordering::SeqCst),
            None => {}
        }
        to.write_all(sent).await?;
    }
}

/// Reads until the client closes.
async fn swallow(mut from: OwnedReadHalf) -> Result<()> {
    tokio::io::copy(&mut from, &mut tokio::io::sink()).await?;
    Ok(())
}

/// Delivers a command, and gives the server a while to read it before the connection closes.
async fn deliver(mut to: OwnedWriteHalf, sent: Vec<u8>, late: Duration) -> Result<()> {
    sleep(late).await;
    to.write_all(&sent).await?;
    sleep(LATE).await;
    Ok(())
}

async fn replies(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, fate: &Fate) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut buffer).await?;
        if len == 0 || fate.is_cut_at_reply.load(Ordering::SeqCst) {
            return Ok(());
        }
        let late = std::mem::take(&mut *fate.late.lock().unwrap_or_else(PoisonError::into_inner));
        sleep(late).await;
        if !fate.is_silent.load(Ordering::SeqCst) {
            to.write_all(&buffer[..len]).await?;
        }
    }
}
