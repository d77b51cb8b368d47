//! A tab.

use std::sync::Arc;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Context, cdp::Event, text};
use crate::{log::Log, trial::Result};

/// A tab of a profile. Clones are the same tab.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    context: Arc<Context>,
    session: String,
    events: Arc<Log<Event>>,
}

impl Page {
    pub(super) async fn create(context: Arc<Context>) -> Result<Self> {
        let connection = &context.connection;
        let params = json!({ "url": "about:blank", "browserContextId": context.id });
        let created = connection.command("Target.createTarget", params).await?;
        let params = json!({ "targetId": created["targetId"], "flatten": true });
        let attached = connection.command("Target.attachToTarget", params).await?;
        let session = text(&attached["sessionId"]);
        let page = Self {
            events: connection.events(&session),
            session,
            context,
        };
        page.command("Page.enable", json!({})).await?;
        page.command("Network.enable", json!({})).await?;
        Ok(page)
    }

    /// Goes to an address and waits until all of it is there.
    pub(crate) async fn open(&self, url: &str) -> Result<()> {
        let begin = self.events.end();
        self.begin_to_open(url).await?;
        self.loaded(begin).await
    }

    /// Goes to an address and waits only for the head of the answer.
    pub(crate) async fn begin_to_open(&self, url: &str) -> Result<()> {
        let navigated = self.command("Page.navigate", json!({ "url": url })).await?;
        match navigated["errorText"].as_str() {
            Some(error) => Err(format!("could not open {url}: {error}").into()),
            None => Ok(()),
        }
    }

    /// Runs a script that leads to another page, and waits until all of that is there.
    pub(crate) async fn follow(&self, script: &str) -> Result<()> {
        let begin = self.events.end();
        self.run(script).await?;
        self.loaded(begin).await
    }

    /// Presses the browser's button Back. Says whether the page came out of the back-forward cache,
    /// as it was left, script and all.
    pub(crate) async fn back(&self) -> Result<Back> {
        let history = self.command("Page.getNavigationHistory", json!({})).await?;
        let current = history["currentIndex"].as_u64().unwrap_or_default();
        let before = usize::try_from(current)?
            .checked_sub(1)
            .ok_or("there is no page to go back to")?;
        let begin = self.events.end();
        let params = json!({ "entryId": history["entries"][before]["id"] });
        self.command("Page.navigateToHistoryEntry", params).await?;
        let kind = self.events.find("the page before", begin, |event| {
            let is_top = event.params["frame"]["parentId"].is_null();
            (event.method == "Page.frameNavigated" && is_top).then(|| text(&event.params["type"]))
        });
        if kind.await? == "BackForwardCacheRestore" {
            return Ok(Back::Restored);
        }
        self.loaded(begin).await?;
        Ok(Back::Loaded)
    }

    /// The same for a page that reloads itself when it comes out of the back-forward cache.
    pub(crate) async fn back_and_reloaded(&self) -> Result<Back> {
        let begin = self.events.end();
        let back = self.back().await?;
        self.loaded(begin).await?;
        Ok(back)
    }

    /// What a script, an expression or a promise, comes to.
    pub(crate) async fn eval<T: DeserializeOwned>(&self, script: &str) -> Result<T> {
        Ok(serde_json::from_value(self.run(script).await?)?)
    }

    /// Runs a script and waits for its promise, if it is one.
    pub(crate) async fn run(&self, script: &str) -> Result<Value> {
        let params = json!({
            "expression": script,
            "awaitPromise": true,
            "returnByValue": true,
            "userGesture": true,
        });
        let mut evaluated = self.command("Runtime.evaluate", params).await?;
        let exception = &evaluated["exceptionDetails"];
        if !exception.is_null() {
            let said = &exception["exception"]["description"];
            return Err(format!("{script}: {}", said.as_str().unwrap_or("threw")).into());
        }
        Ok(evaluated["result"]["value"].take())
    }

    /// The page's text.
    pub(crate) async fn text(&self) -> Result<String> {
        self.eval("document.body.innerText").await
    }

    /// The page's address, without the host.
    pub(crate) async fn path(&self) -> Result<String> {
        self.eval("location.pathname").await
    }

    /// Asks for a path of the page's own host, by script.
    pub(crate) async fn fetch(&self, method: &str, path: &str) -> Result<Fetched> {
        let arguments = json!([path, { "method": method }]);
        self.eval(&format!(
            "fetch(...{arguments}).then(async (response) => ({{
                status: response.status,
                text: await response.text(),
            }}))"
        ))
        .await
    }

    /// Sends a form of hidden fields to an address, as a click on its button does.
    pub(crate) async fn submit(
        &self,
        method: &str,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<()> {
        let arguments = json!([method, url, fields]);
        self.follow(&format!(
            "(([method, action, fields]) => {{
                const form = Object.assign(document.createElement('form'), {{ method, action }});
                for (const [name, value] of fields) {{
                    const field = document.createElement('input');
                    form.append(Object.assign(field, {{ type: 'hidden', name, value }}));
                }}
                document.body.append(form);
                form.submit();
            }})({arguments})"
        ))
        .await
    }

    /// Follows a link to an address.
    pub(crate) async fn click_link(&self, url: &str) -> Result<()> {
        let url = json!(url);
        self.follow(&format!(
            "(() => {{
                const link = Object.assign(document.createElement('a'), {{ href: {url} }});
                document.body.append(link);
                link.click();
            }})()"
        ))
        .await
    }

    /// Waits until the browser refused a cookie of this name, and says why it did.
    pub(crate) async fn refusal(&self, name: &str) -> Result<String> {
        let what = format!("the refusal of {name}");
        let begins = format!("{name}=");
        let refusal = self.events.find(&what, 0, |event| {
            if event.method != "Network.responseReceivedExtraInfo" {
                return None;
            }
            let blocked = event.params["blockedCookies"].as_array()?;
            let of_this_name = blocked.iter().find(|blocked| {
                let line = blocked["cookieLine"].as_str().unwrap_or_default();
                line.starts_with(&begins)
            });
            of_this_name.map(|blocked| reasons(&blocked["blockedReasons"]))
        });
        refusal.await
    }

    async fn loaded(&self, begin: usize) -> Result<()> {
        let loaded = self.events.find("the end of loading", begin, |event| {
            (event.method == "Page.loadEventFired").then_some(())
        });
        loaded.await
    }

    async fn command(&self, method: &str, params: Value) -> Result<Value> {
        self.context
            .connection
            .command_in(&self.session, method, params)
            .await
    }
}

/// How a page came back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Back {
    /// Out of the back-forward cache, without a request.
    Restored,
    /// Loaded again, from the HTTP cache or by a request.
    Loaded,
}

/// What a script got.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) text: String,
}

fn reasons(list: &Value) -> String {
    let reasons = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let reasons: Vec<_> = reasons.iter().filter_map(Value::as_str).collect();
    reasons.join(", ")
}
