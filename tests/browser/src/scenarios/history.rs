//! The button Back, after a logout and without one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    response::{Html, IntoResponse},
    routing::get,
};
use http::{HeaderMap, HeaderValue, header};
use libtest_mimic::Trial;

use crate::{
    browser::Back,
    site::{APP, puppet},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "history":
        back_shows_a_private_page_after_the_logout
        back_shows_no_page_that_was_not_to_be_stored
        back_without_a_logout
        back_after_a_logout_elsewhere_may_show_the_page
    )
}

async fn back_shows_a_private_page_after_the_logout(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["", "private", "private, max-age=60", "no-cache"] {
        let (back, text) = back_after(bed, control, Leaving::LoggedOut).await?;
        told.push(format!("`{control}`: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

async fn back_shows_no_page_that_was_not_to_be_stored(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["no-store", "private, no-store"] {
        let (back, text) = back_after(bed, control, Leaving::LoggedOut).await?;
        assert_eq!(text, "nobody", "{control}: {back:?}");
        told.push(format!("`{control}`: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

async fn back_without_a_logout(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["private", "no-store"] {
        let (back, text) = back_after(bed, control, Leaving::LoggedIn).await?;
        assert_eq!(text, "account of ann", "{control}: {back:?}");
        told.push(format!("`{control}`: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

async fn back_after_a_logout_elsewhere_may_show_the_page(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["private", "no-store"] {
        let (back, text) = back_after(bed, control, Leaving::EndedElsewhere).await?;
        told.push(format!("`{control}`: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

/// What Back shows of an account's page that was left for another.
async fn back_after(bed: &Bed, control: &'static str, leaving: Leaving) -> Result<(Back, String)> {
    let has_ended = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&has_ended);
    let app = puppet().route(
        "/account",
        get(async move |headers: HeaderMap| {
            let is_known = headers.contains_key(header::COOKIE) && !ended.load(Ordering::SeqCst);
            account(control, is_known)
        }),
    );
    let site = bed.site([(APP, app)]).await?;
    let page = bed
        .profile()
        .await?
        .page_at(&site.url_setting(APP, &["__Host-id=ann; Secure; Path=/; HttpOnly"]))
        .await?;
    page.click_link(&site.url(APP, "/account")).await?;
    assert_eq!(page.text().await?, "account of ann");
    let next = match leaving {
        Leaving::LoggedOut => site.url_setting(APP, &["__Host-id=; Max-Age=0; Secure; Path=/"]),
        Leaving::LoggedIn => site.url(APP, "/page"),
        Leaving::EndedElsewhere => {
            has_ended.store(true, Ordering::SeqCst);
            site.url(APP, "/page")
        }
    };
    page.click_link(&next).await?;
    let back = page.back().await?;
    Ok((back, page.text().await?))
}

fn account(control: &'static str, is_known: bool) -> impl IntoResponse {
    let mut answered = HeaderMap::new();
    if !control.is_empty() {
        answered.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    }
    (
        answered,
        Html(if is_known { "account of ann" } else { "nobody" }),
    )
}

#[derive(Clone, Copy, Debug)]
enum Leaving {
    LoggedIn,
    LoggedOut,
    /// The server ends the session, and this browser keeps its cookie.
    EndedElsewhere,
}
