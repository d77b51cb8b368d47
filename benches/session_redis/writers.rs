//! Two processes that write different attributes of one session at the same time.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use axum::body::to_bytes;
use tokio::runtime::Builder;

use crate::{
    app::{App, Side},
    servers::{Result, standalone::Server},
    support,
};

/// How many changes of its own attribute a writer makes, each in a request of its own.
const CHANGES: u32 = 1_000;

pub(crate) async fn print(server: &Server, app: &App) -> Result<()> {
    support::heading(&[
        &format!("2 writers, {CHANGES} changes of an attribute each"),
        &"answered with 200",
        &"lost of the first",
        &"lost of the second",
    ]);
    for side in Side::ALL {
        let cookie = app.begin(side).await?;
        let mut writers = FIELDS
            .iter()
            .map(|field| Writer::start(&server.url(), side, field, &cookie))
            .collect::<Result<Vec<_>>>()?;
        for writer in &mut writers {
            writer.begin()?;
        }
        for writer in writers {
            writer.end()?;
        }
        let mut lost = Vec::new();
        for field in FIELDS {
            let path = format!("{}/counted/{field}", side.prefix());
            let answer = app.ask(&path, &cookie).await?;
            let count = to_bytes(answer.into_body(), 100).await?;
            lost.push(CHANGES - str::from_utf8(&count)?.parse::<u32>()?);
        }
        let [first, second] = lost.as_slice() else {
            return Err("there are two writers".into());
        };
        support::row(&[&side.label(), &(2 * CHANGES), first, second]);
    }
    Ok(())
}

/// What a writer does, in a process of its own; begins when it reads a line.
pub(crate) fn write(url: &str, prefix: &str, field: &str, cookie: &str) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = App::start(url).await?;
        println!("ready");
        std::io::stdin().read_line(&mut String::new())?;
        for _ in 0..CHANGES {
            app.ask(&format!("{prefix}/count/{field}"), cookie).await?;
        }
        app.close().await;
        Ok(())
    })
}

struct Writer(Child);

impl Writer {
    /// Starts one and waits until it is connected.
    fn start(url: &str, side: Side, field: &str, cookie: &str) -> Result<Self> {
        let mut process = Command::new(env::current_exe()?)
            .args(["write", url, side.prefix(), field, cookie])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let said = process.stdout.as_mut().ok_or("a writer has no pipes")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        Ok(Self(process))
    }

    fn begin(&mut self) -> Result<()> {
        let orders = self.0.stdin.as_mut().ok_or("a writer has no pipes")?;
        Ok(writeln!(orders)?)
    }

    fn end(mut self) -> Result<()> {
        if self.0.wait()?.success() {
            Ok(())
        } else {
            Err("a writer failed".into())
        }
    }
}

const FIELDS: [&str; 2] = ["first", "second"];
