//! The layer where answers overtake each other.

use std::{sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use libtest_mimic::Trial;
use tokio::task::JoinHandle;
use tower_stash::session::SessionRule;

use super::login::{html_of, page_says, sign_in};
use crate::{
    browser::{Fetched, Page, Profile},
    site::Shop,
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "races":
        a_write_under_way_at_the_logout_brings_nothing_back
        a_write_that_begins_after_the_logout_brings_nothing_back
        a_write_of_the_session_before_does_not_undo_a_login
        a_logout_with_the_secret_before_does_not_undo_a_login
        a_logout_that_saw_the_session_before_a_login_ends_both
        a_logout_answered_after_a_login_takes_its_cookie
        many_first_requests_leave_one_live_session
        parallel_writes_all_survive
        a_burst_at_a_rotation_stays_logged_in
    )
}

async fn a_write_under_way_at_the_logout_brings_nothing_back(bed: &Bed) -> Result<String> {
    log_out_before(bed, "/put/late-act").await
}

async fn a_write_that_begins_after_the_logout_brings_nothing_back(bed: &Bed) -> Result<String> {
    log_out_before(bed, "/put/late-begin").await
}

async fn a_write_of_the_session_before_does_not_undo_a_login(bed: &Bed) -> Result<String> {
    let (shop, profile, page) = signed_in(bed).await?;
    let late = begin(&page, "/put/late-begin?name=a&value=1");
    shop.gate.arrived(1).await?;
    let other = profile.page_at(&shop.url("/")).await?;
    other.submit("POST", &shop.url("/logout"), &[]).await?;
    sign_in(&shop, &other, "bob").await?;
    shop.gate.open();
    late.await??;
    assert!(shop.site.last("/put/late-begin")?.set_cookies().is_empty());
    page_says(&page, &shop, "bob").await?;
    Ok("a token that is no more is answered without any cookie; the login stays".to_owned())
}

async fn a_logout_with_the_secret_before_does_not_undo_a_login(bed: &Bed) -> Result<String> {
    let (shop, profile, page) = signed_in(bed).await?;
    let late = begin(&page, "/logout/late-begin");
    shop.gate.arrived(1).await?;
    sign_in(&shop, &profile.page_at(&shop.url("/")).await?, "ann").await?;
    shop.gate.open();
    late.await??;
    assert!(
        shop.site
            .last("/logout/late-begin")?
            .set_cookies()
            .is_empty()
    );
    page_says(&page, &shop, "ann").await?;
    Ok("a logout that begins with a replaced secret does nothing; the login stays".to_owned())
}

async fn a_logout_that_saw_the_session_before_a_login_ends_both(bed: &Bed) -> Result<String> {
    let (shop, profile, page) = signed_in(bed).await?;
    let late = begin(&page, "/logout/late-act");
    shop.gate.arrived(1).await?;
    sign_in(&shop, &profile.page_at(&shop.url("/")).await?, "ann").await?;
    shop.gate.open();
    late.await??;
    assert_eq!(shop.site.last("/logout/late-act")?.set_cookies().len(), 1);
    assert_eq!(profile.cookie("__Host-id").await?, None);
    page_says(&page, &shop, "nobody").await?;
    Ok("the session ends for both, and its cookie goes with it".to_owned())
}

async fn a_logout_answered_after_a_login_takes_its_cookie(bed: &Bed) -> Result<String> {
    let (shop, profile, page) = signed_in(bed).await?;
    let late = begin(&page, "/logout/late-answer");
    shop.gate.arrived(1).await?;
    sign_in(&shop, &profile.page_at(&shop.url("/")).await?, "ann").await?;
    let between = profile.cookie("__Host-id").await?.is_some();
    shop.gate.open();
    late.await??;
    assert!(between, "the login set no cookie");
    assert_eq!(profile.cookie("__Host-id").await?, None);
    page_says(&page, &shop, "nobody").await?;
    Ok("the removal takes the cookie of the login that overtook it: logged out".to_owned())
}

