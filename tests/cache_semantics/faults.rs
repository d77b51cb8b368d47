//! Where `http-cache-semantics` 3.0 differs from the RFCs, or from what is prudent.

use std::time::Duration;

use crate::{Case, Line, date};

/// A response to a plain request, asked for again at once.
fn case(status: u16, lines: &[(&'static str, &str)]) -> Case {
    Case {
        asked: Vec::new(),
        status,
        lines: lines
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect(),
        later: Vec::new(),
        after: Duration::from_millis(500),
    }
}

fn asked_again(line: Line, case: Case) -> Case {
    Case {
        later: vec![line],
        ..case
    }
}

#[track_caller]
fn only_we_serve(case: &Case) {
    assert_eq!(
        (case.is_served_by_us(), case.is_served_by_them()),
        (Ok(true), false)
    );
}

#[track_caller]
fn only_they_serve(case: &Case) {
    let ours = case.is_served_by_us().unwrap_or(false);
    assert_eq!((ours, case.is_served_by_them()), (false, true));
}

#[test]
fn they_know_directives_in_lower_case_only() {
    for forbids in ["Private", "No-Store", "NO-CACHE"] {
        let line = format!("max-age=60, {forbids}");
        only_they_serve(&case(200, &[("cache-control", &line)]));
    }
    only_we_serve(&case(200, &[("cache-control", "Max-Age=60")]));
}

#[test]
fn they_read_directives_in_quoted_strings() {
    only_they_serve(&case(200, &[("cache-control", "a=\"b, max-age=60, c\"")]));
}

#[test]
fn they_pass_over_what_they_cannot_read() {
    only_they_serve(&case(
        200,
        &[("cache-control", "private; max-age=60, max-age=60")],
    ));
    only_they_serve(&case(
        200,
        &[("cache-control", "max-age=60, a=\"b, private;")],
    ));
}

#[test]
fn they_take_qualified_directives_for_unqualified_ones() {
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=60, private=\"x\"")],
    ));
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=60, no-cache=\"x\"")],
    ));
}

#[test]
fn they_never_call_a_response_fresh_that_has_proxy_revalidate() {
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=60, proxy-revalidate")],
    ));
}

#[test]
fn they_do_not_clamp_what_is_beyond_64_bits() {
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=99999999999999999999999")],
    ));
}

#[test]
fn they_store_few_statuses() {
    for status in [299, 400, 403, 451, 499, 500, 502, 503, 504, 599] {
        only_we_serve(&case(status, &[("cache-control", "max-age=60")]));
    }
}

#[test]
fn they_do_not_know_must_understand() {
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=60, must-understand, no-store")],
    ));
}

#[test]
fn they_do_not_know_stale_while_revalidate() {
    let line = "max-age=1, stale-while-revalidate=60";
    let after = Duration::from_secs(2);
    let case = case(200, &[("cache-control", line)]);
    only_we_serve(&Case { after, ..case });
}

#[test]
fn they_do_not_know_targeted_fields() {
    only_we_serve(&case(200, &[("cdn-cache-control", "max-age=60")]));
    let lines = [
        ("cache-control", "max-age=60"),
        ("cdn-cache-control", "no-store"),
    ];
    only_they_serve(&case(200, &lines));
}

#[test]
fn they_do_not_see_from_the_date_how_old_a_response_is() {
    only_they_serve(&case(
        200,
        &[("cache-control", "max-age=60"), ("date", &date(-7_200))],
    ));
}

#[test]
fn they_read_no_list_of_ages() {
    only_they_serve(&case(
        200,
        &[("cache-control", "max-age=60"), ("age", "7200, 0")],
    ));
}

#[test]
fn they_read_dates_of_mail_and_not_those_of_old() {
    only_they_serve(&case(
        200,
        &[("expires", "Thu, 18 Aug 2050 02:01:18 +0200")],
    ));
    only_we_serve(&case(
        200,
        &[("expires", "Thursday, 18-Aug-50 02:01:18 GMT")],
    ));
    only_we_serve(&case(200, &[("expires", "Thu Aug 18 02:01:18 2050")]));
}

#[test]
fn they_take_the_first_of_two_dates() {
    let date = date(60);
    only_they_serve(&case(200, &[("expires", &date), ("expires", &date)]));
}

#[test]
fn they_do_not_serve_what_sets_a_cookie() {
    only_we_serve(&case(
        200,
        &[("cache-control", "max-age=60"), ("set-cookie", "a=b")],
    ));
}

#[test]
fn they_heed_pragma_in_responses() {
    only_we_serve(&case(
        200,
        &[("expires", &date(60)), ("pragma", "no-cache")],
    ));
}

#[test]
fn they_heed_pragma_beside_cache_control() {
    let fresh = case(200, &[("cache-control", "max-age=60")]);
    let later = vec![
        ("cache-control", "max-age=60".to_owned()),
        ("pragma", "no-cache".to_owned()),
    ];
    only_we_serve(&Case { later, ..fresh });
}

#[test]
fn they_give_stale_what_forbids_it_to_who_takes_stale_responses() {
    for line in [
        "s-maxage=0",
        "max-age=60, no-cache",
        "max-age=0, proxy-revalidate",
        "",
    ] {
        let stale = case(200, &[("cache-control", line)]);
        only_they_serve(&asked_again(
            ("cache-control", "max-stale".to_owned()),
            stale,
        ));
    }
}

#[test]
fn they_store_what_a_request_forbids_in_upper_case() {
    let fresh = case(200, &[("cache-control", "max-age=60")]);
    let asked = vec![("cache-control", "No-Store".to_owned())];
    only_they_serve(&Case { asked, ..fresh });
}

#[test]
fn they_serve_event_streams_and_what_announces_trailers() {
    let fresh = ("cache-control", "max-age=60");
    only_they_serve(&case(200, &[fresh, ("content-type", "text/event-stream")]));
    only_they_serve(&case(200, &[fresh, ("trailer", "x")]));
}

#[test]
fn they_call_a_second_value_a_must_revalidate() {
    let twice = case(200, &[("cache-control", "max-age=1, max-age=2")]);
    let later = Case {
        after: Duration::from_millis(1_500),
        ..twice
    };
    only_we_serve(&asked_again(
        ("cache-control", "max-stale".to_owned()),
        later,
    ));
}
