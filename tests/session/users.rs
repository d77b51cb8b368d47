//! A user's sessions: devices, logging out elsewhere, limits.

use std::time::{Duration, SystemTime};

use axum::{
    Router,
    extract::{Path, State},
    routing::{delete, get, post},
};
use http::StatusCode;
use tower_stash::{
    backend::BackendErrorKind,
    session::{
        MaxSessions, Session, SessionError, SessionErrorKind, SessionId, SessionLayer, SessionUser,
        Sessions,
    },
    testing::Fault,
};

use crate::fixture::{Bed, Browser, web};

async fn login(
    State(sessions): State<Sessions>,
    session: Session,
    Path((user, label)): Path<(String, String)>,
) -> Result<(), SessionError> {
    let ticket = sessions.begin_login(user).await?.with_label(&label);
    session.login(ticket).await
}

async fn others(
    State(sessions): State<Sessions>,
    session: Session,
) -> Result<String, SessionError> {
    Ok(sessions.destroy_others(&session).await?.to_string())
}

/// The labels, the current one in brackets.
async fn devices(
    State(sessions): State<Sessions>,
    session: Session,
) -> Result<String, SessionError> {
    let devices = sessions.devices(&session).await?;
    let labels = devices.into_iter().map(|device| {
        let label = device.label.unwrap_or_default();
        if device.is_current {
            format!("[{label}]")
        } else {
            label
        }
    });
    Ok(labels.collect::<Vec<_>>().join(" "))
}

async fn who(session: Session) -> Result<String, SessionError> {
    Ok(session.user().await?.unwrap_or_else(|| "nobody".into()))
}

fn site(layer: SessionLayer) -> Browser {
    let sessions = layer.handle();
    let router = Router::new()
        .route("/login/{user}/{label}", post(login))
        .route("/others", post(others))
        .route("/devices", get(devices))
        .route("/who", get(who))
        .route(
            "/cart",
            post(async |session: Session| session.insert("cart", 1).await),
        )
        .route(
            "/logout",
            post(async |session: Session| session.destroy().await),
        )
        .with_state(sessions);
    Browser::new(&router.layer(layer))
}

#[tokio::test]
async fn a_users_sessions_are_listed_the_one_used_last_first() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let phone = site(layer);
    let (laptop, stranger) = (phone.another(), phone.another());
    assert_eq!(phone.get("/devices").await.text, "");
    phone.post("/login/ada/phone").await;
    stranger.post("/login/eve/tablet").await;
    bed.clock.advance(Duration::from_secs(600));
    laptop.post("/login/ada/laptop").await;
    assert_eq!(phone.get("/devices").await.text, "laptop [phone]");
    assert_eq!(
        phone.get("/devices").await.text,
        "[phone] laptop",
        "it slid"
    );
    bed.clock.advance(Duration::from_secs(600));
    laptop.get("/who").await;
    assert_eq!(laptop.get("/devices").await.text, "[laptop] phone");

    let listed = sessions.devices_of("ada").await.unwrap();
    assert!(listed.iter().all(|device| !device.is_current));
    let began = listed[1].created;
    let apart = listed[0].created.duration_since(began).unwrap();
    assert!(apart.abs_diff(Duration::from_secs(600)) < Duration::from_secs(1));
    let seen = listed[0]
        .last_seen
        .duration_since(listed[1].last_seen)
        .unwrap();
    assert!(seen.abs_diff(Duration::from_secs(600)) < Duration::from_secs(1));
    assert!(began > SystemTime::UNIX_EPOCH);
}

#[tokio::test]
async fn a_device_is_logged_out_by_its_owner_alone() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let phone = site(layer);
    phone.post("/login/ada/phone").await;
    let id = sessions.devices_of("ada").await.unwrap()[0].id;
    assert!(!sessions.destroy_device("eve", &id).await.unwrap());
    assert_eq!(phone.get("/who").await.text, "ada");
    let shown: SessionId = id.to_string().parse().unwrap();
    assert_eq!(shown, id);
    assert!(sessions.destroy_device("ada", &shown).await.unwrap());
    assert_eq!(phone.get("/who").await.text, "nobody");
    assert!(!sessions.destroy_device("ada", &id).await.unwrap());
    assert!(sessions.devices_of("ada").await.unwrap().is_empty());
    for text in ["", "x", &"A".repeat(64)] {
        assert!(text.parse::<SessionId>().is_err());
    }
}

#[tokio::test]
async fn an_id_finds_a_session_and_opens_none() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let phone = site(layer);
    phone.post("/login/ada/phone").await;
    let id = sessions.devices_of("ada").await.unwrap()[0].id.to_string();
    let thief = phone.another();
    thief.set_cookie("__Host-id", &id);
    assert_eq!(thief.get("/who").await.text, "nobody");
    thief.set_cookie("__Host-id", &format!("{}{}", &id[..21], &"A".repeat(43)));
    assert_eq!(thief.get("/who").await.text, "nobody");
}

