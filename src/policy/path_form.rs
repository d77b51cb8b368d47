//! The ways in which a path may be read.

/// A path in one of the forms in which something may read it on its way to a handler.
#[derive(Clone, Copy, Debug)]
pub(super) enum PathForm<'a> {
    /// As everybody reads it, which spares comparing it in each form.
    Simple(&'a str),
    /// As axum's router reads it, byte for byte.
    Plain(&'a str),
    /// As a handler gets it: divided where axum's router divides it, then percent-decoded.
    Decoded(&'a str),
    /// As a tidy reader does: empty and `.` segments are left out.
    Tidy(&'a str),
    /// As a lenient reader does: besides, an encoded slash divides.
    Lenient(&'a str),
    /// Not a path but the pattern of the route that axum chose.
    Route(AxumRoute<'a>),
}

impl<'a> PathForm<'a> {
    /// The path as the handler behind axum's router gets it.
    pub(super) fn decoded(path: &'a str) -> Self {
        if is_simple(path) {
            Self::Simple(path)
        } else {
            Self::Decoded(path)
        }
    }

    /// All forms of a path that differ.
    pub(super) fn all(path: &'a str) -> [Option<Self>; 3] {
        if is_simple(path) {
            return [Some(Self::Simple(path)), None, None];
        }
        let divides = path.contains("%2F") || path.contains("%2f");
        [
            Some(Self::Decoded(path)),
            divides.then_some(Self::Tidy(path)),
            Some(Self::Lenient(path)),
        ]
    }
}

/// The pattern of a route of axum's.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxumRoute<'a> {
    pattern: &'a str,
    is_simple: bool,
}

impl<'a> AxumRoute<'a> {
    pub(super) fn new(pattern: &'a str) -> Self {
        Self {
            pattern,
            is_simple: is_simple(pattern),
        }
    }

    /// Whether `{*name}` is in it.
    pub(super) fn takes_rest(self) -> bool {
        self.pattern.contains("{*")
    }

    /// Whether a pattern that begins with this may cover it.
    pub(super) fn may_begin_with(self, beginning: &[u8]) -> bool {
        !self.is_simple || self.pattern.as_bytes().starts_with(beginning)
    }

    /// Its segments, as [`Pattern::parse`](super::pattern::Pattern::parse) divides a pattern.
    pub(super) fn segments(self) -> impl Iterator<Item = &'a str> {
        self.pattern
            .split('/')
            .filter(|segment| !segment.is_empty())
    }
}

/// Whether a path has nothing to decode, and neither empty segments nor such as begin with a dot,
/// so that all who read it see the same.
fn is_simple(path: &str) -> bool {
    let mut before = b'/';
    for (at, byte) in path.bytes().enumerate() {
        let is_plain = match byte {
            b'/' => before != b'/' || at == 0,
            b'.' => before != b'/',
            _ => byte != b'%',
        };
        if !is_plain {
            return false;
        }
        before = byte;
    }
    path.starts_with('/') && before != b'/'
}

#[cfg(test)]
mod tests {
    use super::super::pattern::Pattern;
    use super::*;
    use proptest::prelude::*;

    /// Some patterns, as a regular expression.
    const PATTERN: &str = r"/([ab]{1,2}/|\{x\}/|a\{x\}/){0,3}(\{\*rest\}|a\{\*rest\})?";

    proptest! {
        /// The short cut decides as the long way does.
        #[test]
        fn a_simple_path_is_covered_as_in_every_other_form(
            text in PATTERN, path in "(/[ab.%]{0,2}){0,4}",
        ) {
            let pattern = Pattern::parse(&text).unwrap();
            if is_simple(&path) {
                let covered = pattern.covers(PathForm::Simple(&path));
                for form in [PathForm::Decoded(&path), PathForm::Tidy(&path), PathForm::Lenient(&path)] {
                    prop_assert_eq!(pattern.covers(form), covered, "{:?}", form);
                }
            }
            for route in [path.replace('%', "{x}"), path.replace('%', "{*x}"), path] {
                let short = AxumRoute::new(&route);
                let long = AxumRoute { is_simple: false, ..short };
                let covered = pattern.covers(PathForm::Route(long));
                prop_assert_eq!(pattern.covers(PathForm::Route(short)), covered);
                prop_assert_eq!(pattern.is_route(short), pattern.is_route(long));
            }
        }
    }
}
