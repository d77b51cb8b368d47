//! Servers as child processes that never outlive the tests.
//!
//! Each server is the child of a shell that reads orders from a pipe. Whatever ends the tests, a
//! `kill -9` included, closes the pipe; then the shell kills the server and removes its directory.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{self, Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU16, AtomicU32, Ordering},
    },
};

use super::Result;

/// A child process, which may be paused, killed and started again, and its directory.
///
/// Dropping it kills the process, stopped or not, and removes the directory.
#[derive(Debug)]
pub(crate) struct Process {
    directory: PathBuf,
    watcher: Child,
    orders: Mutex<Option<Orders>>,
}

impl Process {
    /// Runs a command that works in a directory made by [`directory`].
    pub(crate) fn start(directory: &Path, program: &Path, arguments: &[&str]) -> Result<Self> {
        // Where pipes are marked close-on-exec only after they are made, two shells started at once
        // would hold each other's pipe open.
        static STARTING: Mutex<()> = Mutex::new(());
        let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);

        let mut watcher = Command::new("sh")
            .args(["-c", WATCHER, "watcher"])
            .arg(directory)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Out of reach of the terminal's Ctrl-C, which would end the shell before its work.
            .process_group(0)
            .spawn()?;
        let orders = watcher
            .stdin
            .take()
            .zip(watcher.stdout.take())
            .map(|(to, from)| Orders {
                to,
                from: BufReader::new(from),
            });
        let process = Self {
            directory: directory.to_owned(),
            watcher,
            orders: Mutex::new(orders),
        };
        process.start_again()?;
        Ok(process)
    }

    /// Runs the command again after [`kill`](Self::kill).
    pub(crate) fn start_again(&self) -> Result<()> {
        self.order("start")
    }

    /// Sends `SIGSTOP`: the process keeps its connections and does not answer.
    pub(crate) fn pause(&self) -> Result<()> {
        self.order("STOP")
    }

    /// Sends `SIGCONT`.
    pub(crate) fn resume(&self) -> Result<()> {
        self.order("CONT")
    }

    /// Sends `SIGKILL` and waits for the end.
    pub(crate) fn kill(&self) -> Result<()> {
        self.order("kill")
    }

    /// What the process wrote, its last lines.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    fn order(&self, order: &str) -> Result<()> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = orders.as_mut().ok_or("the watcher has no pipe")?;
        writeln!(orders.to, "{order}")?;
        let mut status = String::new();
        orders.from.read_line(&mut status)?;
        match status.trim() {
            "0" => Ok(()),
            status => Err(format!("could not {order} the server: status {status:?}").into()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let orders = self
            .orders
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        drop(orders.take());
        if let Err(error) = self.watcher.wait() {
            eprintln!("could not wait for a server's end: {error}");
        }
    }
}

/// Both ends of the talk with a watcher.
#[derive(Debug)]
struct Orders {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

/// A new directory under the system's temporary one: short, as a socket's path must be.
pub(crate) fn directory(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let directory = env::temp_dir().join(format!("stash-{}-{count}-{name}", process::id()));
    fs::create_dir(&directory)?;
    Ok(directory)
}

/// A port of the loopback interface on which nobody listens.
///
/// It is below the range from which systems number outgoing connections, so that a server which is
/// down for a while finds it still free.
pub(crate) fn free_port() -> Result<u16> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 10_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Runs at the same time begin at different places.
    let begin = u16::try_from(process::id().wrapping_mul(97) % u32::from(COUNT))?;

    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (begin + next) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err("could not find a free port: all are taken".into())
}

/// Finds a program as a shell would.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// Obeys `start`, `kill` and signal names, answers each with a status;
/// cleans up at the end of input.
const WATCHER: &str = r#"
trap '' PIPE
directory=$1
shift
server=
stop() {
    [ -n "$server" ] || return 1
    kill -KILL "$server"
    wait "$server"
    server=
}
while read -r order; do
    case $order in
    start) "$@" </dev/null >>"$directory/log" 2>&1 & server=$! ;;
    kill) stop ;;
    *) kill -s "$order" "$server" ;;
    esac
    echo $?
done
stop
rm -rf "$directory"
"#;
