//! One server, and what every topology is made of.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::{
    Result, eventually,
    process::{self, Process},
    resp::{Connection, Reply},
};

/// A server of a test's own making, which nobody else knows.
#[derive(Debug)]
pub(crate) struct Server {
    process: Process,
    port: u16,
    admin: Option<Admin>,
}

/// Who asks when the default user may not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admin {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
}

impl Server {
    /// A Redis server with nothing but its defaults, which stores nothing on disk.
    pub(crate) async fn start() -> Result<Self> {
        Launch::new("standalone")?.start().await
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The server's URL over TCP.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The server's URL over its Unix socket.
    pub(crate) fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    /// Where the server's files are; removed with it.
    pub(crate) fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Sends the server one command over a connection of its own.
    pub(crate) async fn call(&self, command: &[&str]) -> Result<Reply> {
        let mut connection = Connection::to_socket(&self.socket()).await?;
        if let Some(admin) = self.admin {
            connection
                .call(&["AUTH", admin.name, admin.password])
                .await?;
        }
        connection.call(command).await
    }

    /// How often each command was called since the start or `CONFIG RESETSTAT`, by its name in
    /// lower case; a subcommand reads `config|set`.
    pub(crate) async fn commandstats(&self) -> Result<BTreeMap<String, u64>> {
        let info = self.call(&["INFO", "commandstats"]).await?.to_string();
        let calls = info.lines().filter_map(|line| {
            let (name, stats) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let calls = stats.strip_prefix("calls=")?.split(',').next()?;
            Some((name.to_owned(), calls.parse().ok()?))
        });
        Ok(calls.collect())
    }

    /// The commands that clients over TCP send while `call` runs, each with the client's address in
    /// front and its arguments quoted; what scripts do and what [`call`](Self::call)
    /// sends is not among them.
    pub(crate) async fn commands_during(
        &self,
        call: impl Future<Output = Result<()>>,
    ) -> Result<Vec<Sent>> {
        const END: &str = "the end of the monitored call";
        let mut monitor = Connection::to_socket(&self.socket()).await?;
        monitor.call(&["MONITOR"]).await?;
        call.await?;
        self.call(&["ECHO", END]).await?;
        let mut sent = Vec::new();
        loop {
            let line = monitor.hear().await?.to_string();
            if line.contains(END) {
                return Ok(sent);
            }
            // 1700000000.000000 [0 127.0.0.1:40000] "GET" "key"
            let (source, command) = line
                .split_once(" [")
                .and_then(|(_, rest)| rest.split_once("] "))
                .ok_or("MONITOR speaks another language")?;
            let client = source.split_once(' ').map_or("", |(_, client)| client);
            if client == "lua" || client.starts_with("unix:") {
                continue;
            }
            let name = command.split('"').nth(1).unwrap_or_default();
            sent.push(Sent {
                client: client.to_owned(),
                name: name.to_ascii_lowercase(),
            });
        }
    }

    /// How many clients are connected besides those of the tests themselves.
    pub(crate) async fn connections(&self) -> Result<usize> {
        let clients = self.call(&["CLIENT", "LIST"]).await?.to_string();
        let ours = format!("addr={}", self.socket().display());
        Ok(clients
            .lines()
            .filter(|client| !client.contains(&ours))
            .count())
    }

    /// How many connections the server has ever accepted over TCP or its socket.
    pub(crate) async fn connections_ever(&self) -> Result<u64> {
        let info = self.call(&["INFO", "stats"]).await?;
        let ever = info.field("total_connections_received");
        Ok(ever.ok_or("INFO counts no connections")?.parse()?)
    }

    /// The name and number of what runs: `Redis 7.0.15`.
    pub(crate) async fn version(&self) -> Result<String> {
        let info = self.call(&["INFO", "server"]).await?;
        let valkey = info.field("valkey_version").map(|v| format!("Valkey {v}"));
        let redis = info.field("redis_version").map(|v| format!("Redis {v}"));
        Ok(valkey.or(redis).ok_or("the server has no version")?)
    }

    /// Stops the server without closing a connection: it accepts, and does not answer.
    pub(crate) fn pause(&self) -> Result<()> {
        self.process.pause()
    }

    /// Lets the server go on after [`pause`](Self::pause).
    pub(crate) fn resume(&self) -> Result<()> {
        self.process.resume()
    }

    /// Kills the server: connections break, new ones are refused, what it stored is gone.
    pub(crate) fn kill(&self) -> Result<()> {
        self.process.kill()
    }

    /// Starts the server again after [`kill`](Self::kill), on its port, and waits for its answers.
    pub(crate) async fn restart(&self) -> Result<()> {
        self.process.start_again()?;
        self.ready().await
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket(self.process.directory())
    }

    async fn ready(&self) -> Result<()> {
        eventually("the server answers", async || {
            Ok(self.call(&["PING"]).await? == "PONG")
        })
        .await
        .map_err(|error| format!("{error}; its log ends:\n{}", self.process.log_tail()).into())
    }
}

/// A command as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    /// The address of the client's end.
    pub(crate) client: String,
    /// The command's name in lower case.
    pub(crate) name: String,
}

/// A server about to be started.
#[derive(Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    directory: PathBuf,
    port: u16,
    settings: Vec<String>,
    mode: Option<&'static str>,
    admin: Option<Admin>,
}

impl Launch {
    /// The installed Redis, listening on a free port of the loopback interface, in a new directory
    /// with this name in it.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let program = process::find_program("redis-server")
            .ok_or("could not find redis-server: run ./scripts/setup, which installs it")?;
        let directory = process::directory(name)?;
        Ok(Self {
            program,
            directory,
            port: process::free_port()?,
            settings: Vec::new(),
            mode: None,
            admin: None,
        })
    }

    /// Starts another program that takes the same settings.
    pub(crate) fn with_program(mut self, program: PathBuf) -> Self {
        self.program = program;
        self
    }

    /// Adds lines to the configuration file.
    pub(crate) fn with_settings(mut self, settings: impl IntoIterator<Item = String>) -> Self {
        self.settings.extend(settings);
        self
    }

    /// Gives the command line an argument that chooses a mode.
    pub(crate) fn with_mode(mut self, mode: &'static str) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Asks the server as this user, where the default user may not.
    pub(crate) fn with_admin(mut self, admin: Admin) -> Self {
        self.admin = Some(admin);
        self
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the server and waits for its answers.
    pub(crate) async fn start(self) -> Result<Server> {
        let configuration = self.directory.join("server.conf");
        fs::write(&configuration, self.configuration())?;
        let configuration = configuration
            .to_str()
            .ok_or("the temporary directory is not UTF-8")?;
        let arguments: Vec<_> = [configuration].into_iter().chain(self.mode).collect();

        let server = Server {
            process: Process::start(&self.directory, &self.program, &arguments)?,
            port: self.port,
            admin: self.admin,
        };
        server.ready().await?;
        Ok(server)
    }

    /// Later lines win over earlier ones.
    fn configuration(&self) -> String {
        let directory = self.directory.display();
        let socket = socket(&self.directory);
        let mut lines = vec![
            format!("port {}", self.port),
            "bind 127.0.0.1 -::1".to_owned(),
            format!("unixsocket \"{}\"", socket.display()),
            format!("dir \"{directory}\""),
        ];
        if self.mode.is_none() {
            lines.push("save \"\"".to_owned());
            lines.push("appendonly no".to_owned());
        }
        lines.extend_from_slice(&self.settings);
        lines.join("\n") + "\n"
    }
}

/// Where a server in this directory listens for the tests themselves.
fn socket(directory: &Path) -> PathBuf {
    directory.join("socket")
}
