//! Requests that nobody may ever see the answer of.

use std::sync::Arc;

use axum::{response::Html, routing::get};
use libtest_mimic::Trial;

use crate::{
    site::{APP, html, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "prefetch":
        a_link_is_prefetched_with_its_purpose_and_cookies
        a_speculation_rule_prefetches_with_its_purpose_and_cookies
        a_speculation_rule_prerenders_with_its_purpose_and_cookies
    )
}

async fn a_link_is_prefetched_with_its_purpose_and_cookies(bed: &Bed) -> Result<String> {
    prefetched(bed, LINK).await
}

async fn a_speculation_rule_prefetches_with_its_purpose_and_cookies(bed: &Bed) -> Result<String> {
    prefetched(bed, PREFETCH).await
}

async fn a_speculation_rule_prerenders_with_its_purpose_and_cookies(bed: &Bed) -> Result<String> {
    prefetched(bed, PRERENDER).await
}

async fn prefetched(bed: &Bed, head: &'static str) -> Result<String> {
    let app = puppet()
        .route(
            "/start",
            get(async move || {
                Html(format!(
                    "<!doctype html><head>{head}</head><body>start</body>"
                ))
            }),
        )
        .route("/next", get(async || html("next")));
    let site = bed.site([(APP, app)]).await?;
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(
            APP,
            &["__Host-id=1; Secure; Path=/; HttpOnly; SameSite=Lax"],
        ))
        .await?;
    page.open(&site.url(APP, "/start")).await?;
    let next = site.answered("/next").await?;
    assert!(next.has_cookie("__Host-id=1"), "{next:?}");
    assert!(
        next.asked("sec-purpose").starts_with("prefetch"),
        "{next:?}"
    );
    page.click_link(&site.url(APP, "/next")).await?;
    Ok(format!(
        "`Sec-Purpose: {}`, cookies [{}]; a click then makes {} more request",
        next.asked("sec-purpose"),
        next.cookies().join(" "),
        site.exchanges("/next").len() - 1,
    ))
}

const LINK: &str = r#"<link rel="prefetch" href="/next">"#;

const PREFETCH: &str = r#"<script type="speculationrules">
    {"prefetch": [{"urls": ["/next"], "eagerness": "immediate"}]}
</script>"#;

const PRERENDER: &str = r#"<script type="speculationrules">
    {"prerender": [{"urls": ["/next"], "eagerness": "immediate"}]}
</script>"#;
