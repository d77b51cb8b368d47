//! The harness itself.

use std::sync::Arc;

use axum::{Router, routing::get};
use http::{Version, header};
use libtest_mimic::Trial;

use crate::{
    site::{APP, EVIL, Gate, OTHER},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "harness":
        hosts_have_cookies_of_their_own
        a_gate_holds_an_answer_until_it_is_opened
        profiles_share_nothing
    )
}

async fn hosts_have_cookies_of_their_own(bed: &Bed) -> Result<String> {
    let hello = || {
        let set = [
            (header::SET_COOKIE, "a=1; Secure"),
            (header::CONTENT_TYPE, "text/html"),
        ];
        Router::new().route("/", get(async move || (set, "hello")))
    };
    let site = bed
        .site([(APP, hello()), (EVIL, hello()), (OTHER, hello())])
        .await?;
    let profile = bed.profile().await?;
    let page = profile.page().await?;
    for host in [APP, EVIL, OTHER] {
        page.open(&site.url(host, "/")).await?;
        assert_eq!(page.text().await?, "hello");
    }

    let exchange = site.last("/")?;
    assert_eq!(exchange.version, Version::HTTP_2);
    assert!(exchange.cookies().is_empty(), "{exchange:?}");
    let mut domains: Vec<_> = profile
        .cookies()
        .await?
        .into_iter()
        .map(|cookie| cookie.domain)
        .collect();
    domains.sort();
    assert_eq!(domains, [APP, EVIL, OTHER]);
    Ok(format!(
        "a cookie without Domain in each of {}",
        domains.join(", ")
    ))
}

async fn a_gate_holds_an_answer_until_it_is_opened(bed: &Bed) -> Result<String> {
    let gate = Gate::default();
    let held = gate.clone();
    let app = Router::new().route("/", get(async || "hello")).route(
        "/held",
        get(async move || {
            held.pass().await;
            "held"
        }),
    );
    let site = bed.site([(APP, app)]).await?;
    let page = bed.profile().await?.page_at(&site.url(APP, "/")).await?;

    let asking = tokio::spawn({
        let page = page.clone();
        async move { page.fetch("GET", "/held").await }
    });
    gate.arrived(1).await?;
    assert_eq!(page.fetch("GET", "/").await?.text, "hello");
    assert!(
        site.exchanges("/held").is_empty(),
        "answered before the gate was opened"
    );
    gate.open();
    assert_eq!(asking.await??.text, "held");
    Ok("other requests of the page pass meanwhile".to_owned())
}

async fn profiles_share_nothing(bed: &Bed) -> Result<String> {
    let app = Router::new().route("/", get(async || ([(header::SET_COOKIE, "a=1")], "hello")));
    let site = bed.site([(APP, app)]).await?;
    let (one, other) = (bed.profile().await?, bed.profile().await?);
    one.page_at(&site.url(APP, "/")).await?;
    assert!(one.cookie("a").await?.is_some());
    assert_eq!(other.cookie("a").await?, None);
    Ok("a cookie is in the profile that was given it".to_owned())
}
