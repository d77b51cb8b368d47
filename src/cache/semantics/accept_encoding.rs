//! `Accept-Encoding`, reduced to what makes a difference (RFC 9110 §12.5.3).

use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

use super::lines;

/// Writes in a request only which of br, gzip and zstd it accepts, in this order, so that there are
/// eight variants of a response and not one for each browser. What goes to the handler is what
/// chooses the variant.
///
/// The field stays as it is where it says more than that: where it refuses `identity`, speaks of
/// `*`, contradicts itself or cannot be read.
pub(in crate::cache) fn normalise_accept_encoding(request: &mut HeaderMap) {
    if let Some(reduced) = reduced(request) {
        request.insert(ACCEPT_ENCODING, HeaderValue::from_static(reduced));
    }
}

/// Whether a request says that it takes gzip.
pub(in crate::cache) fn accepts_gzip(request: &HeaderMap) -> bool {
    if let Some(reduced) = reduced(request) {
        return reduced.split(", ").any(|coding| coding == "gzip");
    }
    // It says more than that, or contradicts itself: then each mention must be for it.
    let mut mentions = lines::members(request, &ACCEPT_ENCODING)
        .filter_map(|member| {
            let mut parts = member.splitn(2, |byte| *byte == b';');
            let coding = parts.next()?.trim_ascii_end();
            let is_gzip = is(coding, "gzip") || is(coding, "x-gzip");
            let weight = parts.next();
            is_gzip.then(|| weight.is_none_or(|weight| is_weight_above_zero(weight) == Some(true)))
        })
        .peekable();
    mentions.peek().is_some() && mentions.all(|is_accepted| is_accepted)
}

/// What [`normalise_accept_encoding`] writes, if anything.
///
/// An empty field accepts no coding, as `identity` does, while an absent one accepts any: so they
/// are not one.
pub(super) fn reduced(request: &HeaderMap) -> Option<&'static str> {
    if !request.contains_key(ACCEPT_ENCODING) {
        return None;
    }
    let mut accepted = Accepted::default();
    for member in lines::members(request, &ACCEPT_ENCODING) {
        accepted.hear(member)?;
    }
    Some(accepted.as_str())
}

/// Whether each is accepted, as far as it was mentioned.
#[derive(Clone, Copy, Debug, Default)]
struct Accepted {
    br: Option<bool>,
    gzip: Option<bool>,
    zstd: Option<bool>,
}

impl Accepted {
    /// None for what cannot be reduced.
    fn hear(&mut self, member: &[u8]) -> Option<()> {
        let mut parts = member.splitn(2, |byte| *byte == b';');
        let coding = parts.next()?.trim_ascii_end();
        let is_accepted = parts.next().map_or(Some(true), is_weight_above_zero)?;
        let said = if is(coding, "br") {
            &mut self.br
        } else if is(coding, "gzip") || is(coding, "x-gzip") {
            // RFC 9110 §8.4.1.3: they are one.
            &mut self.gzip
        } else if is(coding, "zstd") {
            &mut self.zstd
        } else if is(coding, "identity") {
            return is_accepted.then_some(());
        } else {
            return (is_token(coding) && coding != b"*").then_some(());
        };
        if said.is_some_and(|before| before != is_accepted) {
            return None;
        }
        *said = Some(is_accepted);
        Some(())
    }

    fn as_str(self) -> &'static str {
        let is_accepted = |coding: Option<bool>| coding == Some(true);
        match (
            is_accepted(self.br),
            is_accepted(self.gzip),
            is_accepted(self.zstd),
        ) {
            (true, true, true) => "br, gzip, zstd",
            (true, true, false) => "br, gzip",
            (true, false, true) => "br, zstd",
            (true, false, false) => "br",
            (false, true, true) => "gzip, zstd",
            (false, true, false) => "gzip",
            (false, false, true) => "zstd",
            (false, false, false) => "identity",
        }
    }
}

/// Whether this weight (RFC 9110 §12.4.2) lets through what it stands by; none if it is no weight.
fn is_weight_above_zero(parameter: &[u8]) -> Option<bool> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter.trim_ascii() else {
        return None;
    };
    let (whole, digits) = match value {
        [whole, b'.', digits @ ..] => (whole, digits),
        [whole] => (whole, &[][..]),
        _ => return None,
    };
    let has_only = |is_allowed: fn(&u8) -> bool| digits.len() <= 3 && digits.iter().all(is_allowed);
    match whole {
        b'1' if has_only(|digit| *digit == b'0') => Some(true),
        b'0' if has_only(u8::is_ascii_digit) => Some(digits.iter().any(|digit| *digit != b'0')),
        _ => None,
    }
}

