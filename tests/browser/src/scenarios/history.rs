//! The button Back, after a logout and without one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    response::{Html, IntoResponse, Redirect},
    routing::get,
};
use http::{HeaderMap, HeaderValue, header};
use libtest_mimic::Trial;

use crate::{
    browser::Back,
    site::{APP, puppet, setting},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "history":
        back_shows_a_private_page_after_the_logout
        back_shows_no_page_that_was_not_to_be_stored
        back_without_a_logout
        back_after_a_logout_elsewhere_shows_the_page
        back_after_a_logout_depends_on_how_the_page_was_reached
        clear_site_data_at_the_logout_does_not_help
        a_page_that_reloads_when_it_is_restored_shows_nobody
    )
}

async fn back_shows_a_private_page_after_the_logout(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["", "private", "private, max-age=60", "no-cache"] {
        let (back, text) = back_after(bed, control, Leaving::LoggedOut).await?;
        assert_restored(control, back, &text);
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

async fn back_after_a_logout_elsewhere_shows_the_page(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for control in ["private", "no-store"] {
        let (back, text) = back_after(bed, control, Leaving::EndedElsewhere).await?;
        assert_restored(control, back, &text);
        told.push(format!("`{control}`: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

async fn back_after_a_logout_depends_on_how_the_page_was_reached(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for (method, path) in [
        ("GET", "/account"),
        ("GET", "/to-account"),
        ("POST", "/to-account"),
    ] {
        let (back, text) = back_to_account(bed, method, path, Login::default()).await?;
        assert_eq!(text, "nobody", "{method} {path}: {back:?}");
        told.push(format!("by {method} {path}: {back:?}, shows {text:?}"));
    }
    for method in ["GET", "POST"] {
        let (back, text) = back_to_account(bed, method, "/login", Login::default()).await?;
        assert_restored(method, back, &text);
        told.push(format!(
            "by {method} /login, which sets the cookie: {back:?}, shows {text:?}"
        ));
    }
    Ok(told.join("; "))
}

async fn clear_site_data_at_the_logout_does_not_help(bed: &Bed) -> Result<String> {
    let mut told = Vec::new();
    for clears in ["\"cookies\"", "\"cache\"", "\"*\""] {
        let login = Login { clears, script: "" };
        let (back, text) = back_to_account(bed, "POST", "/login", login).await?;
        assert_restored(clears, back, &text);
        told.push(format!("{clears}: {back:?}, shows {text:?}"));
    }
    Ok(told.join("; "))
}

async fn a_page_that_reloads_when_it_is_restored_shows_nobody(bed: &Bed) -> Result<String> {
    let script = "<script>
        addEventListener('pageshow', (event) => event.persisted && location.reload());
    </script>";
    let login = Login { clears: "", script };
    let (back, text) = back_to_account(bed, "POST", "/login", login).await?;
    assert_eq!((back, text.as_str()), (Back::Restored, "nobody"));
    Ok(format!("{back:?}, then reloads and shows {text:?}"))
}

/// That Back shows what was private, as it was left.
fn assert_restored(of: &str, back: Back, text: &str) {
    assert_eq!((back, text), (Back::Restored, "account of ann"), "{of}");
}

/// What differs between the applications of [`back_to_account`].
#[derive(Clone, Copy, Debug, Default)]
struct Login {
    /// What the logout has the browser clear.
    clears: &'static str,
    /// What is on the account's page.
    script: &'static str,
}

/// What Back shows, after a logout, of an account's page with `no-store` that a form led to.
async fn back_to_account(
    bed: &Bed,
    method: &str,
    path: &str,
    Login { clears, script }: Login,
) -> Result<(Back, String)> {
    let account = async move |headers: HeaderMap| {
        let is_known = headers.contains_key(header::COOKIE);
        let text = if is_known { "account of ann" } else { "nobody" };
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        (no_store, Html(format!("<!doctype html>{script}{text}")))
    };
    let to_account = async || Redirect::to("/account");
    let login = async || ([(header::SET_COOKIE, LOGIN)], Redirect::to("/account"));
    let logout = async move || {
        let mut response = setting([LOGOUT]);
        if !clears.is_empty() {
            let clears = HeaderValue::from_static(clears);
            response.headers_mut().insert("clear-site-data", clears);
        }
        response
    };
    let app = puppet()
        .route("/account", get(account))
        .route("/to-account", get(to_account).post(to_account))
        .route("/login", get(login).post(login))
        .route("/logout", get(logout));
    let site = bed.site([(APP, app)]).await?;
    let page = bed.profile().await?.page().await?;
    let sets_no_cookie = path.ends_with("account");
    let first = if sets_no_cookie {
        site.url_setting(APP, &[LOGIN])
    } else {
        site.url(APP, "/")
    };
    page.open(&first).await?;
    page.submit(method, &site.url(APP, path), &[("a", "1")])
        .await?;
    assert_eq!(page.text().await?, "account of ann");
    page.click_link(&site.url(APP, "/logout")).await?;
    let back = if script.is_empty() {
        page.back().await?
    } else {
        page.back_and_reloaded().await?
    };
    Ok((back, page.text().await?))
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
        .page_at(&site.url_setting(APP, &[LOGIN]))
        .await?;
    page.click_link(&site.url(APP, "/account")).await?;
    assert_eq!(page.text().await?, "account of ann");
    let next = match leaving {
        Leaving::LoggedOut => site.url_setting(APP, &[LOGOUT]),
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

const LOGIN: &str = "__Host-id=ann; Secure; Path=/; HttpOnly";

const LOGOUT: &str = "__Host-id=; Max-Age=0; Secure; Path=/";
