//! One pattern of a path, in axum's syntax, and which paths it covers.

use std::cmp::Reverse;

use super::path_form::{AxumRoute, PathForm};

/// A pattern, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    segments: Box<[Segment]>,
    /// How a path begins that it covers, where nothing in the path needs decoding or tidying.
    beginning: Box<[u8]>,
}

/// What stands between two slashes; literal text is percent-decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<[u8]>),
    /// `{name}`, perhaps with text before it.
    Parameter {
        prefix: Box<[u8]>,
    },
    /// `{*name}`, perhaps with text before it: always last.
    Rest {
        prefix: Box<[u8]>,
    },
}

impl Pattern {
    /// Reads a pattern, or says what to write instead.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(relative) = text.strip_prefix('/') else {
            return Err(format!("a path begins with a slash; write \"/{text}\""));
        };
        if text.contains(['?', '#']) {
            return Err("a pattern is of a path only; leave out what follows `?` or `#`".into());
        }
        let segments: Vec<_> = relative
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(Segment::parse)
            .collect::<Result<_, _>>()?;
        let rest = segments.iter().position(Segment::is_rest);
        if rest.is_some_and(|at| at + 1 != segments.len()) {
            return Err(
                "`{*name}` takes all that is left; write it last, or `{name}` for one segment"
                    .into(),
            );
        }
        Ok(Self {
            beginning: beginning(&segments),
            segments: segments.into(),
        })
    }

    /// Whether this pattern covers a path in this form.
    pub(super) fn covers(&self, form: PathForm<'_>) -> bool {
        match form {
            PathForm::Simple(path) => {
                path.as_bytes().starts_with(&self.beginning)
                    && self.covers_segments(
                        split(path),
                        Segment::covers_raw,
                        Segment::takes_nothing,
                    )
            }
            PathForm::Plain(path) => {
                path.as_bytes().starts_with(&self.beginning)
                    && self.covers_segments(split(path), Segment::covers_plain, |_| false)
            }
            PathForm::Decoded(path) => {
                self.covers_segments(split(path), Segment::covers_decoded, Segment::takes_nothing)
            }
            PathForm::Tidy(path) => {
                let segments = split(path).filter(|segment| !is_nothing(segment));
                self.covers_segments(segments, Segment::covers_decoded, Segment::takes_nothing)
            }
            PathForm::Lenient(path) => {
                let segments = split(path)
                    .flat_map(|segment| segment.split("%2F"))
                    .flat_map(|segment| segment.split("%2f"))
                    .filter(|segment| !is_nothing(segment));
                self.covers_segments(segments, Segment::covers_decoded, Segment::takes_nothing)
            }
            PathForm::Route(route) => {
                route.may_begin_with(&self.beginning)
                    && self.covers_segments(
                        route.segments(),
                        Segment::covers_route,
                        Segment::takes_nothing,
                    )
            }
        }
    }

    /// Whether this is the pattern of a route of axum's without `{*name}`, whatever its parameters
    /// are called.
    pub(super) fn is_route(&self, route: AxumRoute<'_>) -> bool {
        if !route.may_begin_with(&self.beginning) {
            return false;
        }
        let mut segments = route.segments();
        let same = |own: &Segment| segments.next().is_some_and(|segment| own.is_route(segment));
        self.segments.iter().all(same) && segments.next().is_none()
    }

    fn covers_segments<'a>(
        &self,
        segments: impl Iterator<Item = &'a str>,
        covers: impl Fn(&Segment, &str, bool) -> bool,
        takes_nothing: impl Fn(&Segment) -> bool,
    ) -> bool {
        let mut segments = segments.peekable();
        for want in &self.segments {
            let covered = match segments.next() {
                Some(segment) => covers(want, segment, segments.peek().is_none()),
                None => takes_nothing(want),
            };
            if !covered {
                return false;
            }
            if want.is_rest() {
                return true;
            }
        }
        segments.next().is_none()
    }

    /// Sorts the more specific one of two patterns that cover the same path to the front.
    pub(super) fn precedence(&self) -> impl Ord + use<> {
        let end = std::iter::once((0, 1));
        let ranks: Vec<_> = self.segments.iter().map(Segment::rank).chain(end).collect();
        Reverse(ranks)
    }
}

