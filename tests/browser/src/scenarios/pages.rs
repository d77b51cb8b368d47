//! The layer and what a browser does with its pages: Back, prefetch, redirects, other sites.

use std::sync::Arc;

use http::header;
use libtest_mimic::Trial;

use super::login::{page_says, sign_in};
use crate::{
    browser::{Back, Page},
    site::{APP, EVIL, OTHER, Shop},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "pages":
        back_after_the_logout_shows_nobody
        a_prefetch_that_nobody_looks_at_leaves_the_message
        a_prefetch_that_is_shown_leaves_the_message_once_more
        a_redirect_s_target_sees_what_was_stored
        the_way_back_by_a_link_finds_the_session
        the_way_back_by_a_form_post_finds_it_one_redirect_later
        a_sibling_s_lookalikes_change_nothing
        a_sibling_cannot_give_its_own_session_to_a_visitor
    )
}

async fn back_after_the_logout_shows_nobody(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    // That the page was not reached by the login's redirect matters: see the suite `history`.
    page.click_link(&shop.url("/me")).await?;
    assert_eq!(page.text().await?, "ann");
    let control = shop.site.last("/me")?;
    let control = control.answered.get(header::CACHE_CONTROL).cloned();
    page.click_link(&shop.url("/")).await?;
    assert_eq!(page.back().await?, Back::Restored);
    page.click_link(&shop.url("/")).await?;
    page.fetch("POST", "/logout").await?;
    let back = page.back().await?;
    assert_eq!(page.text().await?, "nobody");
    Ok(format!(
        "{control:?}; before the logout Restored, after it {back:?}, shows nobody"
    ))
}

async fn a_prefetch_that_nobody_looks_at_leaves_the_message(bed: &Bed) -> Result<String> {
    let (shop, page) = prefetched(bed).await?;
    page.open(&shop.url("/echo")).await?;
    page.open(&shop.url("/flashes")).await?;
    assert_eq!(page.text().await?, "saved");
    page.open(&shop.url("/flashes")).await?;
    assert_eq!(page.text().await?, "");
    Ok("the message is shown by the next page that is looked at, and once".to_owned())
}

async fn a_prefetch_that_is_shown_leaves_the_message_once_more(bed: &Bed) -> Result<String> {
    let (shop, page) = prefetched(bed).await?;
    page.click_link(&shop.url("/flashes")).await?;
    assert_eq!(page.text().await?, "saved");
    let asked = shop.site.exchanges("/flashes").len() - 1;
    page.open(&shop.url("/flashes")).await?;
    let again = page.text().await?;
    Ok(format!(
        "the click asks {asked} times more and shows it; a reload then shows {again:?}"
    ))
}

/// A page with a message waiting, which the browser has fetched before anybody asked for it.
async fn prefetched(bed: &Bed) -> Result<(Shop, Page)> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page_at(&shop.url("/")).await?;
    page.submit("POST", &shop.url("/flash"), &[]).await?;
    let prefetch = shop.site.answered("/flashes").await?;
    assert_eq!(prefetch.asked("sec-purpose"), "prefetch");
    Ok((shop, page))
}

async fn a_redirect_s_target_sees_what_was_stored(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page_at(&shop.url("/")).await?;
    page.submit("POST", &shop.url("/put/late-body?name=a&value=1"), &[])
        .await?;
    assert_eq!(page.path().await?, "/get");
    assert_eq!(page.text().await?, "1");
    shop.gate.open();
    Ok("the target reads what the redirect stored, before the redirect's body ended".to_owned())
}

async fn the_way_back_by_a_link_finds_the_session(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page_at(&shop.url("/")).await?;
    page.fetch("POST", "/put?name=state&value=xyz").await?;
    page.open(&shop.site.url(OTHER, "/")).await?;
    page.click_link(&shop.url("/callback?name=state")).await?;
    assert_eq!(page.text().await?, "xyz");
    Ok("the callback finds the state".to_owned())
}

async fn the_way_back_by_a_form_post_finds_it_one_redirect_later(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    page.fetch("POST", "/put?name=state&value=xyz").await?;
    let before = profile.cookie("__Host-id").await?;
    page.open(&shop.site.url(OTHER, "/")).await?;
    page.submit("POST", &shop.url("/callback?name=state"), &[("code", "1")])
        .await?;
    let seen: String = page
        .eval("new URLSearchParams(location.search).get('value')")
        .await?;
    assert_eq!(seen, "nothing");
    assert_eq!(page.text().await?, "xyz");
    assert_eq!(profile.cookie("__Host-id").await?, before);
    Ok("the POST finds no session and touches no cookie; its redirect finds the state".to_owned())
}

async fn a_sibling_s_lookalikes_change_nothing(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let profile = bed.profile().await?;
    let page = profile.page_at(&shop.url("/")).await?;
    sign_in(&shop, &page, "ann").await?;
    toss(&shop, &page, &"x".repeat(64)).await?;
    page_says(&page, &shop, "ann").await?;
    let arrived = shop.site.last("/me")?.cookies().len();
    assert!(shop.site.last("/me")?.set_cookies().is_empty());
    Ok(format!(
        "{arrived} cookies arrive; ann is logged in, and nothing is set"
    ))
}

async fn a_sibling_cannot_give_its_own_session_to_a_visitor(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let attacker = bed.profile().await?;
    sign_in(&shop, &attacker.page_at(&shop.url("/")).await?, "mallory").await?;
    let token = attacker
        .cookie("__Host-id")
        .await?
        .ok_or("no cookie")?
        .value;

    let page = bed.profile().await?.page().await?;
    toss(&shop, &page, &token).await?;
    page_says(&page, &shop, "nobody").await?;
    let arrived = shop.site.last("/me")?.cookies();
    assert!(
        arrived.iter().any(|pair| pair.contains(&token)),
        "{arrived:?}"
    );
    Ok(format!(
        "the attacker's token arrives under {} other names; nobody is logged in",
        arrived.len()
    ))
}

/// Has the sibling set all that a browser takes from it.
async fn toss(shop: &Shop, page: &Page, value: &str) -> Result<()> {
    for name in super::sibling::names() {
        let line = format!("{name}={value}; Domain=shop.test; Path=/; Secure");
        page.open(&shop.site.url_setting(EVIL, &[&line])).await?;
    }
    page.open(&shop.site.url(APP, "/")).await
}
