//! Which cookies the browser takes, keeps and sends.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::{
    site::{APP, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "cookies":
        a_host_prefix_asks_for_secure_path_and_no_domain
        a_host_http_prefix_asks_for_http_only
        scripts_cannot_set_an_http_prefix
        a_cookie_without_max_age_ends_with_the_browser
        a_cookie_lives_400_days_at_most
        cookies_come_in_many_fields_over_http_2
    )
}

async fn a_host_prefix_asks_for_secure_path_and_no_domain(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page().await?;
    for (name, rest) in [
        ("__Host-1", "Path=/"),
        ("__Host-2", "Secure"),
        ("__Host-3", "Secure; Path=/; Domain=app.shop.test"),
        ("__host-4", "Path=/"),
    ] {
        page.open(&site.url_setting(APP, &[&format!("{name}=1; {rest}")]))
            .await?;
        assert_eq!(page.refusal(name).await?, "InvalidPrefix", "{name}; {rest}");
    }
    page.open(&site.url_setting(APP, &["__Host-id=1; Secure; Path=/"]))
        .await?;
    let kept = profile.cookies().await?;
    assert_eq!(kept.len(), 1, "{kept:?}");
    Ok(
        "refused without Secure, without Path=/, with Domain, and so is `__host-`: InvalidPrefix"
            .to_owned(),
    )
}

async fn a_host_http_prefix_asks_for_http_only(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page().await?;
    page.open(&site.url_setting(APP, &["__Host-Http-1=1; Secure; Path=/"]))
        .await?;
    assert_eq!(page.refusal("__Host-Http-1").await?, "InvalidPrefix");
    page.open(&site.url_setting(APP, &["__Host-Http-id=1; Secure; Path=/; HttpOnly"]))
        .await?;
    page.open(&site.url(APP, "/echo")).await?;
    assert_eq!(site.last("/echo")?.cookies(), ["__Host-Http-id=1"]);
    Ok("kept and sent; refused without HttpOnly: InvalidPrefix".to_owned())
}

async fn scripts_cannot_set_an_http_prefix(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&site.url(APP, "/")).await?;
    page.run("document.cookie = '__Host-Http-id=1; Secure; Path=/'")
        .await?;
    page.run("document.cookie = '__Host-Http-id=1; Secure; Path=/; HttpOnly'")
        .await?;
    page.run("document.cookie = '__Host-id=1; Secure; Path=/'")
        .await?;
    let names: Vec<_> = profile
        .cookies()
        .await?
        .into_iter()
        .map(|cookie| cookie.name)
        .collect();
    assert_eq!(names, ["__Host-id"]);
    Ok("a script of the host itself sets `__Host-id`, and cannot set `__Host-Http-id`".to_owned())
}

async fn a_cookie_without_max_age_ends_with_the_browser(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let lines = ["__Host-id=1; Secure; Path=/", "kept=1; Max-Age=60"];
    profile.page_at(&site.url_setting(APP, &lines)).await?;
    let id = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
    assert!(id.session, "{id:?}");
    let kept = profile.cookie("kept").await?.ok_or("no cookie")?;
    assert!(!kept.session, "{kept:?}");
    Ok("the jar marks it as one of the browser's session".to_owned())
}

async fn a_cookie_lives_400_days_at_most(bed: &Bed) -> Result<String> {
    const DAY: f64 = 86_400.0;
    let site = bed.site([(APP, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &["a=1; Max-Age=86400000"]))
        .await?;
    let now: f64 = page.eval("Date.now() / 1000").await?;
    let expires = profile.cookie("a").await?.ok_or("no cookie")?.expires;
    let days = (expires - now) / DAY;
    assert!((days - 400.0).abs() < 1.0, "{days} days");
    Ok(format!("Max-Age of 1000 days becomes {days:.0} days"))
}

async fn cookies_come_in_many_fields_over_http_2(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet())]).await?;
    let lines = ["a=1", "b=2", "__Host-id=1; Secure; Path=/"];
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(APP, &lines))
        .await?;
    page.open(&site.url(APP, "/echo")).await?;
    let echo = site.last("/echo")?;
    assert_eq!(echo.cookies(), ["a=1", "b=2", "__Host-id=1"]);
    Ok(format!(
        "3 cookies in {} `Cookie` fields, {:?}",
        echo.cookie_fields(),
        echo.version
    ))
}
