//! Requests that other sites make: what they carry, and what a handler can tell them by.

use std::sync::Arc;

use axum::routing::get;
use libtest_mimic::Trial;

use crate::{
    site::{APP, EVIL, Exchange, OTHER, html, puppet, setting},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "cross_site":
        a_form_of_another_site_carries_no_lax_cookie
        a_form_of_a_sibling_carries_the_lax_cookie
        a_form_of_the_host_itself
        a_script_of_another_site_carries_no_lax_cookie
        an_iframe_keeps_a_partitioned_cookie_of_its_own
        a_partitioned_cookie_and_its_twin_both_arrive
    )
}

async fn a_form_of_another_site_carries_no_lax_cookie(bed: &Bed) -> Result<String> {
    let post = post_from(bed, OTHER).await?;
    assert!(!post.has_cookie("__Host-id=1"), "{post:?}");
    assert_eq!(post.asked("sec-fetch-site"), "cross-site");
    Ok(told(&post))
}

async fn a_form_of_a_sibling_carries_the_lax_cookie(bed: &Bed) -> Result<String> {
    let post = post_from(bed, EVIL).await?;
    assert!(post.has_cookie("__Host-id=1"), "{post:?}");
    assert_eq!(post.asked("sec-fetch-site"), "same-site");
    Ok(told(&post))
}

async fn a_form_of_the_host_itself(bed: &Bed) -> Result<String> {
    let post = post_from(bed, APP).await?;
    assert!(post.has_cookie("__Host-id=1"), "{post:?}");
    assert_eq!(post.asked("sec-fetch-site"), "same-origin");
    Ok(told(&post))
}

async fn a_script_of_another_site_carries_no_lax_cookie(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet()), (OTHER, puppet())]).await?;
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(APP, &[LAX]))
        .await?;
    page.open(&site.url(OTHER, "/")).await?;
    let target = serde_json::json!(site.url(APP, "/echo"));
    let options = "{ method: 'POST', mode: 'no-cors', credentials: 'include' }";
    page.run(&format!("fetch({target}, {options}).then(() => true)"))
        .await?;
    let post = site.last("/echo")?;
    assert!(!post.has_cookie("__Host-id=1"), "{post:?}");
    Ok(told(&post))
}

async fn an_iframe_keeps_a_partitioned_cookie_of_its_own(bed: &Bed) -> Result<String> {
    const BOTH: [&str; 2] = [
        "__Host-id=inside; Secure; Path=/; SameSite=None; Partitioned",
        "__Host-plain=1; Secure; Path=/; SameSite=None",
    ];
    let app = puppet().route("/framed", get(async || setting(BOTH)));
    let site = bed.site([(APP, app), (OTHER, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&site.url(OTHER, "/")).await?;
    for path in ["/framed", "/echo"] {
        let source = serde_json::json!(site.url(APP, path));
        page.run(&format!(
            "new Promise((resolve) => {{
                const frame = Object.assign(document.createElement('iframe'), {{ src: {source} }});
                frame.onload = () => resolve(true);
                document.body.append(frame);
            }})"
        ))
        .await?;
    }
    let inside = site.last("/echo")?.cookies();
    assert!(
        inside.iter().any(|pair| pair == "__Host-id=inside"),
        "{inside:?}"
    );
    page.open(&site.url(APP, "/echo")).await?;
    let outside = site.last("/echo")?.cookies();
    assert!(
        !outside.iter().any(|pair| pair == "__Host-id=inside"),
        "{outside:?}"
    );
    let kept = profile.cookie("__Host-id").await?.ok_or("not kept")?;
    Ok(format!(
        "kept as {kept}; the frame sends {}; a page of the host itself sends {}",
        inside.join(" "),
        if outside.is_empty() {
            "none".to_owned()
        } else {
            outside.join(" ")
        },
    ))
}

async fn a_partitioned_cookie_and_its_twin_both_arrive(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let twins = [
        "__Host-id=plain; Secure; Path=/; SameSite=None",
        "__Host-id=partitioned; Secure; Path=/; SameSite=None; Partitioned",
    ];
    let page = profile.page_at(&site.url_setting(APP, &twins)).await?;
    page.open(&site.url(APP, "/echo")).await?;
    let mut both = site.last("/echo")?.cookies();
    let told = both.join(" ");
    both.sort();
    assert_eq!(both, ["__Host-id=partitioned", "__Host-id=plain"]);
    Ok(format!("a page of the host itself sends {told}"))
}

/// A POST by a form on a page of `host` to the application, which has set a Lax cookie.
async fn post_from(bed: &Bed, host: &'static str) -> Result<Exchange> {
    let site = bed
        .site([
            (APP, puppet()),
            (EVIL, puppet()),
            (OTHER, puppet().route("/form", get(async || html("form")))),
        ])
        .await?;
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(APP, &[LAX]))
        .await?;
    page.open(&site.url(host, "/")).await?;
    page.submit("POST", &site.url(APP, "/echo"), &[("amount", "1")])
        .await?;
    site.last("/echo")
}

fn told(post: &Exchange) -> String {
    format!(
        "{} with cookies [{}], `Sec-Fetch-Site: {}`, `Sec-Fetch-Mode: {}`, `Origin: {}`",
        post.method,
        post.cookies().join(" "),
        post.asked("sec-fetch-site"),
        post.asked("sec-fetch-mode"),
        post.origin(),
    )
}

const LAX: &str = "__Host-id=1; Secure; Path=/; HttpOnly; SameSite=Lax";
