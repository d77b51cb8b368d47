//! The layer with other cookies than its own.

use std::sync::Arc;

use libtest_mimic::Trial;
use tower_stash::session::{SessionCookie, SessionRule};

use super::login::{page_says, sign_in};
use crate::{
    site::{APP, OTHER, Shop},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "presets":
        host_http_logs_in_and_out
        a_browser_session_has_no_end_of_its_own
        strict_arrives_logged_out_from_another_site
        partitioned_logs_in_and_out
        partitioned_lives_in_a_frame_of_another_site
        partitioned_replaces_the_cookie_of_before
    )
}

async fn host_http_logs_in_and_out(bed: &Bed) -> Result<String> {
    logs_in_and_out(bed, SessionCookie::host_http()).await?;
    Ok("kept, and removed by the logout".to_owned())
}

async fn a_browser_session_has_no_end_of_its_own(bed: &Bed) -> Result<String> {
    let cookie = SessionCookie::default().with_browser_session();
    let kept = logs_in_and_out(bed, cookie).await?;
    assert!(kept.session, "{kept:?}");
    Ok("the jar marks it as one of the browser's session".to_owned())
}

async fn strict_arrives_logged_out_from_another_site(bed: &Bed) -> Result<String> {
    let shop = open(bed, SessionCookie::strict()).await?;
    let page = bed.profile().await?.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    page.open(&shop.site.url(OTHER, "/")).await?;
    page.click_link(&shop.url("/me")).await?;
    assert_eq!(page.text().await?, "nobody");
    page.click_link(&shop.url("/me")).await?;
    assert_eq!(page.text().await?, "ann");
    Ok("a link of another site shows nobody; the next click shows ann".to_owned())
}

async fn partitioned_logs_in_and_out(bed: &Bed) -> Result<String> {
    let kept = logs_in_and_out(bed, SessionCookie::default().with_partitioned()).await?;
    let key = kept.partition_key.ok_or("not partitioned")?;
    Ok(format!(
        "kept under {}, and removed by the logout",
        key.top_level_site
    ))
}

async fn partitioned_lives_in_a_frame_of_another_site(bed: &Bed) -> Result<String> {
    let shop = open(bed, SessionCookie::default().with_partitioned()).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.site.url(OTHER, "/")).await?;
    let login = serde_json::json!(shop.url("/login"));
    page.run(&format!(
        "new Promise((resolve) => {{
            const frame = Object.assign(document.createElement('iframe'), {{ name: 'inside' }});
            const form = document.createElement('form');
            Object.assign(form, {{ method: 'POST', action: {login}, target: 'inside' }});
            form.append(Object.assign(document.createElement('input'), {{ name: 'user', value: 'ann' }}));
            document.body.append(frame, form);
            frame.onload = () => resolve(true);
            form.submit();
        }})"
    ))
    .await?;
    let inside = shop.site.answered("/me").await?;
    assert_eq!(inside.cookies().len(), 1, "{inside:?}");
    let kept = profile.cookie("__Host-id").await?.ok_or("not kept")?;
    let key = kept.partition_key.ok_or("not partitioned")?;
    page_says(&page, &shop, "nobody").await?;
    Ok(format!(
        "logged in inside the frame, under {}; a page of the host itself: nobody",
        key.top_level_site
    ))
}

async fn partitioned_replaces_the_cookie_of_before(bed: &Bed) -> Result<String> {
    let shop = open(bed, SessionCookie::default().with_partitioned()).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    // A twin as the application set it before it was partitioned.
    profile
        .set(&shop.url("/"), "__Host-id", &"A".repeat(64))
        .await?;
    page_says(&page, &shop, "nobody").await?;
    assert_eq!(shop.site.last("/me")?.cookies().len(), 2);
    sign_in(&shop, &page, "ann").await?;
    page_says(&page, &shop, "ann").await?;
    let left = profile.cookie("__Host-id").await?.ok_or("none left")?;
    assert!(left.partition_key.is_some(), "{left:?}");
    Ok("with both the user is nobody; the next login removes the one of before".to_owned())
}

/// Logs in and out again, and gives the cookie of between.
async fn logs_in_and_out(bed: &Bed, cookie: SessionCookie) -> Result<crate::browser::Cookie> {
    let name = cookie.name().to_owned();
    let shop = open(bed, cookie).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.site.url(APP, "/")).await?;
    sign_in(&shop, &page, "ann").await?;
    page_says(&page, &shop, "ann").await?;
    let kept = profile.cookie(&name).await?.ok_or("not kept")?;
    page.submit("POST", &shop.url("/logout"), &[]).await?;
    assert_eq!(profile.cookie(&name).await?, None);
    assert_eq!(page.text().await?, "nobody");
    Ok(kept)
}

async fn open(bed: &Bed, cookie: SessionCookie) -> Result<Shop> {
    Shop::open(bed, SessionRule::new("web")?.with_cookie(cookie)?).await
}
