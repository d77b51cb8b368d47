//! Two session layers around one service.

use axum::{
    Router,
    extract::Extension,
    routing::{get, post},
};
use http::StatusCode;
use tower_stash::{
    marks::SessionAccessed,
    session::{
        HeaderTransport, Session, SessionCookie, SessionError, SessionLayer, SessionRule, Sessions,
    },
};

use crate::fixture::{Bed, Browser, web};

enum Admin {}

fn admin() -> SessionRule {
    let cookie = SessionCookie::strict().with_name("__Host-admin");
    let rule = SessionRule::new("admin").unwrap();
    rule.with_cookie(cookie).unwrap()
}

fn site(bed: &Bed) -> Browser {
    let main = bed.layer(web());
    let admin = bed.layer(admin()).with_marker::<Admin>();
    let router = accounts(&main, &admin)
        .route(
            "/set",
            post(async |session: Session<Admin>| session.insert("a", 1).await),
        )
        .route(
            "/leave",
            post(async |session: Session<Admin>| session.destroy().await),
        )
        .route(
            "/mark",
            get(
                async |Extension(mark): Extension<SessionAccessed>, admin: Session<Admin>| {
                    admin.state().await?;
                    Ok::<_, SessionError>(mark.is_accessed().to_string())
                },
            ),
        );
    Browser::new(&router.layer(admin).layer(main))
}

/// Logging in at either of two layers, and who is logged in at both.
fn accounts(main: &SessionLayer, admin: &SessionLayer<Admin>) -> Router {
    let (users, admins): (Sessions, Sessions<Admin>) = (main.handle(), admin.handle());
    let login = async move |session: Session| {
        let ticket = users.begin_login("ada").await?;
        session.login(ticket).await
    };
    let elevate = async move |session: Session<Admin>| {
        let ticket = admins.begin_login("root").await?;
        session.login(ticket).await
    };
    let who = async |main: Session, admin: Session<Admin>| {
        let (main, admin) = (main.user().await?, admin.user().await?);
        Ok::<_, SessionError>(format!("{main:?} {admin:?}"))
    };
    Router::new()
        .route("/login", post(login))
        .route("/elevate", post(elevate))
        .route("/who", get(who))
}

fn pair(main: SessionLayer, admin: SessionLayer<Admin>) -> Browser {
    Browser::new(&accounts(&main, &admin).layer(admin).layer(main))
}

