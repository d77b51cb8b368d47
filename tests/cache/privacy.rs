//! Nobody is shown what was made for another, and nobody makes what others are shown.

use http::Request;
use tower::{Layer as _, ServiceExt as _, service_fn};
use tower_stash::{
    backend::MemoryBackend,
    cache::{Bypass, CacheLayer, CacheOutcome, NotStored, OutcomeKind, Profile, SetCookie},
    marks::{Replayed, SessionAccessed},
    policy::{KeyExtractor as _, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
};

use crate::fixture::{Bed, Inside, counting, get, memory, request, response, rule, sleep};

const FRESH: &[(&str, &str)] = &[("cache-control", "max-age=60")];

/// A handler that says which value of a header it saw.
fn echoing(
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
) -> impl Fn(Inside) -> std::future::Ready<axum::response::Response> + Clone + Send + Sync + 'static
{
    move |request: Inside| {
        let value = request.headers().get(name);
        let value = value.map_or("nothing", |value| value.to_str().unwrap());
        std::future::ready(response(200, headers, value.to_owned()))
    }
}

/// What the second of two is answered, by a handler that says who it saw.
async fn second(
    name: &'static str,
    headers: &'static [(&'static str, &'static str)],
    [one, other]: [Option<&str>; 2],
) -> String {
    let bed = Bed::new(memory(), rule(), echoing(name, headers));
    let send = async |value: Option<&str>| match value {
        Some(value) => bed.get_with(&[(name, value)]).await,
        None => bed.get().await,
    };
    send(one).await;
    sleep(2).await;
    send(other).await.body
}

#[tokio::test(start_paused = true)]
async fn what_was_made_for_one_with_credentials_is_for_nobody_else() {
    for name in ["authorization", "cookie"] {
        let [ada, bob] = [Some("ada"), Some("bob")];
        assert_eq!(second(name, FRESH, [ada, bob]).await, "bob", "{name}");
        assert_eq!(second(name, FRESH, [ada, None]).await, "nothing", "{name}");
    }
    let [ada, nobody] = [Some("ada"), None];
    assert_eq!(second("authorization", FRESH, [nobody, ada]).await, "ada");
    for said in ["public, max-age=60", "s-maxage=60"] {
        let said: &'static [_] = vec![("cache-control", said)].leak();
        assert_eq!(second("authorization", said, [ada, nobody]).await, "ada");
        assert_eq!(second("cookie", said, [ada, nobody]).await, "ada");
    }
}

#[tokio::test(start_paused = true)]
async fn private_is_understood_however_it_is_written() {
    for lines in [
        &["Private"][..],
        &["max-age=60, PRIVATE"],
        &["max-age=60", "private"],
        &["private=\"\", max-age=60"],
        &["private=, max-age=60"],
        &["max-age=60, ext=\"a, b\", private"],
        &["private;max-age=60", "max-age=60"],
        &["max-age=60 private"],
        &["\"max-age=60, private"],
    ] {
        let bed = Bed::new(memory(), rule(), move |_| {
            let lines = lines.iter().map(|line| ("cache-control", *line));
            let answer = response(200, &lines.collect::<Vec<_>>(), "own");
            async move { answer }
        });
        let first = bed.get().await;
        assert!(first.not_stored().is_some(), "{lines:?}");
        sleep(2).await;
        assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss), "{lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_word_in_quotes_is_no_directive() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[("cache-control", "ext=\"private, no-store\", max-age=60")]),
    );
    bed.get().await;
    assert!(bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn a_field_that_is_private_is_not_given_to_others() {
    let bed = Bed::new(
        memory(),
        rule(),
        counting(&[
            ("cache-control", "max-age=60, private=\"x-user\""),
            ("x-user", "ada"),
        ]),
    );
    assert_eq!(bed.get().await.header("x-user"), Some("ada"));
    let hit = bed.get().await;
    assert_eq!((hit.is_hit(), hit.header("x-user")), (true, None));
}

#[tokio::test(start_paused = true)]
async fn a_cookie_is_set_for_the_one_it_was_made_for() {
    let set: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("set-cookie", "id=1")];
    let bed = Bed::new(memory(), rule(), counting(set));
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::SetCookie));
    assert!(!bed.get().await.is_hit());
    let stripping = Profile::safe().with_set_cookie(SetCookie::Strip);
    let bed = Bed::new(memory(), rule().with_profile(stripping), counting(set));
    assert_eq!(bed.get().await.header("set-cookie"), Some("id=1"));
    let hit = bed.get().await;
    assert_eq!((hit.is_hit(), hit.header("set-cookie")), (true, None));
}

#[tokio::test(start_paused = true)]
async fn a_post_is_neither_answered_nor_stored() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    bed.get().await;
    for body in ["call 2", "call 3"] {
        assert_eq!(bed.send(request("POST", "/a", &[])).await.body, body);
    }
    assert_eq!(bed.get().await.body, "call 4");
}