async fn many_first_requests_leave_one_live_session(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    let set = burst(&shop, &page).await?;
    assert!(profile.cookie("__Host-id").await?.is_some());
    let found = found(&page).await?;
    assert_eq!(found, 1);
    page.fetch("POST", "/put?name=a0&value=2").await?;
    assert!(
        shop.site.last("/put")?.set_cookies().is_empty(),
        "the session was not alive"
    );
    Ok(format!(
        "{BURST} requests without a cookie make {set} sessions; the last cookie stays, with {found} of {BURST} values"
    ))
}

async fn parallel_writes_all_survive(bed: &Bed) -> Result<String> {
    let (shop, _profile, page) = signed_in(bed).await?;
    burst(&shop, &page).await?;
    let found = found(&page).await?;
    assert_eq!(found, BURST);
    Ok(format!("{found} of {BURST} values are there"))
}

async fn a_burst_at_a_rotation_stays_logged_in(bed: &Bed) -> Result<String> {
    let rule = SessionRule::new("web")?.with_rotation_every(Duration::from_mins(5))?;
    let shop = Shop::open(bed, rule).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    let before = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    shop.clock.advance(Duration::from_mins(6));
    let set = burst(&shop, &page).await?;
    assert_eq!(set, 1, "one rotation wins");
    let after = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    assert_ne!(before.value, after.value);
    assert_eq!(found(&page).await?, BURST);
    page_says(&page, &shop, "ann").await?;
    Ok(format!(
        "{set} of {BURST} answers sets the new cookie; all {BURST} values are there"
    ))
}

/// Logs out while a write at this path waits.
async fn log_out_before(bed: &Bed, path: &str) -> Result<String> {
    let (shop, profile, page) = signed_in(bed).await?;
    let late = begin(&page, &format!("{path}?name=a&value=1"));
    shop.gate.arrived(1).await?;
    let other = profile.page_at(&shop.url("/")).await?;
    other.submit("POST", &shop.url("/logout"), &[]).await?;
    shop.gate.open();
    late.await??;
    assert!(shop.site.last(path)?.set_cookies().is_empty());
    assert_eq!(profile.cookie("__Host-id").await?, None);
    page_says(&profile.page().await?, &shop, "nobody").await?;
    Ok("no cookie comes, nobody is logged in".to_owned())
}

/// Writes many values at the same time, and says how many of the answers set a cookie.
async fn burst(shop: &Shop, page: &Page) -> Result<usize> {
    let all: Vec<_> = (0..BURST)
        .map(|n| begin(page, &format!("/put/late-act?name=a{n}&value=1")))
        .collect();
    shop.gate.arrived(BURST).await?;
    shop.gate.open();
    for one in all {
        assert_eq!(one.await??.status, 200);
    }
    let exchanges = shop.site.exchanges("/put/late-act");
    let set = exchanges.iter().filter(|it| !it.set_cookies().is_empty());
    Ok(set.count())
}

/// How many of a burst's values are in the session.
async fn found(page: &Page) -> Result<usize> {
    let asked = (0..BURST).map(|n| {
        let path = format!("/get?name=a{n}");
        async move { page.fetch("GET", &path).await }
    });
    let answers: Vec<Fetched> = try_join_all(asked).await?;
    Ok(answers
        .iter()
        .filter(|answer| answer.text == html_of("1"))
        .count())
}

async fn signed_in(bed: &Bed) -> Result<(Shop, Profile, Page)> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    Ok((shop, profile, page))
}

/// Asks by script, and does not wait for the answer.
fn begin(page: &Page, path: &str) -> JoinHandle<Result<Fetched>> {
    let (page, path) = (page.clone(), path.to_owned());
    tokio::spawn(async move { page.fetch("POST", &path).await })
}

const BURST: usize = 20;
