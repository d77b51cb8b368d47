//! The layer with a check of who makes the request: its own pages, others', and none.

use std::sync::Arc;

use http::StatusCode;
use libtest_mimic::Trial;
use serde_json::json;
use tower_stash::session::{Csrf, SameSite, SessionCookie, SessionRule};

use super::login::{html_of, sign_in};
use crate::{
    browser::{Cookie, Page, Profile},
    site::{APP, EVIL, Exchange, OTHER, Port, Shop},
    trial::{Bed, Result, trials},
};

pub(crate) fn trials(bed: &Arc<Bed>) -> Vec<Trial> {
    trials!(bed, "csrf":
        a_form_of_the_own_page_passes
        a_form_of_the_own_page_that_names_no_origin_passes
        a_script_of_the_own_page_passes
        a_form_of_another_site_changes_nothing
        a_form_of_another_site_with_the_cookie_changes_nothing
        a_form_of_another_site_logs_nobody_in
        a_script_of_another_site_changes_nothing
        a_form_of_a_sibling_changes_nothing
        a_script_of_a_sibling_changes_nothing
        a_sibling_passes_if_the_rule_says_so
        a_trusted_origin_passes
        a_link_of_another_site_passes
        a_web_socket_of_the_own_page_opens
        a_web_socket_of_other_pages_is_refused
        a_web_socket_of_a_sibling_opens_if_its_origin_is_named
        a_form_s_token_is_known_again
        a_token_that_is_not_the_session_s_is_told
        a_sibling_s_form_has_no_token_of_the_visitor
    )
}

async fn a_form_of_the_own_page_passes(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_form(APP).await?;
    ann.assert_put(&post).await?;
    Ok(told(&post))
}

async fn a_form_of_the_own_page_that_names_no_origin_passes(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    ann.page.open(&ann.shop.url("/")).await?;
    ann.page
        .run(
            "document.head.append(Object.assign(document.createElement('meta'), {
                name: 'referrer', content: 'no-referrer',
            }))",
        )
        .await?;
    ann.page.submit("POST", &ann.shop.url(PUT), &[]).await?;
    let post = ann.shop.site.last("/put")?;
    assert_eq!(post.origin(), "null");
    ann.assert_put(&post).await?;
    Ok(told(&post))
}

async fn a_script_of_the_own_page_passes(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_script(APP).await?;
    ann.assert_put(&post).await?;
    Ok(told(&post))
}

async fn a_form_of_another_site_changes_nothing(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_form(OTHER).await?;
    ann.assert_refused(&post).await?;
    Ok(told(&post))
}

async fn a_form_of_another_site_with_the_cookie_changes_nothing(bed: &Bed) -> Result<String> {
    let rule = rule_for_other_sites()?.with_csrf(Csrf::new());
    let ann = Visitor::sign_in(Shop::open(bed, rule).await?, bed).await?;
    let post = ann.put_by_form(OTHER).await?;
    assert_eq!(post.cookies().len(), 1, "{post:?}");
    ann.assert_refused(&post).await?;
    Ok(told(&post))
}

async fn a_form_of_another_site_logs_nobody_in(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    ann.page.open(&ann.shop.site.url(OTHER, "/")).await?;
    sign_in(&ann.shop, &ann.page, "eve").await?;
    let login = ann.shop.site.last("/login")?;
    ann.assert_refused(&login).await?;
    Ok(told(&login))
}

async fn a_script_of_another_site_changes_nothing(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_script(OTHER).await?;
    ann.assert_refused(&post).await?;
    Ok(told(&post))
}

async fn a_form_of_a_sibling_changes_nothing(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_form(EVIL).await?;
    assert_eq!(post.cookies().len(), 1, "{post:?}");
    ann.assert_refused(&post).await?;
    Ok(told(&post))
}

async fn a_script_of_a_sibling_changes_nothing(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let post = ann.put_by_script(EVIL).await?;
    assert_eq!(post.cookies().len(), 1, "{post:?}");
    ann.assert_refused(&post).await?;
    Ok(told(&post))
}

async fn a_sibling_passes_if_the_rule_says_so(bed: &Bed) -> Result<String> {
    let csrf = Csrf::new().with_same_site_requests();
    let ann = Visitor::sign_in(open(bed, csrf).await?, bed).await?;
    let from_elsewhere = ann.put_by_form(OTHER).await?;
    ann.assert_refused(&from_elsewhere).await?;
    let post = ann.put_by_form(EVIL).await?;
    ann.assert_put(&post).await?;
    Ok(told_both(&post, &from_elsewhere))
}