#[tokio::test(start_paused = true)]
async fn a_get_with_a_body_is_the_handler_s() {
    let bed = Bed::new(memory(), rule(), counting(FRESH));
    bed.get().await;
    let mut odd = get("/a", &[]);
    *odd.body_mut() = axum::body::Body::from("id=7");
    let answer = bed.send(odd).await;
    assert_eq!(
        (answer.bypass(), &*answer.body),
        (Some(Bypass::RequestBody), "call 2")
    );
    assert_eq!(bed.get().await.body, "call 1");
}

#[tokio::test(start_paused = true)]
async fn responses_that_vary_are_told_apart() {
    let varying: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "accept-language")];
    let [de, en] = [Some("de"), Some("en")];
    assert_eq!(second("accept-language", varying, [de, en]).await, "en");
    assert_eq!(second("accept-language", varying, [de, de]).await, "de");
    assert_eq!(
        second("accept-language", varying, [de, None]).await,
        "nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn what_varies_on_credentials_is_not_stored() {
    for vary in [
        "Cookie",
        "authorization",
        "accept, COOKIE",
        "*",
        "accept, *",
        "a b",
        "a,,b",
    ] {
        let bed = Bed::new(memory(), rule(), move |_| async move {
            let said = [("cache-control", "public, max-age=60"), ("vary", vary)];
            response(200, &said, "own")
        });
        bed.get().await;
        sleep(2).await;
        assert_eq!(bed.get().await.is_hit(), vary == "a,,b", "{vary}");
    }
}

#[tokio::test(start_paused = true)]
async fn hosts_do_not_share() {
    assert_eq!(
        second("host", FRESH, [Some("a.example"), Some("b.example")]).await,
        "b.example"
    );
    assert_eq!(
        second("host", FRESH, [Some("a.example:81"), Some("a.example")]).await,
        "a.example"
    );
}

#[tokio::test(start_paused = true)]
async fn schemes_do_not_share() {
    let name = "x-forwarded-proto";
    assert_eq!(
        second(name, FRESH, [Some("http"), Some("https")]).await,
        "https"
    );
}

#[tokio::test(start_paused = true)]
async fn headers_that_rewrite_the_request_poison_nothing() {
    for (name, value, bypass) in [
        ("x-forwarded-host", "evil.example", Bypass::ForwardedHost),
        (
            "x-forwarded-host",
            "example.com, evil.example",
            Bypass::ForwardedHost,
        ),
        ("x-original-url", "/admin", Bypass::RewrittenUrl),
        ("x-rewrite-url", "/admin", Bypass::RewrittenUrl),
        ("x-http-method-override", "POST", Bypass::OverriddenMethod),
        ("x-http-method", "POST", Bypass::OverriddenMethod),
        ("x-method-override", "POST", Bypass::OverriddenMethod),
    ] {
        let bed = Bed::new(memory(), rule(), echoing(name, FRESH));
        for _ in 0..2 {
            let evil = bed.get_with(&[(name, value)]).await;
            assert_eq!(
                (evil.bypass(), &*evil.body),
                (Some(bypass), value),
                "{name}"
            );
        }
        let good = bed.get().await;
        assert_eq!(
            (good.kind(), &*good.body),
            (Some(OutcomeKind::Miss), "nothing"),
            "{name}"
        );
        assert_eq!(
            bed.get_with(&[(name, value)]).await.bypass(),
            Some(bypass),
            "{name}"
        );
        assert!(bed.get().await.is_hit());
    }
}

#[tokio::test(start_paused = true)]
async fn a_narrow_rule_shows_its_handler_only_what_it_may_see() {
    let shown = http::HeaderName::from_static("accept-language");
    let narrow = || rule().with_narrow([shown.clone()]);
    let bed = Bed::new(memory(), narrow(), counting(FRESH));
    let asked = [
        ("accept-language", "de"),
        ("x-evil", "<script>"),
        ("cookie", "id=1"),
        ("user-agent", "robot"),
    ];
    bed.get_with(&asked).await;
    let seen = bed.last_seen();
    assert_eq!(
        (&seen["accept-language"], &seen["host"]),
        (&"de", &"example.com").into_pair()
    );
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(bed.get().await.is_hit());

    let varying: &[(&str, &str)] = &[("cache-control", "max-age=60"), ("vary", "user-agent")];
    let bed = Bed::new(memory(), narrow(), counting(varying));
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::VaryHidden));
    let said: &[(&str, &str)] = &[("cache-control", "public, max-age=60")];
    let bed = Bed::new(memory(), narrow(), echoing("authorization", said));
    bed.get().await;
    for _ in 0..2 {
        let own = bed.get_with(&[("authorization", "ada")]).await;
        assert_eq!(
            (own.bypass(), &*own.body),
            (Some(Bypass::Credentials), "ada")
        );
    }
    assert_eq!(bed.get().await.body, "nothing");
}

/// To compare header values with texts.
trait IntoPair {
    fn into_pair(self) -> (&'static http::HeaderValue, &'static http::HeaderValue);
}

