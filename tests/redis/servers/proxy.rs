//! A network that misbehaves on demand.

use std::{
    future::pending,
    pin::{Pin, pin},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

use super::Result;

/// A TCP proxy in front of a server; dropping it closes every connection.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    weather: watch::Sender<Weather>,
    accept: JoinHandle<()>,
}

/// What becomes of the bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Network {
    /// All arrive.
    #[default]
    Passes,
    /// Requests arrive, answers do not: the server acts and the client never hears.
    LosesReplies,
    /// Answers arrive this much later.
    DelaysReplies(Duration),
    /// Present connections break, also when the network passes again at once; new ones break too.
    Cut,
    /// Present connections stay open and are silent for good; new ones pass.
    Stalls,
}

/// The network now, how often it was cut before, and how often it stalled.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    network: Network,
    cuts: u64,
    stalls: u64,
}

impl Weather {
    /// Whether a connection that was made in this weather is broken by now.
    fn breaks(&self, made_in: &Self) -> bool {
        self.network == Network::Cut || self.cuts > made_in.cuts
    }

    /// Whether a connection that was made in this weather is silent by now.
    fn stalls(&self, made_in: &Self) -> bool {
        self.stalls > made_in.stalls
    }
}

impl Proxy {
    /// Starts a proxy that passes everything on to a port of the loopback interface.
    pub(crate) async fn start(server: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let (weather, seen) = watch::channel(Weather::default());
        let accept = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connection(client, server, seen.clone()));
            }
        });
        Ok(Self {
            port,
            weather,
            accept,
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's URL through the proxy.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Changes the network for present and future connections.
    pub(crate) fn set(&self, network: Network) {
        self.weather.send_modify(|weather| {
            weather.network = network;
            weather.cuts += u64::from(network == Network::Cut);
            weather.stalls += u64::from(network == Network::Stalls);
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

/// Serves one client until either side closes, the network is cut, or the proxy is gone.
async fn connection(client: TcpStream, server: u16, weather: watch::Receiver<Weather>) {
    let made_in = *weather.borrow();
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut stalling = weather.clone();
    let traffic = pin!(async {
        // What ends one of them ends the connection, so its result is of no interest.
        tokio::select! {
            _ = requests(from_client, to_server) => {}
            _ = replies(from_server, to_client, weather.clone(), made_in) => {}
        }
    });
    let mut cutting = weather.clone();
    tokio::select! {
        _ = cutting.wait_for(|weather| weather.breaks(&made_in)) => {}
        () = until_stalled(&mut stalling, made_in, traffic) => {}
    }
}

/// Passes traffic on until the network stalls, and then keeps its connections without reading them.
async fn until_stalled(
    stalling: &mut watch::Receiver<Weather>,
    made_in: Weather,
    mut traffic: Pin<&mut impl Future<Output = ()>>,
) {
    tokio::select! {
        _ = stalling.wait_for(|weather| weather.stalls(&made_in)) => {}
        () = &mut traffic => return,
    }
    pending::<()>().await;
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) -> Result<()> {
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(())
}

async fn replies(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    weather: watch::Receiver<Weather>,
    made_in: Weather,
) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = from.read(&mut buffer).await?;
        let now = *weather.borrow();
        if len == 0 || now.breaks(&made_in) {
            return Ok(());
        }
        match now.network {
            Network::LosesReplies => continue,
            Network::DelaysReplies(delay) => sleep(delay).await,
            Network::Passes | Network::Cut | Network::Stalls => {}
        }
        to.write_all(&buffer[..len]).await?;
    }
}