impl Segment {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix(':') {
            return Err(format!(
                "a parameter stands in braces; write \"{{{name}}}\""
            ));
        }
        if let Some(name) = text.strip_prefix('*') {
            let name = if name.is_empty() { "rest" } else { name };
            return Err(format!(
                "a parameter stands in braces; write \"{{*{name}}}\""
            ));
        }
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = after;
            } else if let Some(after) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = after;
            } else {
                return Self::parse_parameter(&literal, brace);
            }
        }
        literal.push_str(rest);
        Ok(Self::Literal(decoded(&literal).collect()))
    }

    fn parse_parameter(prefix: &str, text: &str) -> Result<Self, String> {
        let Some((name, suffix)) = text.strip_prefix('{').and_then(|text| text.split_once('}'))
        else {
            return Err("a brace has no partner; write \"{name}\" for a parameter, \"{{\" or \"}}\" for a brace itself".into());
        };
        if !suffix.is_empty() {
            return Err(format!(
                "nothing follows a parameter in its segment; write \"{prefix}{{{name}}}\""
            ));
        }
        let (name, is_rest) = match name.strip_prefix('*') {
            Some(name) => (name, true),
            None => (name, false),
        };
        if name.is_empty() || name.contains(['{', '*']) {
            return Err("a parameter has a name; write \"{name}\" or \"{*name}\"".into());
        }
        let prefix = decoded(prefix).collect();
        Ok(if is_rest {
            Self::Rest { prefix }
        } else {
            Self::Parameter { prefix }
        })
    }

    /// Whether this covers one segment of a path as axum's router has it: `{*name}` takes at least
    /// something, and a parameter may be empty in the middle of a path, not at its end.
    fn covers_plain(&self, segment: &str, is_last: bool) -> bool {
        let takes_nothing = self.is_rest() && is_last && segment.len() == self.prefix().len();
        !takes_nothing && self.covers_raw(segment, is_last)
    }

    fn covers_raw(&self, segment: &str, is_last: bool) -> bool {
        let Some(left) = segment.as_bytes().strip_prefix(self.prefix()) else {
            return false;
        };
        match self {
            Self::Literal(_) => left.is_empty(),
            Self::Parameter { .. } => !is_last || !left.is_empty(),
            Self::Rest { .. } => true,
        }
    }

    fn covers_decoded(&self, segment: &str, is_last: bool) -> bool {
        self.covers(decoded(segment), is_last)
    }

    /// Whether this covers whatever a segment of axum's pattern covers.
    fn covers_route(&self, segment: &str, is_last: bool) -> bool {
        let is_wider = segment.contains("{*") && !self.is_rest();
        !is_wider && self.covers(decoded(segment), is_last)
    }

    fn covers(&self, mut bytes: impl Iterator<Item = u8>, is_last: bool) -> bool {
        let begins = self.prefix().iter().all(|byte| bytes.next() == Some(*byte));
        begins
            && match self {
                Self::Literal(_) => bytes.next().is_none(),
                Self::Parameter { .. } => !is_last || bytes.next().is_some(),
                Self::Rest { .. } => true,
            }
    }

    fn is_route(&self, segment: &str) -> bool {
        let prefix = segment.split_once('{').map(|(prefix, _)| prefix);
        let same = |text: &str| decoded(text).eq(self.prefix().iter().copied());
        match self {
            Self::Literal(_) => prefix.is_none() && same(segment),
            Self::Parameter { .. } => prefix.is_some_and(same),
            Self::Rest { .. } => false,
        }
    }

    /// The literal text that it begins with, or is.
    fn prefix(&self) -> &[u8] {
        match self {
            Self::Literal(prefix) | Self::Parameter { prefix } | Self::Rest { prefix } => prefix,
        }
    }

    fn is_literal(&self) -> bool {
        matches!(self, Self::Literal(_))
    }

    fn is_rest(&self) -> bool {
        matches!(self, Self::Rest { .. })
    }

    /// Whether this covers also that no segment is left.
    fn takes_nothing(&self) -> bool {
        matches!(self, Self::Rest { prefix } if prefix.is_empty())
    }

    /// Higher is more specific; the end of a pattern is `(0, 1)`.
    fn rank(&self) -> (usize, u8) {
        match self {
            Self::Literal(_) => (usize::MAX, 0),
            Self::Parameter { prefix } => (prefix.len(), 2),
            Self::Rest { prefix } => (prefix.len(), 0),
        }
    }
}