impl IntoPair for (&&'static str, &&'static str) {
    fn into_pair(self) -> (&'static http::HeaderValue, &'static http::HeaderValue) {
        let value = |text: &'static str| -> &'static http::HeaderValue {
            Box::leak(Box::new(http::HeaderValue::from_static(text)))
        };
        (value(self.0), value(self.1))
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_that_the_key_covers_choose_between_responses() {
    let rule = rule()
        .with_key_part("user", header("authorization"))
        .with_credentials_covered();
    let bed = Bed::new(memory(), rule, echoing("authorization", FRESH));
    for user in ["ada", "bob"] {
        bed.get_with(&[("authorization", user)]).await;
    }
    for user in ["ada", "bob"] {
        let answer = bed.get_with(&[("authorization", user)]).await;
        assert_eq!((answer.is_hit(), &*answer.body), (true, user));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_asked_a_session_is_not_stored() {
    // The session layer inside: its mark is in the response.
    let bed = Bed::new(memory(), rule(), |_| async {
        let mut response = response(200, FRESH, "mine");
        let mark = SessionAccessed::new();
        mark.mark();
        response.extensions_mut().insert(mark);
        response
    });
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::Session));
    sleep(2).await;
    assert!(!bed.get().await.is_hit());
    // And outside: it is in the request.
    let bed = Bed::new(memory(), rule(), |request: Inside| async move {
        if let Some(mark) = request.extensions().get::<SessionAccessed>() {
            mark.mark();
        }
        response(200, FRESH, "mine")
    });
    let mut asked = get("/a", &[]);
    asked.extensions_mut().insert(SessionAccessed::new());
    assert_eq!(bed.send(asked).await.not_stored(), Some(NotStored::Session));
    sleep(2).await;
    assert_eq!(bed.get().await.kind(), Some(OutcomeKind::Miss));
}

#[tokio::test(start_paused = true)]
async fn a_replay_is_not_stored() {
    let bed = Bed::new(memory(), rule(), |_| async {
        let mut response = response(200, FRESH, "again");
        response.extensions_mut().insert(Replayed::new());
        response
    });
    assert_eq!(bed.get().await.not_stored(), Some(NotStored::Replay));
    assert!(!bed.get().await.is_hit());
}

#[tokio::test(start_paused = true)]
async fn what_a_limit_inside_says_to_one_is_not_stored_for_all() {
    let quota = [("burst", Quota::per_minute(1))];
    let limit = RateLimitRule::new("one", header("x-user").or_shared(), quota).unwrap();
    let limit = RateLimitLayer::new(MemoryBackend::new(), limit).unwrap();
    let rule = rule().with_ttl(std::time::Duration::from_secs(60));
    let cache = CacheLayer::new(memory(), rule).unwrap();
    let handler = service_fn(async |_: Request<_>| {
        Ok::<_, std::convert::Infallible>(response(200, &[("cache-control", "no-store")], "hello"))
    });
    let service = cache.layer(limit.layer(handler));
    let mut reasons = Vec::new();
    for status in [200, 429, 429] {
        let answer = service.clone().oneshot(get("/a", &[])).await.unwrap();
        assert_eq!(answer.status(), status);
        let outcome = answer.extensions().get::<CacheOutcome>().unwrap();
        reasons.push(outcome.not_stored.unwrap());
        sleep(2).await;
    }
    assert_eq!(
        reasons,
        [NotStored::NoStore, NotStored::Denial, NotStored::Denial]
    );
}

#[tokio::test(start_paused = true)]
async fn who_chooses_by_more_names_than_are_kept_is_given_nobody_else_s() {
    let bed = Bed::new(memory(), rule(), |request: Inside| {
        let value = |name: &str| request.headers().get(name).cloned();
        let vary = match value("x-branch") {
            Some(_) => "i",
            None => "a, b, c, d, e, f, g, x-user",
        };
        let user = value("x-user").map_or(String::new(), |user| user.to_str().unwrap().to_owned());
        let said = [("cache-control", "max-age=60"), ("vary", vary)];
        std::future::ready(response(200, &said, user))
    });
    bed.get_with(&[("x-user", "ada")]).await;
    sleep(2).await;
    bed.get_with(&[("x-user", "ada"), ("x-branch", "1")]).await;
    for user in ["ada", "bob", "eve", "bob"] {
        sleep(2).await;
        assert_eq!(bed.get_with(&[("x-user", user)]).await.body, user);
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_refreshes_what_is_stored_leaves_its_body() {
    let said: &[(&str, &str)] = &[("cache-control", "max-age=10, stale-while-revalidate=60")];
    let bed = Bed::new(memory(), rule(), move |request: Inside| {
        let body = if request.method() == http::Method::HEAD {
            ""
        } else {
            "whole"
        };
        std::future::ready(response(200, said, body))
    });
    bed.get().await;
    sleep(11).await;
    let stale = bed.send(request("HEAD", "/a", &[])).await;
    assert_eq!(stale.kind(), Some(OutcomeKind::Stale));
    sleep(1).await;
    let refreshed = bed.get().await;
    assert_eq!(
        (refreshed.kind(), &*refreshed.body),
        (Some(OutcomeKind::Hit), "whole")
    );
}
