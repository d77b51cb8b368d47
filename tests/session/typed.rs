//! A session as a type of the program's own.

use std::collections::BTreeMap;

use axum::{Router, extract::Path, routing::post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tower_stash::session::{Session, SessionError, SessionErrorKind};

use crate::fixture::{Bed, Browser, web};

#[derive(Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(default)]
struct Shop {
    cart: Vec<u32>,
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    coupon: Option<String>,
}

#[tokio::test]
async fn each_field_is_an_attribute_and_others_stay() {
    let bed = Bed::new();
    let site = bed.doing(async |session: Session| {
        let mut shop: Shop = session.typed().await?;
        shop.cart.push(7);
        shop.coupon = Some("half".into());
        session.set_typed(&shop).await?;
        assert_eq!(session.typed::<Shop>().await?, shop);
        Ok(())
    });
    let browser = bed.browser(web());
    browser.post("/set/theme/dark").await;
    site.set_cookie("__Host-id", &browser.token());
    assert_eq!(site.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/cart").await.text, "[7]");
    assert_eq!(browser.get("/get/coupon").await.text, "half");
    assert_eq!(browser.get("/get/theme").await.text, "dark");
}

#[tokio::test]
async fn parallel_requests_that_change_different_fields_lose_nothing() {
    let bed = Bed::new();
    let gate = bed.gate.clone();
    let app = bed.app(web(), |_| {
        let handler = async move |session: Session, Path(field): Path<String>| {
            let mut shop: Shop = session.typed().await?;
            gate.pass().await;
            match &*field {
                "cart" => shop.cart.push(7),
                "currency" => shop.currency = Some("EUR".into()),
                _ => shop.coupon = None,
            }
            session.set_typed(&shop).await
        };
        Router::new().route("/{field}", post(handler))
    });
    let browser = bed.browser(web());
    browser.post("/set/coupon/half").await;
    let site = Browser::new(&app);
    site.set_cookie("__Host-id", &browser.token());
    let slow = ["cart", "currency", "coupon"].map(|field| site.posting(&format!("/{field}")));
    bed.gate.reached(3).await;
    bed.gate.open(3);
    for slow in slow {
        assert_eq!(slow.await.unwrap().status, StatusCode::OK);
    }
    assert_eq!(browser.get("/get/cart").await.text, "[7]");
    assert_eq!(browser.get("/get/currency").await.text, "EUR");
    assert_eq!(
        browser.get("/get/coupon").await.text,
        "none",
        "it was left out"
    );
}

#[tokio::test]
async fn what_is_assigned_as_it_was_read_is_not_written() {
    let bed = Bed::new();
    let site = bed.doing(async |session: Session| {
        let shop: Shop = session.typed().await?;
        session.set_typed(&shop).await
    });
    assert!(
        site.post("/").await.cookies().is_empty(),
        "no session is begun"
    );
    assert_eq!(bed.backend.total_calls(), 0);
    let browser = bed.browser(web());
    browser.post("/set/theme/dark").await;
    site.set_cookie("__Host-id", &browser.token());
    let mut calls = bed.meter();
    site.post("/").await;
    assert_eq!(calls(), 1, "the load");
}

#[tokio::test]
async fn a_session_that_is_no_such_type_is_an_error_and_can_be_set_anew() {
    let bed = Bed::new();
    let site = bed.doing(async |session: Session| {
        let error = session.typed::<Shop>().await.unwrap_err();
        assert_eq!(error.kind(), SessionErrorKind::Json);
        assert_eq!(
            session.get::<String>("cart").await?.as_deref(),
            Some("none")
        );
        session.set_typed(&Shop::default()).await
    });
    let browser = bed.browser(web());
    browser.post("/set/cart/none").await;
    site.set_cookie("__Host-id", &browser.token());
    assert_eq!(site.post("/").await.status, StatusCode::OK);
    assert_eq!(browser.get("/get/cart").await.text, "[]");
}

#[tokio::test]
async fn what_is_no_struct_or_does_not_fit_changes_nothing() {
    let bed = Bed::new();
    let site = bed.doing(async |session: Session| {
        let kind = |result: Result<(), SessionError>| result.unwrap_err().kind();
        assert_eq!(kind(session.set_typed(&7).await), SessionErrorKind::Json);
        let reserved = BTreeMap::from([("a".to_owned(), 1), ("~label".to_owned(), 2)]);
        assert_eq!(
            kind(session.set_typed(&reserved).await),
            SessionErrorKind::InvalidName
        );
        let many: BTreeMap<_, _> = (0..65).map(|n| (format!("n{n}"), n)).collect();
        assert_eq!(
            kind(session.set_typed(&many).await),
            SessionErrorKind::TooLarge
        );
        assert!(session.typed::<BTreeMap<String, u8>>().await?.is_empty());
        Ok(())
    });
    let answer = site.post("/").await;
    assert_eq!((answer.status, answer.cookies().len()), (StatusCode::OK, 0));
}

/// A type of the program that asks the session while it is written.
#[tokio::test]
async fn no_lock_is_held_while_a_type_is_written() {
    #[derive(Deserialize)]
    struct Nosy {
        #[serde(skip)]
        session: Option<Session>,
    }
    impl Serialize for Nosy {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if let Some(session) = &self.session {
                let read = futures_util::FutureExt::now_or_never(session.get::<u8>("m"));
                assert!(read.is_some_and(|read| read.is_ok()));
            }
            BTreeMap::from([("n", 1)]).serialize(serializer)
        }
    }
    let bed = Bed::new();
    let site = bed.doing(async |session: Session| {
        session.state().await?;
        session
            .set_typed(&Nosy {
                session: Some(session.clone()),
            })
            .await
    });
    assert_eq!(site.post("/").await.status, StatusCode::OK);
}