#[tokio::test]
async fn all_others_are_logged_out_and_this_one_stays() {
    let bed = Bed::new();
    let phone = site(bed.layer(web()));
    let (laptop, tablet) = (phone.another(), phone.another());
    for (browser, label) in [(&phone, "phone"), (&laptop, "laptop"), (&tablet, "tablet")] {
        browser.post(&format!("/login/ada/{label}")).await;
    }
    assert_eq!(phone.post("/others").await.text, "2");
    assert_eq!(phone.get("/who").await.text, "ada");
    assert_eq!(laptop.get("/who").await.text, "nobody");
    assert_eq!(tablet.get("/who").await.text, "nobody");
    assert_eq!(phone.post("/others").await.text, "0");
    assert_eq!(
        phone.another().post("/others").await.text,
        "0",
        "nobody is logged in"
    );
}

#[tokio::test]
async fn another_users_sessions_stay() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let phone = site(layer);
    let stranger = phone.another();
    phone.post("/login/ada/phone").await;
    stranger.post("/login/eve/tablet").await;
    // The same browser, one after the other.
    let shared = phone.another();
    shared.post("/login/ada/shared").await;
    shared.post("/login/eve/shared").await;
    assert_eq!(sessions.destroy_all("ada").await.unwrap(), 1);
    assert_eq!(phone.get("/who").await.text, "nobody");
    assert_eq!(stranger.get("/who").await.text, "eve");
    assert_eq!(shared.get("/who").await.text, "eve");
    assert_eq!(sessions.destroy_all("nobody-at-all").await.unwrap(), 0);
}

#[tokio::test]
async fn what_cannot_be_read_does_not_keep_the_others_from_ending() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let damaged = site(layer);
    damaged.post("/login/ada/damaged").await;
    bed.spy.spoil(|value| value[1] = 9).await;
    let browsers: Vec<_> = (0..5).map(|_| damaged.another()).collect();
    for browser in &browsers {
        browser.post("/login/ada/other").await;
    }
    assert_eq!(sessions.devices_of("ada").await.unwrap().len(), 5);
    sessions.destroy_all("ada").await.unwrap();
    for browser in &browsers {
        assert_eq!(browser.get("/who").await.text, "nobody");
    }
    assert_eq!(bed.spy.living().await, 0);
}

#[tokio::test]
async fn more_sessions_than_a_page_of_the_index_are_all_ended() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let first = site(layer);
    for _ in 0..250 {
        first.another().post("/login/ada/x").await;
    }
    assert_eq!(sessions.devices_of("ada").await.unwrap().len(), 250);
    assert_eq!(sessions.destroy_all("ada").await.unwrap(), 250);
    assert_eq!(bed.spy.living().await, 0);
}

#[tokio::test]
async fn a_login_that_is_one_too_many_is_refused_where_the_layer_says_so() {
    let bed = Bed::new();
    let layer = bed.layer(web()).with_max_sessions(MaxSessions::Reject(2));
    let first = site(layer.unwrap());
    let (second, third) = (first.another(), first.another());
    assert_eq!(first.post("/login/ada/1").await.status, StatusCode::OK);
    assert_eq!(second.post("/login/ada/2").await.status, StatusCode::OK);
    let refused = third.post("/login/ada/3").await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    assert_eq!(
        refused.problem()["detail"],
        "the user has as many sessions as may be"
    );
    assert!(refused.cookies().is_empty());
    assert_eq!(first.post("/login/ada/again").await.status, StatusCode::OK);
    assert_eq!(third.post("/login/eve/3").await.status, StatusCode::OK);
    first.post("/logout").await;
    assert_eq!(
        first.another().post("/login/ada/4").await.status,
        StatusCode::OK
    );
}