fn is(coding: &[u8], name: &str) -> bool {
    coding.eq_ignore_ascii_case(name.as_bytes())
}

/// RFC 9110 §5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter();
        lines
            .map(|line| (ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap()))
            .collect()
    }

    fn of(line: &str) -> Option<&'static str> {
        reduced(&request(&[line]))
    }

    #[test]
    fn only_the_accepted_of_three_codings_stay_in_a_fixed_order() {
        assert_eq!(of("gzip, deflate, br, zstd"), Some("br, gzip, zstd"));
        assert_eq!(
            of("zstd;q=0.1,BR ; Q=1.000 , gzip;q=0.001"),
            Some("br, gzip, zstd")
        );
        assert_eq!(of("gzip"), Some("gzip"));
        assert_eq!(of("x-gzip, dcb"), Some("gzip"));
        assert_eq!(of("zstd, br"), Some("br, zstd"));
        assert_eq!(of("zstd, gzip"), Some("gzip, zstd"));
        assert_eq!(of("gzip, br"), Some("br, gzip"));
        assert_eq!(of("br"), Some("br"));
        assert_eq!(of("zstd"), Some("zstd"));
    }

    #[test]
    fn gzip_is_taken_by_who_says_so() {
        for line in [
            "gzip",
            "br, x-gzip;q=0.1",
            "gzip, *;q=0",
            "identity;q=0, gzip",
        ] {
            assert!(accepts_gzip(&request(&[line])), "{line}");
        }
        for line in [
            "",
            "br",
            "*",
            "gzip;q=0",
            "gzip;q=0, *",
            "gzip, x-gzip;q=0",
            "gzip;q=2",
            "identity;q=0",
        ] {
            assert!(!accepts_gzip(&request(&[line])), "{line}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
        assert!(accepts_gzip(&request(&["br", "gzip"])));
    }

    #[test]
    fn all_lines_are_read() {
        let reduced = reduced(&request(&["gzip", "br"]));
        assert_eq!(reduced, Some("br, gzip"));
    }

    #[test]
    fn what_has_no_weight_left_is_not_accepted() {
        assert_eq!(of("br;q=0, gzip"), Some("gzip"));
        assert_eq!(of("br;q=0.000, gzip;q=0."), Some("identity"));
    }

    #[test]
    fn none_of_the_three_is_identity_and_an_absent_field_is_not() {
        for line in ["", " , ", "deflate", "identity", "identity;q=0.5, compress"] {
            assert_eq!(of(line), Some("identity"), "{line}");
        }
        assert_eq!(reduced(&HeaderMap::new()), None);
    }

    #[test]
    fn what_says_more_or_nothing_readable_stays_as_it_is() {
        for line in [
            "*",
            "gzip, *;q=0",
            "identity;q=0",
            "gzip, identity ; q=0.0",
            "gzip, br;q=2",
            "gzip;q=1.001",
            "gzip;q=0.0001",
            "gzip;q=",
            "gzip;q",
            "gzip;level=9",
            "gzip;q=1;a=b",
            "gzip;",
            "gzip;q=1, x-gzip;q=0",
            "g zip",
            "gz\"ip",
            "é",
        ] {
            assert_eq!(of(line), None, "{line}");
            let mut request = request(&[line, "zstd"]);
            normalise_accept_encoding(&mut request);
            let lines: Vec<_> = request.get_all(ACCEPT_ENCODING).iter().collect();
            assert_eq!(lines, [line, "zstd"]);
        }
    }

    proptest! {
        #[test]
        fn what_is_reduced_is_reduced_no_further(
            lines in prop::collection::vec("((br|gzip|zstd|identity|x|\\*)( ?; ?q=[01](\\.[0-9])?)?[, ]{0,2}){0,4}", 0..3),
        ) {
            let lines: Vec<_> = lines.iter().map(String::as_str).collect();
            let mut once = request(&lines);
            normalise_accept_encoding(&mut once);
            let mut twice = once.clone();
            normalise_accept_encoding(&mut twice);
            prop_assert_eq!(once, twice);
        }
    }
}
