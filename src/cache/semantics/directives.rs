//! `Cache-Control` (RFC 9111 §5.2).
//!
//! Whoever writes a directive wants something of caches, so one that is hard to read is taken for
//! the strictest that it may be, and what cannot be read at all is said to be so.

use std::{borrow::Cow, time::Duration};

use http::{
    HeaderMap, HeaderName,
    header::{CACHE_CONTROL, PRAGMA},
};

/// What a response says of its storing and reuse (RFC 9111 §5.2.2, RFC 5861). `immutable` means
/// nothing to a shared cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, and any of them may stand beside any other"
)]
pub(in crate::cache) struct ResponseDirectives {
    /// Something in it is no directive, so nobody knows what else was meant.
    pub(in crate::cache) is_malformed: bool,
    pub(in crate::cache) no_store: bool,
    /// Without names of fields.
    pub(in crate::cache) no_cache: bool,
    /// Without names of fields.
    pub(in crate::cache) is_private: bool,
    pub(in crate::cache) is_public: bool,
    pub(in crate::cache) must_revalidate: bool,
    pub(in crate::cache) proxy_revalidate: bool,
    pub(in crate::cache) must_understand: bool,
    pub(in crate::cache) no_transform: bool,
    pub(in crate::cache) max_age: Option<Duration>,
    pub(in crate::cache) s_maxage: Option<Duration>,
    pub(in crate::cache) stale_while_revalidate: Option<Duration>,
    pub(in crate::cache) stale_if_error: Option<Duration>,
    /// The fields that `no-cache` and `private` name, which are not stored.
    pub(in crate::cache) fields: Vec<HeaderName>,
}

/// What a request wants of caches (RFC 9111 §5.2.1, RFC 5861 §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a directive of its own, and any of them may stand beside any other"
)]
pub(in crate::cache) struct RequestDirectives {
    pub(in crate::cache) no_store: bool,
    pub(in crate::cache) no_cache: bool,
    pub(in crate::cache) only_if_cached: bool,
    pub(in crate::cache) no_transform: bool,
    pub(in crate::cache) max_age: Option<Duration>,
    /// The longest time there is, where it has no argument.
    pub(in crate::cache) max_stale: Option<Duration>,
    pub(in crate::cache) min_fresh: Option<Duration>,
    pub(in crate::cache) stale_if_error: Option<Duration>,
}

impl ResponseDirectives {
    /// Those in all lines of `Cache-Control`.
    pub(in crate::cache) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        for member in members(headers, &CACHE_CONTROL) {
            directives.add(&member);
        }
        directives
    }

    /// §5.2.2.4, §5.2.2.7: the fields in this list are not stored; nothing is, or not without
    /// validation, if it is no list of names.
    pub(super) fn add_fields(&mut self, list: &[u8], unqualified: fn(&mut Self)) {
        let count = self.fields.len();
        for name in list.split(|byte| *byte == b',') {
            let Ok(name) = HeaderName::from_bytes(name.trim_ascii()) else {
                self.fields.truncate(count);
                unqualified(self);
                return;
            };
            self.fields.push(name);
        }
    }

    fn add(&mut self, member: &Member<'_>) {
        let argument = &member.argument;
        match Name::of(member.name) {
            Some(Name::NoStore) => self.no_store = true,
            Some(Name::NoCache) => self.add_qualified(argument, |this| this.no_cache = true),
            Some(Name::Private) => self.add_qualified(argument, |this| this.is_private = true),
            // They allow something, so they count only as they are defined: without an argument.
            Some(Name::Public) => self.is_public |= *argument == Argument::None,
            Some(Name::MustUnderstand) => self.must_understand |= *argument == Argument::None,
            Some(Name::MustRevalidate) => self.must_revalidate = true,
            Some(Name::ProxyRevalidate) => self.proxy_revalidate = true,
            Some(Name::NoTransform) => self.no_transform = true,
            Some(Name::MaxAge) => keep_first(&mut self.max_age, argument, Duration::ZERO),
            Some(Name::SharedMaxAge) => keep_first(&mut self.s_maxage, argument, Duration::ZERO),
            Some(Name::StaleWhileRevalidate) => {
                keep_first(&mut self.stale_while_revalidate, argument, Duration::ZERO);
            }
            Some(Name::StaleIfError) => {
                keep_first(&mut self.stale_if_error, argument, Duration::ZERO);
            }
            _ => {}
        }
        self.is_malformed |= *argument == Argument::Broken;
    }

    /// An argument without quotes may be a slip such as `private=1`, and names no fields.
    fn add_qualified(&mut self, argument: &Argument<'_>, unqualified: fn(&mut Self)) {
        match argument {
            Argument::Quoted(list) => self.add_fields(list, unqualified),
            Argument::None | Argument::Token(_) | Argument::Broken => unqualified(self),
        }
    }
}