/// What a refused login leaves on the list is nobody's session, and must not keep anyone out.
#[tokio::test]
async fn who_was_refused_once_is_not_kept_out_when_there_is_room() {
    let bed = Bed::new();
    let layer = bed.layer(web()).with_max_sessions(MaxSessions::Reject(1));
    let first = site(layer.unwrap());
    let (second, third) = (first.another(), first.another());
    first.post("/login/ada/1").await;
    second.post("/cart").await;
    third.post("/cart").await;
    for browser in [&second, &third] {
        assert_eq!(
            browser.post("/login/ada/x").await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    first.post("/logout").await;
    // A login takes no longer than this.
    bed.clock.advance(Duration::from_secs(61));
    assert_eq!(third.post("/login/ada/3").await.status, StatusCode::OK);
    assert_eq!(
        second.post("/login/ada/2").await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_login_that_is_one_too_many_ends_the_oldest_where_the_layer_says_so() {
    let bed = Bed::new();
    let layer = bed
        .layer(web())
        .with_max_sessions(MaxSessions::EvictOldest(2));
    let first = site(layer.unwrap());
    let (second, third) = (first.another(), first.another());
    for (browser, label) in [(&first, "1"), (&second, "2")] {
        browser.post(&format!("/login/ada/{label}")).await;
        bed.clock.advance(Duration::from_secs(60));
    }
    first.get("/who").await;
    assert_eq!(third.post("/login/ada/3").await.status, StatusCode::OK);
    assert_eq!(
        first.get("/who").await.text,
        "nobody",
        "its login is the oldest"
    );
    assert_eq!(second.get("/who").await.text, "ada");
    assert_eq!(third.get("/who").await.text, "ada");
    second.post("/logout").await;
    let fourth = first.another();
    fourth.post("/login/ada/4").await;
    assert_eq!(third.get("/who").await.text, "ada", "there was room");
    assert_eq!(third.post("/login/ada/again").await.status, StatusCode::OK);
    assert_eq!(fourth.get("/who").await.text, "ada");
}

#[tokio::test]
async fn a_label_is_cut_between_characters() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let label = "%C3%A9".repeat(150);
    site(layer).post(&format!("/login/ada/a{label}")).await;
    let listed = sessions.devices_of("ada").await.unwrap();
    // 199 bytes: the next one ends in the 201st.
    assert_eq!(listed[0].label, Some(format!("a{}", "é".repeat(99))));
}

#[tokio::test]
async fn a_limit_needs_the_index_and_admits_somebody() {
    let bed = Bed::new();
    let none = bed.layer(web()).with_max_sessions(MaxSessions::Reject(0));
    assert!(none.is_err());
    let layer = SessionLayer::new(bed.spy.clone(), web()).unwrap();
    let sessions = layer.handle();
    assert!(layer.with_max_sessions(MaxSessions::Reject(1)).is_err());
    let error = sessions.devices_of("ada").await.unwrap_err();
    assert_eq!(error.kind(), SessionErrorKind::NoUsers);
}

#[tokio::test(start_paused = true)]
async fn a_login_with_a_short_life_counts_while_it_is_under_way() {
    const DAY: Duration = Duration::from_secs(86_400);
    let bed = Bed::new();
    let layer = bed
        .layer(web())
        .with_max_sessions(MaxSessions::Reject(1))
        .unwrap();
    let sessions = layer.handle();
    let log_in = async move |session: Session, Path(days): Path<u32>| {
        let ticket = sessions.begin_login("ada").await?;
        session.login(ticket.with_lifetime(days * DAY)).await
    };
    let app = Router::new()
        .route("/login/{days}", post(log_in))
        .layer(layer);
    // The first one waits for the epoch, when it has counted and is not bound yet.
    bed.backend.script([Fault::None; 4]);
    bed.backend.script([Fault::Delay(Duration::from_secs(1))]);
    let first = Browser::new(&app).posting("/login/1");
    tokio::time::sleep(Duration::from_millis(1)).await;
    let second = Browser::new(&app).post("/login/30").await;
    assert_eq!(second.status, StatusCode::UNAUTHORIZED);
    assert_eq!(first.await.unwrap().status, StatusCode::OK);
}

#[tokio::test]
async fn a_handler_is_given_its_user_or_not_run_and_ids_from_paths() {
    let bed = Bed::new();
    let layer = bed.layer(web());
    let sessions = layer.handle();
    let begin = sessions.clone();
    let app = Router::new()
        .route("/me", get(async |user: SessionUser| user.into_inner()))
        .route(
            "/devices/{id}",
            delete(async move |user: SessionUser, Path(id): Path<SessionId>| {
                let was_theirs = sessions.destroy_device(&*user, &id).await?;
                Ok::<_, SessionError>(was_theirs.to_string())
            }),
        )
        .route(
            "/login/{user}",
            post(async move |session: Session, Path(user): Path<String>| {
                session.login(begin.begin_login(user.trim()).await?).await
            }),
        );
    let bare = Browser::new(&app);
    assert_eq!(
        bare.get("/me").await.status,
        StatusCode::INTERNAL_SERVER_ERROR
    );

    let browser = Browser::new(&app.layer(layer));
    assert_eq!(browser.get("/me").await.status, StatusCode::UNAUTHORIZED);
    let nobody = browser.post("/login/%20").await;
    assert_eq!(nobody.status, StatusCode::UNPROCESSABLE_ENTITY);
    browser.post("/login/ada").await;
    assert_eq!(browser.get("/me").await.text, "ada");
    let outage = Fault::Fail(BackendErrorKind::Unavailable);
    bed.backend.script([outage]);
    assert_eq!(
        browser.get("/me").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );

    let id: SessionId = "A".repeat(22).parse().unwrap();
    let unknown = browser.send(http::Request::delete(format!("/devices/{id}")));
    assert_eq!(unknown.await.text, "false");
    let no_id = browser.send(http::Request::delete("/devices/zzz")).await;
    assert_eq!(no_id.status, StatusCode::BAD_REQUEST);
}
