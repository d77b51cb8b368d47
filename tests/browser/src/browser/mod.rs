//! Headless Chromium as a child process that never outlives the tests.
//!
//! Its commands come through a pipe, and at the end of that pipe it ends. Whatever ends the tests,
//! a `kill -9` included, closes the pipe; then the shell that waits for the browser removes its
//! files.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    process::{self, Stdio},
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use self::cdp::Connection;
use crate::{log::PATIENCE, site::Identity, trial::Result};

pub(crate) use self::{
    cookie::Cookie,
    page::{Back, Fetched, Page},
};

mod cdp;
mod cookie;
mod page;

/// A running browser.
#[derive(Debug)]
pub(crate) struct Browser {
    connection: Mutex<Option<Connection>>,
    process: tokio::sync::Mutex<Child>,
    version: String,
}

impl Browser {
    /// Starts what `CHROMIUM` names, else `chromium`, so that it finds all hosts of the domain
    /// `test` here, and no others anywhere.
    pub(crate) async fn launch(identity: &Identity) -> Result<Self> {
        let program = env::var_os("CHROMIUM").unwrap_or_else(|| "chromium".into());
        let directory = env::temp_dir().join(format!("stash-browser-{}", process::id()));
        fs::create_dir(&directory)?;
        let mut process = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .arg(&directory)
            .arg(program)
            .args(FLAGS)
            .args(sandbox())
            .arg("--host-resolver-rules=MAP *.test 127.0.0.1,MAP * ~NOTFOUND")
            .arg(format!(
                "--ignore-certificate-errors-spki-list={}",
                identity.key_hash()
            ))
            .arg(format!(
                "--user-data-dir={}",
                directory.join("data").display()
            ))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Out of reach of the terminal's Ctrl-C, which would end the shell before its work.
            .process_group(0)
            .spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err("the browser has no pipes".into());
        };
        let connection = Connection::new(input, output);
        let version = connection.command("Browser.getVersion", json!({})).await;
        let version = version.map_err(|error| {
            let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
            format!("Chromium did not start; ./scripts/test-browser installs it: {error}\n{log}")
        })?;
        Ok(Self {
            version: text(&version["product"]),
            connection: Mutex::new(Some(connection)),
            process: tokio::sync::Mutex::new(process),
        })
    }

    /// What the browser calls itself, such as `Chrome/156.0.8078.79`.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// A new profile, as a private window has it: its cookies and its cache are its own.
    pub(crate) async fn profile(&self) -> Result<Profile> {
        let connection = self.connection().ok_or("the browser was closed")?;
        let created = connection
            .command("Target.createBrowserContext", json!({}))
            .await?;
        Ok(Profile(Arc::new(Context {
            connection,
            id: text(&created["browserContextId"]),
        })))
    }

    /// Closes the browser and waits until its files are gone.
    pub(crate) async fn close(&self) {
        let connection = self.connection.lock().map(|mut open| open.take());
        if let Ok(Some(connection)) = connection {
            // It may close the pipe before it answers.
            let _ = connection.command("Browser.close", json!({})).await;
        }
        if timeout(PATIENCE, self.process.lock().await.wait())
            .await
            .is_err()
        {
            eprintln!("the browser does not end");
        }
    }

    fn connection(&self) -> Option<Connection> {
        self.connection.lock().ok()?.clone()
    }
}

/// One user's browser: pages that share cookies. It is there until the last of its pages is
/// dropped.
#[derive(Clone, Debug)]
pub(crate) struct Profile(Arc<Context>);

impl Profile {
    /// A new, empty tab.
    pub(crate) async fn page(&self) -> Result<Page> {
        Page::create(Arc::clone(&self.0)).await
    }

    /// A new tab that shows what is at an address.
    pub(crate) async fn page_at(&self, url: &str) -> Result<Page> {
        let page = self.page().await?;
        page.open(url).await?;
        Ok(page)
    }

    /// All cookies, of all hosts, partitioned ones too.
    pub(crate) async fn cookies(&self) -> Result<Vec<Cookie>> {
        let params = json!({ "browserContextId": self.0.id });
        let mut all = self
            .0
            .connection
            .command("Storage.getCookies", params)
            .await?;
        Ok(serde_json::from_value(all["cookies"].take())?)
    }

    /// Puts a cookie into the jar, without a request.
    pub(crate) async fn set(&self, url: &str, name: &str, value: &str) -> Result<()> {
        let cookie = json!({
            "url": url, "name": name, "value": value,
            "path": "/", "secure": true, "sameSite": "None",
        });
        let params = json!({ "browserContextId": self.0.id, "cookies": [cookie] });
        self.0
            .connection
            .command("Storage.setCookies", params)
            .await?;
        Ok(())
    }

    /// The cookies that have this name.
    pub(crate) async fn cookies_named(&self, name: &str) -> Result<Vec<Cookie>> {
        let mut cookies = self.cookies().await?;
        cookies.retain(|cookie| cookie.name == name);
        Ok(cookies)
    }

    /// The one cookie of this name, or none.
    pub(crate) async fn cookie(&self, name: &str) -> Result<Option<Cookie>> {
        let mut cookies = self.cookies_named(name).await?;
        if cookies.len() > 1 {
            return Err(format!("there are {} cookies {name}: {cookies:?}", cookies.len()).into());
        }
        Ok(cookies.pop())
    }
}

/// What the browser calls a profile.
#[derive(Debug)]
struct Context {
    connection: Connection,
    id: String,
}

impl Drop for Context {
    fn drop(&mut self) {
        let params = json!({ "browserContextId": self.id });
        self.connection
            .tell("Target.disposeBrowserContext", &params);
    }
}

/// Chromium refuses to run as root unless its sandbox is off.
fn sandbox() -> Option<&'static str> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    is_root.then_some("--no-sandbox")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

const FLAGS: [&str; 12] = [
    "--headless",
    "--remote-debugging-pipe",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    // All tabs are in front, so that none is slowed down.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
];

/// Runs the browser with its commands on the two numbers that it expects.
const KEEPER: &str = r#"
trap '' PIPE
directory=$1
shift
"$@" 3<&0 4>&1 </dev/null >"$directory/log" 2>&1
rm -rf "$directory" || { sleep 1; rm -rf "$directory"; }
"#;
