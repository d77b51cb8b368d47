//! What a sibling under the same registrable domain can do to the application's cookie.

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::{
    site::{APP, EVIL, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "sibling":
        names_with_the_prefix_are_refused
        names_that_only_look_like_it_arrive
        a_script_of_the_sibling_can_do_no_more
        many_cookies_push_out_the_application_s
    )
}

async fn names_with_the_prefix_are_refused(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet()), (EVIL, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page().await?;
    for pair in WITH_PREFIX {
        page.open(&site.url_setting(EVIL, &[&format!("{pair}; {TOSSED}")]))
            .await?;
    }
    page.open(&site.url(APP, "/echo")).await?;
    let arrived = site.last("/echo")?.cookies();
    assert!(arrived.is_empty(), "{arrived:?}");
    Ok(format!("refused: {}", WITH_PREFIX.join(", ")))
}

async fn names_that_only_look_like_it_arrive(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet()), (EVIL, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &["__Host-id=own; Secure; Path=/"]))
        .await?;
    for pair in LOOKALIKES {
        page.open(&site.url_setting(EVIL, &[&format!("{pair}; {TOSSED}")]))
            .await?;
    }
    page.open(&site.url(APP, "/echo")).await?;
    let arrived = site.last("/echo")?.cookies();
    assert!(
        arrived.iter().any(|pair| pair == "__Host-id=own"),
        "{arrived:?}"
    );
    assert!(
        arrived.iter().any(|pair| pair == "%5F%5FHost-id=evil"),
        "{arrived:?}"
    );
    Ok(format!(
        "arrived: {}",
        arrived.join(", ").replace('\u{2000}', "U+2000 ")
    ))
}

async fn a_script_of_the_sibling_can_do_no_more(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet()), (EVIL, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&site.url(EVIL, "/")).await?;
    for pair in WITH_PREFIX.iter().chain(&LOOKALIKES) {
        let line = serde_json::json!(format!("{pair}; {TOSSED}"));
        page.run(&format!("document.cookie = {line}")).await?;
    }
    page.open(&site.url(APP, "/echo")).await?;
    let arrived = site.last("/echo")?.cookies();
    for pair in WITH_PREFIX {
        let name = pair.trim_start_matches('=');
        assert!(!arrived.iter().any(|pair| pair == name), "{arrived:?}");
    }
    Ok(format!(
        "arrived: {}",
        arrived.join(", ").replace('\u{2000}', "U+2000 ")
    ))
}

async fn many_cookies_push_out_the_application_s(bed: &Bed) -> Result<String> {
    let site = bed.site([(APP, puppet()), (EVIL, puppet())]).await?;
    let profile = bed.profile().await?;
    let page = profile
        .page_at(&site.url_setting(APP, &["__Host-id=own; Secure; Path=/; HttpOnly"]))
        .await?;
    page.open(&site.url(EVIL, "/")).await?;
    let mut needed = 0;
    while profile.cookie("__Host-id").await?.is_some() && needed < 400 {
        page.run(&format!(
            "for (let n = 0; n < 20; n++) document.cookie = `c{needed}-${{n}}=1; {TOSSED}`"
        ))
        .await?;
        needed += 20;
    }
    assert_eq!(
        profile.cookie("__Host-id").await?,
        None,
        "still there after {needed} cookies"
    );
    Ok(format!(
        "the application's cookie is evicted by at most {needed} cookies: a logout, no more"
    ))
}

/// All names that are like the prefixed one.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let pairs = WITH_PREFIX.iter().chain(&LOOKALIKES);
    pairs.filter_map(|pair| pair.strip_suffix("=evil"))
}

const TOSSED: &str = "Domain=shop.test; Path=/; Secure";

const WITH_PREFIX: [&str; 5] = [
    "__Host-id=evil",
    "__host-id=evil",
    "__HOST-ID=evil",
    "=__Host-id=evil",
    "__Host-Http-id=evil",
];

const LOOKALIKES: [&str; 7] = [
    "%5F%5FHost-id=evil",
    "_%5FHost-id=evil",
    "\u{2000}__Host-id=evil",
    "\"__Host-id\"=evil",
    "$Version=1,__Host-id=evil",
    "__Secure-id=evil",
    "id=evil",
];