async fn a_trusted_origin_passes(bed: &Bed) -> Result<String> {
    let port = Port::bind().await?;
    let csrf = Csrf::new().with_trusted_origin(&port.origin(OTHER))?;
    let shop = Shop::open_at(bed, port, rule_for_other_sites()?.with_csrf(csrf))?;
    let ann = Visitor::sign_in(shop, bed).await?;
    let of_a_sibling = ann.put_by_form(EVIL).await?;
    ann.assert_refused(&of_a_sibling).await?;
    let trusted = ann.put_by_form(OTHER).await?;
    ann.assert_put(&trusted).await?;
    Ok(told_both(&trusted, &of_a_sibling))
}

async fn a_link_of_another_site_passes(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    ann.page.open(&ann.shop.site.url(OTHER, "/")).await?;
    ann.page.click_link(&ann.shop.url("/me")).await?;
    assert_eq!(ann.page.text().await?, "ann");
    let link = ann.shop.site.last("/me")?;
    assert_eq!(link.asked("sec-fetch-site"), "cross-site");
    Ok(told(&link))
}

async fn a_web_socket_of_the_own_page_opens(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let (outcome, handshake) = ann.open_web_socket(APP).await?;
    assert_eq!(outcome, "opened");
    assert_eq!(handshake.status, StatusCode::SWITCHING_PROTOCOLS);
    Ok(told(&handshake))
}

async fn a_web_socket_of_other_pages_is_refused(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(open(bed, Csrf::new()).await?, bed).await?;
    let mut all = Vec::new();
    for host in [EVIL, OTHER] {
        let (outcome, handshake) = ann.open_web_socket(host).await?;
        assert_eq!(outcome, "failed", "{host}");
        ann.assert_refused(&handshake).await?;
        all.push(told(&handshake));
    }
    Ok(all.join("; "))
}

/// The browser says nothing of the site when it opens a WebSocket.
async fn a_web_socket_of_a_sibling_opens_if_its_origin_is_named(bed: &Bed) -> Result<String> {
    let ann =
        Visitor::sign_in(open(bed, Csrf::new().with_same_site_requests()).await?, bed).await?;
    let (outcome, unnamed) = ann.open_web_socket(EVIL).await?;
    assert_eq!(outcome, "failed");
    assert_eq!(unnamed.asked("sec-fetch-site"), "-");
    ann.assert_refused(&unnamed).await?;

    let port = Port::bind().await?;
    let csrf = Csrf::new().with_trusted_origin(&port.origin(EVIL))?;
    let shop = Shop::open_at(bed, port, SessionRule::new("web")?.with_csrf(csrf))?;
    let ann = Visitor::sign_in(shop, bed).await?;
    let (outcome, named) = ann.open_web_socket(EVIL).await?;
    assert_eq!(outcome, "opened");
    Ok(format!(
        "same-site requests taken: {}; its origin trusted: {}",
        told(&unnamed),
        told(&named)
    ))
}

async fn a_form_s_token_is_known_again(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page().await?;
    assert_eq!(pay(&shop, &page, "").await?, "paid", "before a login");
    sign_in(&shop, &page, "ann").await?;
    assert_eq!(pay(&shop, &page, "").await?, "paid", "after it");
    Ok("paid, without a session before as well as logged in".to_owned())
}

async fn a_token_that_is_not_the_session_s_is_told(bed: &Bed) -> Result<String> {
    let shop = Shop::open_plain(bed).await?;
    let page = bed.profile().await?.page().await?;
    let of_before = token(&shop, &page).await?;
    sign_in(&shop, &page, "ann").await?;
    let of_another = token(&shop, &bed.profile().await?.page().await?).await?;
    let mut changed = token(&shop, &page).await?;
    let last_but_one = changed.len() - 2;
    let other = if changed.as_bytes()[last_but_one] == b'A' {
        "B"
    } else {
        "A"
    };
    changed.replace_range(last_but_one..=last_but_one, other);
    for wrong in ["", &changed, &of_another, &of_before] {
        let script = format!("document.forms[0].token.value = {}", json!(wrong));
        assert_eq!(pay(&shop, &page, &script).await?, "wrong token", "{wrong}");
    }
    Ok(
        "told: an empty one, one with another letter, another session's, one of before the login"
            .to_owned(),
    )
}

async fn a_sibling_s_form_has_no_token_of_the_visitor(bed: &Bed) -> Result<String> {
    let ann = Visitor::sign_in(Shop::open_plain(bed).await?, bed).await?;
    let of_eve = token(&ann.shop, &bed.profile().await?.page().await?).await?;
    ann.page.open(&ann.shop.site.url(EVIL, "/")).await?;
    ann.page
        .submit("POST", &ann.shop.url("/pay"), &[("token", &of_eve)])
        .await?;
    let post = ann.shop.site.last("/pay")?;
    assert_eq!(post.cookies().len(), 1, "{post:?}");
    assert_eq!(ann.page.text().await?, "wrong token");
    Ok(told(&post))
}