/// Whether a tidy reader leaves this segment out.
fn is_nothing(segment: &str) -> bool {
    matches!(segment, "" | "." | "%2E" | "%2e")
}

fn split(path: &str) -> impl Iterator<Item = &str> {
    let relative = path.strip_prefix('/').unwrap_or(path);
    let segments = relative.split('/');
    // "/" has no segment, rather than an empty one.
    segments.skip(usize::from(relative.is_empty()))
}

/// The literal text that a pattern begins with.
fn beginning(segments: &[Segment]) -> Box<[u8]> {
    let parameter = segments.iter().position(|segment| !segment.is_literal());
    let mut beginning = Vec::new();
    for segment in segments
        .iter()
        .take(parameter.map_or(segments.len(), |at| at + 1))
    {
        if !segment.prefix().is_empty() {
            beginning.push(b'/');
            beginning.extend_from_slice(segment.prefix());
        }
    }
    beginning.into()
}

/// The bytes that percent-encoded text stands for; a `%` that begins no escape stands for itself.
fn decoded(text: &str) -> impl Iterator<Item = u8> {
    let mut bytes = text.bytes();
    std::iter::from_fn(move || {
        let byte = bytes.next()?;
        if byte != b'%' {
            return Some(byte);
        }
        let mut ahead = bytes.clone();
        let Some((high, low)) = hex(ahead.next()).zip(hex(ahead.next())) else {
            return Some(byte);
        };
        bytes = ahead;
        Some(high << 4 | low)
    })
}

