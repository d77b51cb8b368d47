//! Several who use one session, or log one user in and out, at the same time.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::{sync::Barrier, try_join};

use super::{
    app::{Browser, own},
    peer::Peer,
};
use crate::{
    servers::{Result, Servers, standalone::Server},
    stress::stressed,
};

/// Two other processes, and a browser that has what they have.
async fn peers() -> Result<(Server, Browser, [Peer; 2])> {
    let (server, backend, browser) = own().await?;
    let (first, second) = try_join!(
        Peer::start(&server, &backend),
        Peer::start(&server, &backend)
    )?;
    Ok((server, browser, [first, second]))
}

/// The cookie of a session that has just begun.
async fn begun(browser: &Browser) -> Result<String> {
    browser.insert("begun", 1).await.text()?;
    Ok(browser.cookie().ok_or("there is no cookie")?)
}

pub(super) async fn two_processes_write_different_attributes_and_lose_nothing(
    _: &Servers,
) -> Result<()> {
    let (_server, browser, [mut first, mut second]) = peers().await?;
    let cookie = begun(&browser).await?;
    let count = stressed(1_000).to_string();
    try_join!(
        first.order(format!("write {cookie} first {count}")),
        second.order(format!("write {cookie} second {count}")),
    )?;
    assert_eq!(browser.get("first").await.text()?, count);
    assert_eq!(browser.get("second").await.text()?, count);
    assert_eq!(browser.get("begun").await.text()?, "1");
    Ok(())
}

pub(super) async fn two_processes_count_exactly(_: &Servers) -> Result<()> {
    let (_server, browser, [mut first, mut second]) = peers().await?;
    let cookie = begun(&browser).await?;
    let count = stressed(500);
    let each = count.to_string();
    try_join!(
        first.order(format!("count {cookie} {each}")),
        second.order(format!("count {cookie} {each}")),
    )?;
    let sum = (2 * count).to_string();
    assert_eq!(browser.get("count").await.text()?, sum);
    Ok(())
}

pub(super) async fn a_save_never_brings_back_what_another_process_ended(_: &Servers) -> Result<()> {
    let (_server, browser, [mut writer, mut leaver]) = peers().await?;
    let mut outcomes = BTreeMap::<_, u32>::new();
    for round in 0..stressed(300) {
        let browser = browser.fork();
        let cookie = begun(&browser).await?;
        let [slow_save, slow_logout] = [round % 3, round / 3 % 3].map(|wait| wait.to_string());
        let (saved, left) = try_join!(
            writer.order(format!("save {cookie} {slow_save}")),
            leaver.order(format!("logout {cookie} {slow_logout}")),
        )?;
        assert_eq!(left, "logged out");
        // It was before the logout, or is told that it was not.
        let possible = ["Active 200 0", "Active 401 0", "Ended 401 0"];
        assert!(possible.contains(&&*saved), "round {round}: {saved}");
        assert_eq!(browser.state().await.text()?, "Ended", "round {round}");
        assert_eq!(browser.get("saved").await.text()?, "none");
        *outcomes.entry(saved).or_default() += 1;
    }
    eprintln!("sessions: saves against logouts found {outcomes:?}");
    for outcome in ["Active 200 0", "Active 401 0"] {
        assert!(outcomes.contains_key(outcome), "{outcome}: never");
    }
    Ok(())
}

pub(super) async fn a_login_never_outlives_a_logout_everywhere_of_another_process(
    _: &Servers,
) -> Result<()> {
    let (_server, browser, [mut comer, mut leaver]) = peers().await?;
    let mut outcomes = BTreeMap::<_, u32>::new();
    for round in 0..stressed(300) {
        // The epochs of earlier rounds are there in half of them.
        let user = format!("user {}", round / 2).replace(' ', "-");
        comer.order(format!("ticket {user}")).await?;
        let [slow_login, slow_logout] = [round % 3, round / 3 % 4].map(|wait| wait.to_string());
        let (login, ended) = try_join!(
            comer.order(format!("login {slow_login}")),
            leaver.order(format!("everywhere {user} {slow_logout}")),
        )?;
        let mut words = login.splitn(3, ' ');
        let (status, cookie) = words.next().zip(words.next()).ok_or("no answer")?;
        let browser = browser.fork().with_cookie(cookie);
        assert_eq!(
            browser.who().await.text()?,
            "nobody",
            "round {round}: {login}"
        );
        let devices = browser.sessions().devices_of(&user).await?;
        assert!(devices.is_empty(), "round {round}: {devices:?}");
        let outcome = match status {
            "200" => format!("logged in, {ended} ended"),
            "401" if login.contains("everywhere meanwhile") => "refused by its epoch".to_owned(),
            "401" if login.contains("ended during") => "refused by its record".to_owned(),
            _ => return Err(format!("round {round}: {login}").into()),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    eprintln!("sessions: logins against logouts everywhere: {outcomes:?}");
    for outcome in ["logged in, 1 ended", "refused by its epoch"] {
        assert!(outcomes.contains_key(outcome), "{outcome}: never");
    }
    // Whoever begins after it is logged in.
    let user = "user-0";
    browser.login(user).await.text()?;
    assert_eq!(browser.who().await.text()?, user);
    Ok(())
}

pub(super) async fn thirty_two_writers_at_once_all_save(_: &Servers) -> Result<()> {
    const WRITERS: usize = 32;
    let (_server, _backend, browser) = own().await?;
    begun(&browser).await?;
    let all_have_read = &Barrier::new(WRITERS);
    let writers = (0..WRITERS).map(|n| {
        let browser = browser.fork();
        let name = format!("attribute {n}");
        async move {
            let saved = browser
                .ask(async |session| {
                    assert_eq!(session.get::<i64>(&name).await?, None);
                    all_have_read.wait().await;
                    session.insert(&name, 1).await?;
                    Ok(String::new())
                })
                .await;
            (name.clone(), saved)
        }
    });
    for (name, saved) in join_all(writers).await {
        saved.text()?;
        assert_eq!(browser.get(&name).await.text()?, "1", "{name}");
    }
    Ok(())
}