impl RequestDirectives {
    /// Those in all lines of `Cache-Control`; `Pragma` only where there is none (§5.4). What cannot
    /// be read asks for validation.
    pub(in crate::cache) fn read(headers: &HeaderMap) -> Self {
        let mut directives = Self::default();
        if headers.contains_key(CACHE_CONTROL) {
            for member in members(headers, &CACHE_CONTROL) {
                directives.add(&member);
            }
            return directives;
        }
        directives.no_cache =
            members(headers, &PRAGMA).any(|member| member.name.eq_ignore_ascii_case(b"no-cache"));
        directives
    }

    fn add(&mut self, member: &Member<'_>) {
        let argument = &member.argument;
        match Name::of(member.name) {
            Some(Name::NoStore) => self.no_store = true,
            Some(Name::NoCache) => self.no_cache = true,
            Some(Name::OnlyIfCached) => self.only_if_cached = true,
            Some(Name::NoTransform) => self.no_transform = true,
            Some(Name::MaxAge) => keep_first(&mut self.max_age, argument, Duration::ZERO),
            Some(Name::MaxStale) if *argument == Argument::None => {
                self.max_stale.get_or_insert(Duration::MAX);
            }
            Some(Name::MaxStale) => keep_first(&mut self.max_stale, argument, Duration::ZERO),
            Some(Name::MinFresh) => keep_first(&mut self.min_fresh, argument, MOST_SECONDS),
            Some(Name::StaleIfError) => {
                keep_first(&mut self.stale_if_error, argument, Duration::ZERO);
            }
            _ => {}
        }
        self.no_cache |= *argument == Argument::Broken;
    }
}

/// So many seconds, at most 2³¹ (§1.2.2).
pub(super) fn clamped(seconds: u64) -> Duration {
    Duration::from_secs(seconds).min(MOST_SECONDS)
}

/// §4.2.1: the first of several counts; one that is there and invalid counts as the strictest.
fn keep_first(kept: &mut Option<Duration>, argument: &Argument<'_>, strictest: Duration) {
    if kept.is_none() {
        *kept = Some(argument.seconds().unwrap_or(strictest));
    }
}

/// A directive that is known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    MaxAge,
    MaxStale,
    MinFresh,
    MustRevalidate,
    MustUnderstand,
    NoCache,
    NoStore,
    NoTransform,
    OnlyIfCached,
    Private,
    ProxyRevalidate,
    Public,
    SharedMaxAge,
    StaleIfError,
    StaleWhileRevalidate,
}

impl Name {
    /// §5.2: in any case.
    fn of(text: &[u8]) -> Option<Self> {
        let mut names = NAMES.iter();
        let found = names.find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(found.1)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Member<'a> {
    name: &'a [u8],
    argument: Argument<'a>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument<'a> {
    None,
    /// May be empty.
    Token(&'a [u8]),
    Quoted(Cow<'a, [u8]>),
    /// What follows the name is none.
    Broken,
}

impl Argument<'_> {
    /// §1.2.2; §5.2: in either form.
    fn seconds(&self) -> Option<Duration> {
        match self {
            Self::Token(text) => delta_seconds(text),
            Self::Quoted(text) => delta_seconds(text),
            Self::None | Self::Broken => None,
        }
    }
}

/// §1.2.2: digits, however many; what is beyond 2³¹ is 2³¹.
pub(super) fn delta_seconds(text: &[u8]) -> Option<Duration> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add_digit = |sum: u64, digit: &u8| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    };
    Some(clamped(text.iter().fold(0, add_digit)))
}

fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = Member<'a>> {
    let lines = headers.get_all(name).into_iter();
    lines.flat_map(|line| Members {
        rest: line.as_bytes(),
    })
}

