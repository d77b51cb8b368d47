//! The layer in the ordinary course of things.

use std::sync::Arc;

use libtest_mimic::Trial;
use tower_stash::{policy::Routes, session::SessionRule};

use crate::{
    browser::Page,
    site::Shop,
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "login":
        a_login_shows_until_the_logout
        nobody_gets_a_cookie_for_reading
        a_login_changes_the_secret_and_keeps_what_is_stored
        a_logout_everywhere_reaches_the_other_browser
        polling_keeps_nobody_logged_in
    )
}

async fn a_login_shows_until_the_logout(bed: &Bed) -> Result<String> {
    const DAY: f64 = 86_400.0;
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/me")).await?;
    sign_in(&shop, &page, "ann").await?;
    assert_eq!(page.path().await?, "/me");
    assert_eq!(page.text().await?, "ann");

    let cookie = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    let now: f64 = page.eval("Date.now() / 1000").await?;
    let days = (cookie.expires - now) / DAY;
    assert!(cookie.secure && cookie.http_only, "{cookie:?}");
    assert_eq!(
        (cookie.path.as_str(), cookie.same_site.as_deref()),
        ("/", Some("Lax"))
    );
    assert!((days - 30.0).abs() < 0.1, "{days} days");

    page.submit("POST", &shop.url("/logout"), &[]).await?;
    assert_eq!(page.text().await?, "nobody");
    assert_eq!(profile.cookie("__Host-id").await?, None);
    Ok(format!(
        "the cookie is Secure, HttpOnly, Lax, for {days:.0} days; the logout removes it"
    ))
}

async fn nobody_gets_a_cookie_for_reading(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/me")).await?;
    page.open(&shop.url("/get?name=a")).await?;
    assert!(profile.cookies().await?.is_empty());
    Ok("no cookie for who only reads".to_owned())
}

async fn a_login_changes_the_secret_and_keeps_what_is_stored(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    page.fetch("POST", "/put?name=cart&value=book").await?;
    let before = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    sign_in(&shop, &page, "ann").await?;
    let after = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    assert_ne!(before.value, after.value);
    assert_eq!(
        page.fetch("GET", "/get?name=cart").await?.text,
        html_of("book")
    );
    Ok("the cookie of before is replaced; what was stored is there".to_owned())
}

async fn a_logout_everywhere_reaches_the_other_browser(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let (one, other) = (bed.profile().await?, bed.profile().await?);
    let (here, there) = (
        one.page_at(&shop.url("/")).await?,
        other.page_at(&shop.url("/")).await?,
    );
    sign_in(&shop, &here, "ann").await?;
    sign_in(&shop, &there, "ann").await?;
    page_says(&there, &shop, "ann").await?;
    here.submit("POST", &shop.url("/logout/everywhere"), &[])
        .await?;
    page_says(&here, &shop, "nobody").await?;
    page_says(&there, &shop, "nobody").await?;
    let kept = other.cookie("__Host-id").await?.is_some();
    sign_in(&shop, &there, "ann").await?;
    page_says(&there, &shop, "ann").await?;
    Ok(format!(
        "both are logged out; the other's cookie stays: {kept}; its next login replaces it"
    ))
}

async fn polling_keeps_nobody_logged_in(bed: &Bed) -> Result<String> {
    let rule = SessionRule::new("web")?.with_timeouts(10 * MINUTE, 60 * MINUTE)?;
    let routes = Routes::new()
        .get("/poll", rule.clone().without_slide())
        .any("/{*rest}", rule);
    let shop = Shop::open(bed, routes).await?;
    let page = bed.profile().await?.page_at(&shop.url("/echo")).await?;
    sign_in(&shop, &page, "ann").await?;
    for _ in 0..3 {
        shop.clock.advance(6 * MINUTE);
        assert_eq!(
            page.fetch("GET", "/me").await?.text,
            html_of("ann"),
            "a page slides"
        );
    }
    shop.clock.advance(6 * MINUTE);
    assert_eq!(page.fetch("GET", "/poll").await?.text, html_of("ann"));
    shop.clock.advance(6 * MINUTE);
    assert_eq!(page.fetch("GET", "/poll").await?.text, html_of("nobody"));
    Ok(
        "idle for 10 minutes in spite of polls: logged out; requests of pages keep it alive"
            .to_owned(),
    )
}

/// Logs in by a form, and waits for the page behind the redirect.
pub(super) async fn sign_in(shop: &Shop, page: &Page, user: &str) -> Result<()> {
    page.submit("POST", &shop.url("/login"), &[("user", user)])
        .await
}

/// Opens the page that says who is logged in.
pub(super) async fn page_says(page: &Page, shop: &Shop, user: &str) -> Result<()> {
    page.open(&shop.url("/me")).await?;
    assert_eq!(page.text().await?, user);
    Ok(())
}

/// What a script gets of a page.
pub(super) fn html_of(text: &str) -> String {
    crate::site::html(text).0
}

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);
