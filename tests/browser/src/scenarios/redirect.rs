//! Redirects: whose cookies survive a way over another site, and when a 303 is followed.

use std::sync::Arc;

use axum::{
    body::{Body, Bytes},
    response::Redirect,
    routing::get,
};
use futures_util::{StreamExt as _, stream};
use http::{Response, StatusCode, header};
use libtest_mimic::Trial;

use crate::{
    browser::Page,
    site::{APP, Gate, OTHER, Site, html, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "redirect":
        back_from_a_redirect_of_another_site
        back_by_a_link_of_another_site
        back_by_a_form_post_of_another_site
        a_303_is_followed_while_its_body_runs
    )
}

async fn back_from_a_redirect_of_another_site(bed: &Bed) -> Result<String> {
    let (site, page) = with_cookies(bed).await?;
    let callback = site.url(APP, "/callback");
    page.click_link(&site.url(OTHER, &format!("/go?{callback}")))
        .await?;
    let callback = site.last("/callback")?;
    assert!(callback.has_cookie("lax=1"), "{callback:?}");
    told(&site)
}

async fn back_by_a_link_of_another_site(bed: &Bed) -> Result<String> {
    let (site, page) = with_cookies(bed).await?;
    page.open(&site.url(OTHER, "/")).await?;
    page.click_link(&site.url(APP, "/callback")).await?;
    let callback = site.last("/callback")?;
    assert!(callback.has_cookie("lax=1"), "{callback:?}");
    assert!(!callback.has_cookie("strict=1"), "{callback:?}");
    told(&site)
}

async fn back_by_a_form_post_of_another_site(bed: &Bed) -> Result<String> {
    let (site, page) = with_cookies(bed).await?;
    page.open(&site.url(OTHER, "/")).await?;
    page.submit("POST", &site.url(APP, "/callback"), &[("code", "1")])
        .await?;
    let callback = site.last("/callback")?;
    assert!(!callback.has_cookie("lax=1"), "{callback:?}");
    assert!(callback.has_cookie("none=1"), "{callback:?}");
    told(&site)
}

async fn a_303_is_followed_while_its_body_runs(bed: &Bed) -> Result<String> {
    let gate = Gate::default();
    let held = gate.clone();
    let app = puppet().route("/save", get(async move || slow_303(held)));
    let site = bed.site([(APP, app)]).await?;
    let page = bed.profile().await?.page_at(&site.url(APP, "/")).await?;
    page.open(&site.url(APP, "/save")).await?;
    assert_eq!(page.path().await?, "/page");
    assert_eq!(site.last("/page")?.cookies(), ["__Host-id=1"]);
    gate.open();
    Ok(
        "the target was asked for, with the new cookie, before the body of the 303 ended"
            .to_owned(),
    )
}

fn slow_303(held: Gate) -> Response<Body> {
    let rest = stream::once(async move {
        held.pass().await;
        Ok(Bytes::from_static(b"end"))
    });
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"begin"))]).chain(rest);
    Response::builder()
        .status(StatusCode::SEE_OTHER)
        .header(header::LOCATION, "/page")
        .header(header::SET_COOKIE, "__Host-id=1; Secure; Path=/")
        .body(Body::from_stream(body))
        .expect("a response")
}

/// A page of the application that was given a cookie of each kind.
async fn with_cookies(bed: &Bed) -> Result<(Site, Page)> {
    let callback = get(async || Redirect::to("/done")).post(async || Redirect::to("/done"));
    let app = puppet()
        .route("/callback", callback)
        .route("/done", get(async || html("done")));
    let site = bed.site([(APP, app), (OTHER, puppet())]).await?;
    let lines = [
        "lax=1; Secure; SameSite=Lax",
        "strict=1; Secure; SameSite=Strict",
        "none=1; Secure; SameSite=None",
        "unsaid=1; Secure",
    ];
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(APP, &lines))
        .await?;
    Ok((site, page))
}

fn told(site: &Site) -> Result<String> {
    let callback = site.last("/callback")?;
    let done = site.last("/done")?;
    Ok(format!(
        "{} /callback gets {}, `Sec-Fetch-Site: {}`, `Origin: {}`; its redirect to /done gets {}",
        callback.method,
        callback.cookies().join(" "),
        callback.asked("sec-fetch-site"),
        callback.origin(),
        done.cookies().join(" "),
    ))
}
