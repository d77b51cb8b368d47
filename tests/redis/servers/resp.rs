//! A client of a few lines, so that no test asks the client under test how the server is.

use std::{
    fmt::{self, Write as _},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::Result;

/// A connection that sends one command at a time and waits 5 s for each answer.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: BufReader<S>,
}

impl Connection<TcpStream> {
    /// Connects to a port of the loopback interface.
    pub(crate) async fn to_port(port: u16) -> Result<Self> {
        Ok(Self::new(TcpStream::connect(("127.0.0.1", port)).await?))
    }
}

impl Connection<UnixStream> {
    /// Connects to a socket in the file system.
    pub(crate) async fn to_socket(path: &Path) -> Result<Self> {
        Ok(Self::new(UnixStream::connect(path).await?))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    fn new(stream: S) -> Self {
        Self {
            stream: BufReader::new(stream),
        }
    }

    /// Sends a command and waits for its answer; an error answer is an error.
    pub(crate) async fn call(&mut self, command: &[&str]) -> Result<Reply> {
        timeout(Duration::from_secs(5), self.exchange(command))
            .await
            .map_err(|_| "the server did not answer in 5 s")?
    }

    /// The next thing that the server says unasked.
    pub(crate) async fn hear(&mut self) -> Result<Reply> {
        timeout(Duration::from_secs(5), self.reply())
            .await
            .map_err(|_| "the server said nothing for 5 s")?
    }

    async fn exchange(&mut self, command: &[&str]) -> Result<Reply> {
        let mut request = format!("*{}\r\n", command.len());
        for word in command {
            write!(request, "${}\r\n{word}\r\n", word.len())?;
        }
        self.stream.write_all(request.as_bytes()).await?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let line = line
            .strip_suffix("\r\n")
            .ok_or("the server closed the connection")?;
        let (kind, rest) = line.split_at_checked(1).ok_or("the answer is empty")?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => Err(rest.into()),
            ":" => Ok(Reply::Number(rest.parse()?)),
            "$" | "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => self.text(rest.parse()?).await,
            "*" => {
                let mut items = Vec::new();
                for _ in 0..rest.parse::<usize>()? {
                    items.push(Box::pin(self.reply()).await?);
                }
                Ok(Reply::List(items))
            }
            _ => Err(format!("the answer is of no known kind: {line}").into()),
        }
    }

    async fn text(&mut self, len: usize) -> Result<Reply> {
        let mut text = vec![0; len + "\r\n".len()];
        self.stream.read_exact(&mut text).await?;
        text.truncate(len);
        Ok(Reply::Text(String::from_utf8(text)?))
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Nil,
    Number(i64),
    Text(String),
    List(Vec<Reply>),
}

impl Reply {
    /// The items of a list, and otherwise none.
    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// The value of a line `field:value`, as in the answers of `INFO` and `CLUSTER INFO`.
    pub(crate) fn field(&self, field: &str) -> Option<&str> {
        let Self::Text(text) = self else { return None };
        text.lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
    }

    /// The value after a name, in an answer that lists them alternately.
    pub(crate) fn after(&self, name: &str) -> Option<&Self> {
        let mut items = self.items().iter();
        items.find(|item| **item == *name)?;
        items.next()
    }
}

impl PartialEq<str> for Reply {
    fn eq(&self, other: &str) -> bool {
        matches!(self, Self::Text(text) if text == other)
    }
}

impl PartialEq<&str> for Reply {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

/// As `redis-cli` prints it to a file: a list is its items, one a line.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("(nil)"),
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::List(items) => items.iter().try_for_each(|item| writeln!(f, "{item}")),
        }
    }
}