#[tokio::test]
async fn each_layer_has_a_session_a_cookie_and_users_of_its_own() {
    let bed = Bed::new();
    let browser = site(&bed);
    assert!(browser.post("/login").await.cookies()[0].starts_with("__Host-id="));
    assert_eq!(browser.get("/who").await.text, r#"Some("ada") None"#);
    let elevated = browser.post("/elevate").await;
    assert_eq!(elevated.cookies().len(), 1);
    assert!(elevated.cookies()[0].starts_with("__Host-admin="));
    assert!(elevated.cookies()[0].contains("SameSite=Strict"));
    assert_eq!(
        browser.get("/who").await.text,
        r#"Some("ada") Some("root")"#
    );
    let left = browser.post("/leave").await;
    assert!(left.cookies()[0].starts_with("__Host-admin=; Max-Age=0"));
    assert_eq!(browser.get("/who").await.text, r#"Some("ada") None"#);
}

#[tokio::test]
async fn both_share_one_mark_for_caches_and_one_vary() {
    let bed = Bed::new();
    let browser = site(&bed);
    let answer = browser.get("/mark").await;
    assert_eq!(answer.text, "true");
    assert!(
        answer
            .extensions
            .get::<SessionAccessed>()
            .unwrap()
            .is_accessed()
    );
    assert_eq!(answer.all("vary"), ["cookie"]);
    assert_eq!(answer.all("cache-control"), ["no-store"]);
}

#[tokio::test]
async fn the_same_layer_twice_is_the_outer_one() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let app = Router::new()
        .route(
            "/",
            post(async |session: Session| session.insert("a", 1).await),
        )
        .route_layer(layer.clone())
        .layer(layer);
    let browser = Browser::new(&app);
    let begun = browser.post("/").await;
    assert_eq!((begun.status, begun.cookies().len()), (StatusCode::OK, 1));
    assert_eq!(bed.spy.living().await, 1);
}

#[tokio::test]
async fn a_cookie_and_a_header_go_side_by_side() {
    let bed = Bed::new();
    let by_header = SessionRule::new("native").unwrap();
    let by_header = by_header
        .with_header_transport(HeaderTransport::default())
        .unwrap();
    let native = bed.layer(by_header).with_marker::<Admin>();
    let both = async |main: Session, native: Session<Admin>| {
        main.insert("a", 1).await?;
        native.insert("a", 1).await
    };
    let router = Router::new().route("/", post(both));
    let answer = Browser::new(&router.layer(native).layer(bed.layer(web())))
        .post("/")
        .await;
    assert_eq!(answer.cookies().len(), 1);
    assert_eq!(answer.all("x-session-set").len(), 1);
    let mut vary = answer.all("vary");
    vary.sort_unstable();
    assert_eq!(vary, ["cookie", "x-session"]);
}

#[tokio::test]
async fn a_response_varies_by_what_was_asked_and_not_by_what_another_layer_has() {
    let bed = Bed::new();
    let web = bed.layer(web());
    let rule = SessionRule::new("mobile").unwrap();
    let rule = rule
        .with_header_transport(HeaderTransport::default())
        .unwrap();
    let mobile = bed.layer(rule).with_marker::<Admin>();
    let router = Router::new()
        .route(
            "/web",
            get(async |session: Session| session.state().await.map(drop)),
        )
        .route(
            "/mobile",
            get(async |session: Session<Admin>| session.state().await.map(drop)),
        );
    for browser in [
        Browser::new(&router.clone().layer(web.clone()).layer(mobile.clone())),
        Browser::new(&router.layer(mobile).layer(web)),
    ] {
        assert_eq!(browser.get("/web").await.headers["vary"], "cookie");
        assert_eq!(browser.get("/mobile").await.headers["vary"], "x-session");
    }
}

#[tokio::test]
async fn of_two_layers_with_one_cookie_name_the_later_login_ends_the_other() {
    let bed = Bed::new();
    let inner = bed.layer(SessionRule::new("admin").unwrap());
    let browser = pair(bed.layer(web()), inner.with_marker::<Admin>());
    browser.post("/login").await;
    assert_eq!(browser.get("/who").await.text, r#"Some("ada") None"#);
    browser.post("/elevate").await;
    assert_eq!(browser.get("/who").await.text, r#"None Some("root")"#);
}

#[tokio::test]
async fn of_two_layers_with_one_rule_name_a_token_opens_both() {
    let bed = Bed::new();
    let cookie = SessionCookie::default().with_name("__Host-admin");
    let inner = bed.layer(web().with_cookie(cookie).unwrap());
    let browser = pair(bed.layer(web()), inner.with_marker::<Admin>());
    browser.post("/login").await;
    browser.set_cookie("__Host-admin", &browser.token());
    assert_eq!(browser.get("/who").await.text, r#"Some("ada") Some("ada")"#);
}

#[tokio::test]
async fn of_two_layers_with_one_marker_handlers_find_the_inner() {
    let bed = Bed::new();
    let set = async |session: Session| session.insert("a", 1).await;
    let cookie = SessionCookie::default().with_name("__Host-inner");
    let inner = SessionRule::new("inner").unwrap().with_cookie(cookie);
    let router = Router::new().route("/", post(set));
    let app = router
        .layer(bed.layer(inner.unwrap()))
        .layer(bed.layer(web()));
    let begun = Browser::new(&app).post("/").await;
    assert_eq!(begun.cookies().len(), 1);
    assert!(begun.cookies()[0].starts_with("__Host-inner="));
}

#[tokio::test]
async fn logging_out_everywhere_is_asked_of_each_layer() {
    let bed = Bed::new();
    let native = SessionRule::new("mobile").unwrap();
    let native = native.with_header_transport(HeaderTransport::default());
    let native = bed.layer(native.unwrap()).with_marker::<Admin>();
    let main = bed.layer(web());
    let (browsers, apps) = (main.handle(), native.handle());
    let browser = pair(main, native);
    browser.post("/login").await;
    let told = browser.post("/elevate").await;
    let token = told.headers["x-session-set"].clone();
    let who = async || {
        let request = http::Request::get("/who").header("x-session", &token);
        browser.send(request).await.text
    };
    assert_eq!(who().await, r#"Some("ada") Some("root")"#);
    for user in ["ada", "root"] {
        assert_eq!(
            browsers.destroy_all(user).await.unwrap(),
            usize::from(user == "ada")
        );
    }
    assert_eq!(who().await, r#"None Some("root")"#);
    assert_eq!(apps.destroy_all("root").await.unwrap(), 1);
    assert_eq!(who().await, "None None");
}
