//! Answers that arrive after newer ones: what no store can mend, so that the layer must be silent.

use std::sync::Arc;

use axum::routing::get;
use libtest_mimic::Trial;

use crate::{
    site::{APP, Gate, puppet, setting},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "late":
        a_late_cookie_comes_back_after_its_removal
        a_late_removal_takes_a_newer_cookie
    )
}

async fn a_late_cookie_comes_back_after_its_removal(bed: &Bed) -> Result<String> {
    let value = value_after_late(
        bed,
        "__Host-id=old; Secure; Path=/",
        "__Host-id=; Max-Age=0; Secure; Path=/",
    )
    .await?;
    assert_eq!(value.as_deref(), Some("old"));
    Ok("a Set-Cookie that arrives after the logout brings the cookie back".to_owned())
}

async fn a_late_removal_takes_a_newer_cookie(bed: &Bed) -> Result<String> {
    let value = value_after_late(
        bed,
        "__Host-id=; Max-Age=0; Secure; Path=/",
        "__Host-id=new; Secure; Path=/",
    )
    .await?;
    assert_eq!(value, None);
    Ok("a removal that arrives after the login takes the new cookie".to_owned())
}

/// The cookie's value after a first request was answered with `first`, later than a second with
/// `second`.
async fn value_after_late(
    bed: &Bed,
    first: &'static str,
    second: &'static str,
) -> Result<Option<String>> {
    let gate = Gate::default();
    let held = gate.clone();
    let app = puppet().route(
        "/late",
        get(async move || {
            held.pass().await;
            setting([first])
        }),
    );
    let site = bed.site([(APP, app)]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &["__Host-id=old; Secure; Path=/"]))
        .await?;
    let late = tokio::spawn({
        let page = page.clone();
        async move { page.fetch("GET", "/late").await }
    });
    gate.arrived(1).await?;
    profile.page_at(&site.url_setting(APP, &[second])).await?;
    gate.open();
    late.await??;
    Ok(profile
        .cookie("__Host-id")
        .await?
        .map(|cookie| cookie.value))
}