/// The directives of a line.
struct Members<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        // RFC 9110 §5.6.1.2: empty members are none.
        let (_, rest) = split(self.rest, |byte| b", \t".contains(&byte));
        if rest.is_empty() {
            return None;
        }
        let (name, rest) = split(rest, is_in_token);
        let (argument, rest) = match rest {
            [b'=', b'"', inside @ ..] => quoted(inside),
            [b'=', rest @ ..] => {
                let (token, rest) = split(rest, is_in_token);
                (Argument::Token(token), rest)
            }
            _ => (Argument::None, rest),
        };
        let (_, rest) = split(rest, |byte| b" \t".contains(&byte));
        if !name.is_empty() && (rest.is_empty() || rest.starts_with(b",")) {
            self.rest = rest;
            return Some(Member { name, argument });
        }
        (_, self.rest) = split(rest, |byte| byte != b',');
        Some(Member {
            name,
            argument: Argument::Broken,
        })
    }
}

/// The string whose opening quote was read, and what follows it (RFC 9110 §5.6.4).
fn quoted(inside: &[u8]) -> (Argument<'_>, &[u8]) {
    let mut unescaped = Vec::new();
    let mut rest = inside;
    loop {
        let (plain, after) = split(rest, |byte| !b"\"\\".contains(&byte));
        match after {
            [b'"', after @ ..] if unescaped.is_empty() => {
                return (Argument::Quoted(Cow::Borrowed(plain)), after);
            }
            [b'"', after @ ..] => {
                unescaped.extend_from_slice(plain);
                return (Argument::Quoted(Cow::Owned(unescaped)), after);
            }
            [b'\\', escaped, after @ ..] => {
                unescaped.extend_from_slice(plain);
                unescaped.push(*escaped);
                rest = after;
            }
            _ => return (Argument::Broken, &[]),
        }
    }
}