/// The application with nothing but this check.
async fn open(bed: &Bed, csrf: Csrf) -> Result<Shop> {
    Shop::open(bed, SessionRule::new("web")?.with_csrf(csrf)).await
}

/// A cookie that other sites' pages bring along, so that nothing but the check refuses them.
fn rule_for_other_sites() -> Result<SessionRule> {
    let cookie = SessionCookie::default().with_same_site(SameSite::None);
    Ok(SessionRule::new("web")?.with_cookie(cookie)?)
}

/// Sends the form of a page that was just opened, after a script; what the answer says.
async fn pay(shop: &Shop, page: &Page, script: &str) -> Result<String> {
    token(shop, page).await?;
    page.run(script).await?;
    page.follow("document.forms[0].submit()").await?;
    page.text().await
}

/// The token in the form of a page that was just opened.
async fn token(shop: &Shop, page: &Page) -> Result<String> {
    page.open(&shop.url("/checkout")).await?;
    page.eval("document.forms[0].token.value").await
}

/// Ann, who is logged in, and opens pages that others made.
#[derive(Debug)]
struct Visitor {
    shop: Shop,
    profile: Profile,
    page: Page,
    cookie: Cookie,
}

impl Visitor {
    async fn sign_in(shop: Shop, bed: &Bed) -> Result<Self> {
        let profile = bed.profile().await?;
        let page = profile.page_at(&shop.url("/")).await?;
        sign_in(&shop, &page, "ann").await?;
        let cookie = profile.cookie("__Host-id").await?.ok_or("no cookie")?;
        Ok(Self {
            shop,
            profile,
            page,
            cookie,
        })
    }

    /// A form on a page of this host, sent to the application.
    async fn put_by_form(&self, host: &str) -> Result<Exchange> {
        self.page.open(&self.shop.site.url(host, "/")).await?;
        self.page.submit("POST", &self.shop.url(PUT), &[]).await?;
        self.shop.site.last("/put")
    }

    /// A script on a page of this host that asks the application.
    async fn put_by_script(&self, host: &str) -> Result<Exchange> {
        self.page.open(&self.shop.site.url(host, "/")).await?;
        let target = json!(self.shop.url(PUT));
        let options = "{ method: 'POST', mode: 'no-cors', credentials: 'include' }";
        self.page
            .run(&format!("fetch({target}, {options}).then(() => true)"))
            .await?;
        self.shop.site.last("/put")
    }

    /// A script on a page of this host that opens a WebSocket of the application.
    async fn open_web_socket(&self, host: &str) -> Result<(String, Exchange)> {
        self.page.open(&self.shop.site.url(host, "/")).await?;
        let target = json!(self.shop.site.socket_url(APP, "/live"));
        let script = format!(
            "new Promise((resolve) => {{
                const socket = new WebSocket({target});
                socket.onopen = () => resolve('opened');
                socket.onerror = () => resolve('failed');
            }})"
        );
        let outcome = self.page.eval(&script).await?;
        Ok((outcome, self.shop.site.last("/live")?))
    }

    async fn assert_put(&self, post: &Exchange) -> Result<()> {
        assert_eq!(post.status, StatusCode::OK, "{post:?}");
        assert_eq!(self.stored().await?, html_of("1"), "{post:?}");
        Ok(())
    }

    /// Nothing is stored, and Ann is who she was.
    async fn assert_refused(&self, request: &Exchange) -> Result<()> {
        assert_eq!(request.status, StatusCode::FORBIDDEN, "{request:?}");
        assert!(request.set_cookies().is_empty(), "{request:?}");
        let kept = self.profile.cookie("__Host-id").await?;
        assert_eq!(kept.as_ref(), Some(&self.cookie), "{request:?}");
        assert_eq!(self.stored().await?, html_of("nothing"), "{request:?}");
        let user = self.page.fetch("GET", "/me").await?.text;
        assert_eq!(user, html_of("ann"), "{request:?}");
        Ok(())
    }

    async fn stored(&self) -> Result<String> {
        self.page.open(&self.shop.url("/")).await?;
        Ok(self.page.fetch("GET", "/get?name=paid").await?.text)
    }
}

fn told(exchange: &Exchange) -> String {
    let cookie = if exchange.cookies().is_empty() {
        "without a cookie"
    } else {
        "with the cookie"
    };
    format!(
        "{} {cookie}, `Sec-Fetch-Site: {}`, `Origin: {}`: {}",
        exchange.method,
        exchange.asked("sec-fetch-site"),
        exchange.origin(),
        exchange.status.as_u16(),
    )
}

fn told_both(passed: &Exchange, refused: &Exchange) -> String {
    format!("{}; still {}", told(passed), told(refused))
}

const PUT: &str = "/put?name=paid&value=1";
