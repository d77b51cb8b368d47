//! What a removal must repeat.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::{
    site::{APP, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "removal":
        of_a_host_cookie_repeats_secure_and_path
        of_a_partitioned_cookie_repeats_partitioned
        of_a_domain_cookie_repeats_domain_and_path
        need_not_repeat_http_only_nor_same_site
    )
}

async fn of_a_host_cookie_repeats_secure_and_path(bed: &Bed) -> Result<String> {
    let kept = kept_by(
        bed,
        "Secure; Path=/; HttpOnly",
        &[
            "Path=/",
            "Secure",
            "Secure; Path=/; Domain=app.shop.test",
            "Secure; Path=/",
        ],
    )
    .await?;
    assert_eq!(kept, [true, true, true, false]);
    Ok("stays without Secure, without Path=/ or with Domain: refused; else removed".to_owned())
}

async fn of_a_partitioned_cookie_repeats_partitioned(bed: &Bed) -> Result<String> {
    let kept = kept_by(
        bed,
        "Secure; Path=/; SameSite=None; Partitioned",
        &["Secure; Path=/", "Secure; Path=/; Partitioned"],
    )
    .await?;
    assert_eq!(kept, [true, false]);
    Ok("without Partitioned the cookie stays; with it, it is removed".to_owned())
}

async fn of_a_domain_cookie_repeats_domain_and_path(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &["id=1; Domain=shop.test; Path=/a; Secure"]))
        .await?;
    let mut kept = Vec::new();
    for rest in [
        "Path=/a",
        "Domain=shop.test; Path=/",
        "Domain=shop.test; Path=/a",
    ] {
        page.open(&site.url_setting(APP, &[&format!("id=; Max-Age=0; {rest}")]))
            .await?;
        kept.push(!profile.cookies_named("id").await?.is_empty());
    }
    assert_eq!(kept, [true, true, false]);
    Ok("stays without Domain or with another Path; Secure need not be repeated".to_owned())
}

async fn need_not_repeat_http_only_nor_same_site(bed: &Bed) -> Result<String> {
    let kept = kept_by(
        bed,
        "Secure; Path=/; HttpOnly; SameSite=Strict",
        &["Secure; Path=/"],
    )
    .await?;
    assert_eq!(kept, [false]);
    Ok("removed without HttpOnly and SameSite".to_owned())
}

/// Whether `__Host-id` is still there after each removal, tried in this order.
async fn kept_by(bed: &Bed, set: &str, removals: &[&str]) -> Result<Vec<bool>> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &[&format!("__Host-id=1; {set}")]))
        .await?;
    assert!(
        profile.cookie("__Host-id").await?.is_some(),
        "not set with {set}"
    );
    let mut kept = Vec::new();
    for rest in removals {
        page.open(&site.url_setting(APP, &[&format!("__Host-id=; Max-Age=0; {rest}")]))
            .await?;
        kept.push(profile.cookie("__Host-id").await?.is_some());
    }
    Ok(kept)
}