fn hex(digit: Option<u8>) -> Option<u8> {
    match digit? {
        digit @ b'0'..=b'9' => Some(digit - b'0'),
        digit @ b'a'..=b'f' => Some(digit - b'a' + 10),
        digit @ b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn covers(text: &str, path: &str) -> bool {
        let pattern = pattern(text);
        let mut forms = PathForm::all(path).into_iter().flatten();
        forms.any(|form| pattern.covers(form))
    }

    fn advice(text: &str) -> String {
        Pattern::parse(text).unwrap_err()
    }

    #[test]
    fn percent_encoding_hides_no_path() {
        assert!(covers("/login", "/%6Cogin"));
        assert!(covers("/login", "/%6c%6F%67%69%6e"));
        assert!(covers("/caf%C3%A9", "/café"));
        assert!(covers("/café", "/caf%c3%a9"));
        assert!(covers("/users/me", "/users%2Fme"));
        assert!(covers("/users/me", "/users%2f%6de"));
    }

    #[test]
    fn a_bad_escape_stands_for_itself() {
        assert!(covers("/a%zz", "/a%zz"));
        assert!(covers("/a%", "/a%"));
        assert!(!covers("/a", "/a%"));
        assert!(covers("/login/{*rest}", "/%6Cogin/%FF%FE"));
    }

    #[test]
    fn an_encoded_slash_stays_in_its_segment_as_axum_routes_it() {
        assert!(covers("/files/{name}", "/files/a%2Fb"));
    }

    #[test]
    fn doubled_trailing_and_dotted_slashes_hide_no_path() {
        for path in ["/login/", "//login", "/login//", "/./login", "/%2e/login/."] {
            assert!(covers("/login", path), "{path}");
        }
        assert!(covers("/login/", "/login"));
        assert!(covers("/users/{id}/posts", "/users//posts"));
    }

    #[test]
    fn the_rest_covers_what_axum_nests_at_the_prefix() {
        for path in ["/api", "/api/", "/api/a", "/api/a/b", "/api//"] {
            assert!(covers("/api/{*rest}", path), "{path}");
        }
        for path in ["/ap", "/apis", "/", "/API/a"] {
            assert!(!covers("/api/{*rest}", path), "{path}");
        }
        assert!(covers("/{*rest}", "/"));
        assert!(covers("/{*rest}", ""));
    }

    #[test]
    fn a_parameter_at_the_end_is_not_empty() {
        assert!(!covers("/users/{id}", "/users/"));
        assert!(!covers("/users/{id}", "/users"));
        assert!(!covers("/files/v{version}", "/files/v"));
        assert!(covers("/files/v{version}", "/files/v2"));
    }

    #[test]
    fn braces_are_written_twice() {
        assert!(covers("/{{id}}", "/{id}"));
        assert!(!covers("/{{id}}", "/7"));
    }

    #[test]
    fn a_route_is_covered_by_a_pattern_as_wide() {
        let covers = |text, route| pattern(text).covers(PathForm::Route(AxumRoute::new(route)));
        assert!(covers("/users/{id}", "/users/{user_id}"));
        assert!(covers("/api/{*rest}", "/api/users/{id}"));
        assert!(covers("/api/{*rest}", "/api/{*path}"));
        assert!(!covers("/api/{version}", "/api/{*path}"));
        assert!(!covers("/users/me", "/users/{id}"));
    }

    #[test]
    fn a_route_is_known_by_its_shape() {
        let is = |text, route| pattern(text).is_route(AxumRoute::new(route));
        assert!(is("/users/{id}", "/users/{user_id}"));
        assert!(is("/users/{id}/", "/users/{id}"));
        assert!(is("/users/{id}", "/users/{id}/"));
        assert!(is("/café", "/caf%C3%A9"));
        assert!(is("/v{major}", "/v{n}"));
        assert!(!is("/v{major}", "/{n}"));
        assert!(!is("/users/me", "/users/{id}"));
        assert!(!is("/users/{id}", "/users/me"));
        assert!(!is("/users/{id}", "/users"));
        assert!(!is("/users", "/users/{id}"));
        assert!(!is("/users/{*rest}", "/users/{id}"));
    }

    #[test]
    fn what_is_no_pattern_is_told_what_to_write() {
        assert!(advice("login").contains("write \"/login\""));
        assert!(advice("/users/:id").contains("write \"{id}\""));
        assert!(advice("/files/*path").contains("write \"{*path}\""));
        assert!(advice("/{*rest}/a").contains("write it last"));
        assert!(advice("/{name}.json").contains("write \"{name}\""));
        assert!(advice("/{a}{b}").contains("write \"{a}\""));
        assert!(advice("/a?b=c").contains("leave out"));
        for unbalanced in ["/{", "/}", "/a{b", "/a}b"] {
            assert!(advice(unbalanced).contains("partner"), "{unbalanced}");
        }
        for nameless in ["/{}", "/{*}", "/{**a}"] {
            assert!(advice(nameless).contains("has a name"), "{nameless}");
        }
    }

    fn segment_pattern() -> impl Strategy<Value = String> {
        prop_oneof!["[ab]{1,2}", Just("{x}".to_owned()), "a\\{x\\}"]
    }

    fn some_pattern() -> impl Strategy<Value = String> {
        let segments = proptest::collection::vec(segment_pattern(), 0..4);
        (segments, any::<bool>()).prop_map(|(mut segments, rest)| {
            if rest {
                segments.push("{*rest}".to_owned());
            }
            format!("/{}", segments.join("/"))
        })
    }

    proptest! {
        /// Which of several patterns is chosen, and that none is missed, is compared with the
        /// router that axum uses.
        #[test]
        fn what_the_router_of_axum_reaches_gets_the_rule_of_the_same_pattern(
            texts in proptest::collection::vec(some_pattern(), 1..6),
            path in "(/[ab]{0,3}){1,5}",
        ) {
            let mut router = matchit::Router::new();
            let mut patterns = Vec::new();
            for text in texts {
                if router.insert(text.clone(), text.clone()).is_ok() {
                    patterns.push((pattern(&text), text));
                }
            }
            patterns.sort_by_key(|(pattern, _)| pattern.precedence());
            let ours = patterns
                .iter()
                .find(|(pattern, _)| pattern.covers(PathForm::Plain(&path)))
                .map(|(_, text)| text);
            prop_assert_eq!(router.at(&path).ok().map(|theirs| theirs.value), ours);
        }

        #[test]
        fn no_spelling_of_a_path_panics(text in "[/{}*:%a.]{0,12}", path in "\\PC{0,24}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                pattern.covers(PathForm::Plain(&path));
                pattern.covers(PathForm::Decoded(&path));
                pattern.covers(PathForm::Lenient(&path));
                pattern.covers(PathForm::Route(AxumRoute::new(&path)));
                pattern.is_route(AxumRoute::new(&path));
            }
        }
    }
}
