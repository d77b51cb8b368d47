//! Where a site is going to be.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::trial::Result;

/// A port that is taken before there is anything to serve, for what has to name it.
#[derive(Debug)]
pub(crate) struct Port {
    listener: TcpListener,
    address: SocketAddr,
}

impl Port {
    /// Takes a free port.
    pub(crate) async fn bind() -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// What browsers call the origin of a host's pages.
    pub(crate) fn origin(&self, host: &str) -> String {
        format!("https://{host}:{}", self.address.port())
    }

    pub(super) fn into_parts(self) -> (TcpListener, u16) {
        (self.listener, self.address.port())
    }
}
