//! A session's life, wherever sessions are kept.

use tower_stash::session::SessionId;

use super::{
    super::connect,
    app::{Browser, layer},
};
use crate::servers::{Result, Servers, Topology};

/// From the first write to logging out everywhere, with all that is written at once in between.
pub(super) async fn a_session_lives(servers: &Servers, topology: Topology) -> Result<()> {
    let backend = connect(servers.address(topology).await?).await?;
    let layer = layer(&backend)?;
    let [laptop, phone, tablet] = [(); 3].map(|()| Browser::new(&layer));

    assert_eq!(laptop.get("cart").await.text()?, "none");
    assert_eq!(laptop.cookie(), None, "reading begins no session");
    assert_eq!(laptop.insert("cart", 3).await.cookies.len(), 1);
    assert_eq!(laptop.get("cart").await.text()?, "3");

    let before = laptop.fork();
    laptop.login("ada").await.text()?;
    assert_eq!(laptop.who().await.text()?, "ada");
    assert_eq!(laptop.get("cart").await.text()?, "3", "a login keeps it");
    assert_eq!(before.who().await.text()?, "nobody");
    assert_eq!(before.get("cart").await.text()?, "none");

    written_at_once(&laptop).await?;

    phone.login("ada").await.text()?;
    let sessions = laptop.sessions();
    let devices = devices(&laptop).await?;
    assert_eq!(devices.len(), 2);
    assert_eq!(devices[0].0, Some("ada".to_owned()));
    let (_, others): (Vec<_>, Vec<_>) = devices.iter().partition(|device| device.1);
    let [(_, _, other)] = others[..] else {
        return Err(format!("{others:?}: one is the laptop's, one is not").into());
    };
    assert!(!sessions.destroy_device("eve", other).await?, "not eve's");
    assert_eq!(phone.who().await.text()?, "ada");
    assert!(sessions.destroy_device("ada", other).await?);
    assert_eq!(phone.who().await.text()?, "nobody");
    assert_eq!(phone.state().await.text()?, "Ended");

    tablet.login("ada").await.text()?;
    assert_eq!(sessions.destroy_all("ada").await?, 2);
    for browser in [&laptop, &tablet] {
        assert_eq!(browser.who().await.text()?, "nobody");
        assert_eq!(browser.get("cart").await.text()?, "none");
    }
    assert_eq!(sessions.devices_of("ada").await?, []);

    laptop.login("ada").await.text()?;
    let copy = laptop.fork();
    let out = laptop.logout().await;
    assert!(out.cookies[0].contains("Max-Age=0"), "{:?}", out.cookies);
    assert_eq!(copy.who().await.text()?, "nobody");
    assert_eq!(copy.insert("cart", 4).await.cookies, [""; 0]);
    assert_eq!(copy.get("cart").await.text()?, "none");
    Ok(())
}

/// `incr`, `update` and `take`.
async fn written_at_once(browser: &Browser) -> Result<()> {
    for sum in ["1", "2"] {
        assert_eq!(browser.incr("visits").await.text()?, sum);
    }
    let updated = browser
        .ask(async |session| {
            let text = |old: Option<String>| Some(old.unwrap_or_default() + "x");
            let first = session.update("text", text).await?;
            let second = session.update("text", text).await?;
            Ok(format!("{first:?} {second:?}"))
        })
        .await;
    assert_eq!(updated.text()?, r#"Some("x") Some("xx")"#);
    let taken = browser
        .ask(async |session| {
            let first: Option<i64> = session.take("visits").await?;
            let second: Option<i64> = session.take("visits").await?;
            Ok(format!("{first:?} {second:?}"))
        })
        .await;
    assert_eq!(taken.text()?, "Some(2) None");
    assert_eq!(browser.get("visits").await.text()?, "none");
    Ok(())
}

/// The label, whether it is this browser's, and the name of each of its user's sessions.
async fn devices(browser: &Browser) -> Result<Vec<(Option<String>, bool, SessionId)>> {
    let sessions = &browser.sessions();
    let (send, mut devices) = tokio::sync::mpsc::unbounded_channel();
    browser
        .ask(async |session| {
            for device in sessions.devices(&session).await? {
                let _ = send.send((device.label, device.is_current, device.id));
            }
            Ok(String::new())
        })
        .await
        .text()?;
    drop(send);
    let mut all = Vec::new();
    while let Some(device) = devices.recv().await {
        all.push(device);
    }
    Ok(all)
}

/// A session's record, its user's list and epoch are keys of their own, each wherever it falls.
pub(super) async fn sessions_of_a_cluster_are_on_all_nodes(servers: &Servers) -> Result<()> {
    let backend = connect(servers.address(Topology::Cluster).await?).await?;
    let layer = layer(&backend)?;
    let mut browsers = Vec::new();
    for n in 0..30 {
        let browser = Browser::new(&layer);
        browser.login(&format!("user {}", n / 3)).await.text()?;
        browsers.push(browser);
    }
    for node in servers.cluster().await?.nodes() {
        let pattern = format!("{}:s1:*", backend.namespace());
        let keys = node.call(&["KEYS", &pattern]).await?;
        assert!(!keys.items().is_empty(), "sessions are on each node");
    }
    for n in 0..10 {
        let ended = layer.handle().destroy_all(format!("user {n}")).await?;
        assert_eq!(ended, 3);
    }
    for browser in browsers {
        assert_eq!(browser.who().await.text()?, "nobody");
    }
    Ok(())
}