/// The longest beginning whose bytes are such, and the rest.
fn split(text: &[u8], is_such: fn(u8) -> bool) -> (&[u8], &[u8]) {
    let len = text.iter().take_while(|byte| is_such(**byte)).count();
    text.split_at_checked(len).unwrap_or((text, &[]))
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_in_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

const MOST_SECONDS: Duration = Duration::from_secs(1 << 31);

const NAMES: [(&str, Name); 15] = [
    ("max-age", Name::MaxAge),
    ("s-maxage", Name::SharedMaxAge),
    ("public", Name::Public),
    ("private", Name::Private),
    ("no-cache", Name::NoCache),
    ("no-store", Name::NoStore),
    ("no-transform", Name::NoTransform),
    ("must-revalidate", Name::MustRevalidate),
    ("proxy-revalidate", Name::ProxyRevalidate),
    ("must-understand", Name::MustUnderstand),
    ("stale-while-revalidate", Name::StaleWhileRevalidate),
    ("stale-if-error", Name::StaleIfError),
    ("only-if-cached", Name::OnlyIfCached),
    ("max-stale", Name::MaxStale),
    ("min-fresh", Name::MinFresh),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn headers(name: &HeaderName, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn response(lines: &[&str]) -> ResponseDirectives {
        ResponseDirectives::read(&headers(&CACHE_CONTROL, lines))
    }

    fn request(lines: &[&str]) -> RequestDirectives {
        RequestDirectives::read(&headers(&CACHE_CONTROL, lines))
    }

    fn max_age(line: &str) -> Option<u64> {
        response(&[line]).max_age.map(|age| age.as_secs())
    }

    #[test]
    fn a_response_has_each_directive_that_it_says() {
        let all = response(&[
            "no-store, no-cache, private, public, must-revalidate, proxy-revalidate",
            "must-understand,no-transform , immutable,,max-age=1,\ts-maxage=2",
            "stale-while-revalidate=3, stale-if-error=4, another=5, \"",
        ]);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = ResponseDirectives {
            is_malformed: true,
            no_store: true,
            no_cache: true,
            is_private: true,
            is_public: true,
            must_revalidate: true,
            proxy_revalidate: true,
            must_understand: true,
            no_transform: true,
            max_age: seconds(1),
            s_maxage: seconds(2),
            stale_while_revalidate: seconds(3),
            stale_if_error: seconds(4),
            fields: Vec::new(),
        };
        assert_eq!(all, expected);
        assert_eq!(response(&[]), ResponseDirectives::default());
        assert_eq!(
            response(&["", " ,, ", "immutable, a=\"b\", c=d"]),
            ResponseDirectives::default()
        );
    }

    #[test]
    fn a_request_has_each_directive_that_it_says() {
        let all = request(&[
            "no-store, NO-CACHE, only-if-cached, no-transform, max-age=1",
            "max-stale=2, min-fresh=3, stale-if-error=4",
        ]);
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = RequestDirectives {
            no_store: true,
            no_cache: true,
            only_if_cached: true,
            no_transform: true,
            max_age: seconds(1),
            max_stale: seconds(2),
            min_fresh: seconds(3),
            stale_if_error: seconds(4),
        };
        assert_eq!(all, expected);
        assert_eq!(request(&["private, public"]), RequestDirectives::default());
        assert_eq!(request(&["max-stale"]).max_stale, Some(Duration::MAX));
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert!(response(&["No-StOrE"]).no_store);
        assert!(response(&["Private"]).is_private);
        assert_eq!(max_age("MaX-aGe=3600"), Some(3_600));
    }

    #[test]
    fn a_time_is_digits_with_or_without_quotes() {
        assert_eq!(max_age("max-age=3600"), Some(3_600));
        assert_eq!(max_age("max-age=\"3600\""), Some(3_600));
        assert_eq!(max_age("max-age=\"36\\00\""), Some(3_600));
        assert_eq!(max_age("max-age=003600"), Some(3_600));
        assert_eq!(max_age("max-age=0"), Some(0));
    }

    #[test]
    fn a_long_time_is_two_to_the_31() {
        assert_eq!(max_age("max-age=2147483647"), Some((1 << 31) - 1));
        for long in [
            "2147483648",
            "2147483649",
            "99999999999",
            "99999999999999999999999",
        ] {
            assert_eq!(max_age(&format!("max-age={long}")), Some(1 << 31), "{long}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_over() {
        for value in [
            "='3600'", "=-1", "=1.5", "=3600.0", "=", "", "=\"\"", "=a3600", "=3600a", "=\" 1\"",
            "=+1", "=1e3", "=0x10",
        ] {
            assert_eq!(max_age(&format!("max-age{value}")), Some(0), "{value}");
        }
        let both = response(&["stale-while-revalidate=x, stale-if-error"]);
        assert_eq!(both.stale_while_revalidate, Some(Duration::ZERO));
        assert_eq!(both.stale_if_error, Some(Duration::ZERO));
        let request = request(&["max-age=x, min-fresh=x, max-stale=x"]);
        assert_eq!(request.max_age, Some(Duration::ZERO));
        assert_eq!(request.min_fresh, Some(MOST_SECONDS));
        assert_eq!(request.max_stale, Some(Duration::ZERO));
    }

    #[test]
    fn the_first_of_several_times_counts() {
        assert_eq!(max_age("max-age=1, max-age=1800"), Some(1));
        assert_eq!(max_age("max-age=1800, max-age=1"), Some(1_800));
        let lines = response(&["max-age=x", "max-age=5"]);
        assert_eq!(lines.max_age, Some(Duration::ZERO));
        assert_eq!(
            request(&["max-stale=5, max-stale"]).max_stale,
            Some(Duration::from_secs(5))
        );
    }

    #[test]
    fn what_is_in_quotes_is_no_directive() {
        assert_eq!(max_age("extension=\"max-age=3600\", max-age=1"), Some(1));
        assert_eq!(max_age("max-age=1, extension=\"max-age=3600\""), Some(1));
        assert_eq!(max_age("extension=\"a, max-age=3600, b\""), None);
        assert_eq!(max_age("extension=\"a\\\", max-age=3600\""), None);
        assert!(!response(&["extension=\"no-store, private\""]).no_store);
    }

    #[test]
    fn fields_that_are_named_are_not_stored() {
        let both = response(&["no-cache=\"a, B\", private=\"c\""]);
        assert!(!both.no_cache && !both.is_private && !both.is_malformed);
        assert_eq!(both.fields, ["a", "b", "c"]);
        let all = response(&["private=\"x-user\", private"]);
        assert!(all.is_private);
        assert_eq!(all.fields, ["x-user"]);
    }

    #[test]
    fn what_names_no_fields_holds_for_the_whole_response() {
        for argument in [
            "",
            "=",
            "=\"\"",
            "=\" \"",
            "=1",
            "=x-user",
            "=\"a b\"",
            "=\"a,,b\"",
            "=\"a,\"",
            "=\"é\"",
        ] {
            let read = response(&[&format!("no-cache{argument}")]);
            assert!(read.no_cache && read.fields.is_empty(), "{argument}");
            let read = response(&[&format!("private{argument}")]);
            assert!(read.is_private && read.fields.is_empty(), "{argument}");
        }
    }

    #[test]
    fn what_allows_counts_only_as_it_is_defined() {
        assert!(response(&["public"]).is_public);
        assert!(!response(&["public=x"]).is_public);
        assert!(!response(&["must-understand=\"x\""]).must_understand);
        // What forbids counts with anything behind it.
        assert!(response(&["no-store=x"]).no_store);
        assert!(response(&["must-revalidate=x"]).must_revalidate);
    }

    #[test]
    fn what_is_no_directive_makes_a_response_malformed() {
        for line in [
            "max-age=3600; private",
            "max-age =3600",
            "max-age= 3600",
            "max-age=3600 private",
            "private=\"x, max-age=3600",
            "a=\"b\\",
            "a=\"b\"c",
            "=3600",
            "\"no-store\"",
            "max-age=\u{e9}",
            "(a)",
        ] {
            assert!(response(&[line]).is_malformed, "{line}");
            assert!(request(&[line]).no_cache, "{line}");
        }
        // What stands around it counts all the same.
        let read = response(&["no-store; x, must-revalidate", "max-age=5"]);
        assert!(read.no_store && read.must_revalidate && read.is_malformed);
        assert_eq!(read.max_age, Some(Duration::from_secs(5)));
        assert!(!response(&["a=\"\u{e9}\", a=\"\""]).is_malformed);
    }

    #[test]
    fn pragma_counts_in_requests_that_have_no_cache_control() {
        let mut headers = headers(&PRAGMA, &["other", "No-Cache"]);
        assert!(RequestDirectives::read(&headers).no_cache);
        assert_eq!(
            ResponseDirectives::read(&headers),
            ResponseDirectives::default()
        );
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(""));
        assert!(!RequestDirectives::read(&headers).no_cache);
        headers.remove(CACHE_CONTROL);
        headers.insert(PRAGMA, HeaderValue::from_static("no-cachet"));
        assert!(!RequestDirectives::read(&headers).no_cache);
    }

    /// All that makes a response less stored and less fresh.
    fn forbids(directives: &ResponseDirectives) -> Vec<bool> {
        let is_short = |time: Option<Duration>| time == Some(Duration::ZERO);
        vec![
            directives.is_malformed,
            directives.no_store,
            directives.no_cache,
            directives.is_private,
            directives.must_revalidate,
            directives.proxy_revalidate,
            is_short(directives.max_age),
            is_short(directives.s_maxage),
        ]
    }

    fn line() -> impl Strategy<Value = String> {
        let directive = prop::sample::select(vec![
            "no-store",
            "no-cache",
            "private",
            "public",
            "must-revalidate",
            "proxy-revalidate",
            "max-age",
            "s-maxage",
            "must-understand",
            "x",
            "",
        ]);
        let argument = prop::sample::select(vec![
            "",
            "=",
            "=5",
            "=0",
            "=\"5\"",
            "=\"a, b\"",
            "=\"",
            "=\"\\\"\"",
            " x",
            "=-1",
            ";",
            "\t",
        ]);
        let member = (directive, argument).prop_map(|(name, argument)| [name, argument].concat());
        prop::collection::vec(member, 0..5).prop_map(|members| members.join(","))
    }

    proptest! {
        #[test]
        fn another_line_takes_nothing_back(
            lines in prop::collection::vec(line(), 0..4), another in line(),
        ) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let before = response(&lines);
            let after = response(&[lines.as_slice(), &[&another]].concat());
            for (before, after) in forbids(&before).into_iter().zip(forbids(&after)) {
                prop_assert!(after || !before);
            }
            prop_assert!(before.max_age.is_none_or(|_| before.max_age == after.max_age));
            prop_assert!(after.fields.starts_with(&before.fields));
        }

        #[test]
        fn lines_and_commas_are_the_same(lines in prop::collection::vec(line(), 0..4)) {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let apart = response(&lines);
            // An open quote goes on into the next line if that is joined.
            if !apart.is_malformed {
                prop_assert_eq!(response(&[&lines.join(", ")]), apart);
            }
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(CACHE_CONTROL, value)]);
                ResponseDirectives::read(&headers);
                RequestDirectives::read(&headers);
            }
        }
    }
}
