//! By which tags responses can be purged.

use http::{Extensions, HeaderMap, HeaderName};

use super::semantics::groups;

/// Tags of a response: purging one of them purges the response.
///
/// A handler puts them into its response; with feature `axum` as a part of it:
///
/// ```
/// use tower_stash::cache::CacheTags;
///
/// # #[cfg(feature = "axum")]
/// async fn product(id: u64) -> impl axum::response::IntoResponse {
///     (CacheTags::new([format!("product:{id}"), "products".into()]), "a product")
/// }
/// ```
///
/// and without it as an extension:
///
/// ```
/// use http::Response;
/// use tower_stash::cache::CacheTags;
///
/// let mut response = Response::new("a product");
/// response.extensions_mut().insert(CacheTags::new(["product:7", "products"]));
/// ```
///
/// A tag is any text of at most 128 bytes, told apart byte by byte; an empty one is none. A response
/// with a longer one, or with more than 64, is not stored, since no purge could reach it. The tags
/// that a response names in `Cache-Tag` (between commas), `Surrogate-Key` (between spaces) and
/// `Cache-Groups` (RFC 9875) count as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheTags {
    tags: Vec<Box<str>>,
}

impl CacheTags {
    /// These tags.
    #[must_use]
    pub fn new<T: Into<Box<str>>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self {
            tags: tags.into_iter().map(Into::into).collect(),
        }
    }

    /// The same tags and one more.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<Box<str>>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// The tags, as they were given.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.tags.iter().map(AsRef::as_ref)
    }

    /// Adds these to those that are in a response already, if any.
    #[cfg(feature = "axum")]
    fn insert_into(self, extensions: &mut Extensions) {
        match extensions.get_mut::<Self>() {
            Some(present) => present.tags.extend(self.tags),
            None => {
                extensions.insert(self);
            }
        }
    }
}

/// Adds to the tags that inner parts of the response have.
#[cfg(feature = "axum")]
impl axum::response::IntoResponseParts for CacheTags {
    type Error = std::convert::Infallible;

    fn into_response_parts(
        self,
        mut response: axum::response::ResponseParts,
    ) -> Result<axum::response::ResponseParts, Self::Error> {
        self.insert_into(response.extensions_mut());
        Ok(response)
    }
}

/// An empty response with these tags.
#[cfg(feature = "axum")]
impl axum::response::IntoResponse for CacheTags {
    fn into_response(self) -> axum::response::Response {
        (self, ()).into_response()
    }
}

/// One tag of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Tag {
    /// Of the service's own.
    Plain(Box<[u8]>),
    /// A group of RFC 9875: one of the response's origin, and never the same as a plain tag.
    Group(Box<str>),
}

/// Why no purge by tag could reach a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum TagProblem {
    /// More than [`MAX_TAGS`].
    TooMany,
    /// One of more than [`MAX_TAG_LEN`] bytes.
    TooLong,
}

/// The tags of a response, each once: of its [`CacheTags`], `Cache-Tag`, `Surrogate-Key` and
/// `Cache-Groups`.
pub(in crate::cache) fn read(
    extensions: &Extensions,
    response: &HeaderMap,
) -> Result<Vec<Tag>, TagProblem> {
    let own = extensions.get::<CacheTags>().into_iter();
    let own = own.flat_map(|tags| tags.iter().map(str::as_bytes));
    let named = fields(response, &CACHE_TAG, |byte| byte == b',');
    let keys = fields(response, &SURROGATE_KEY, |byte| {
        matches!(byte, b' ' | b'\t')
    });

    let mut tags = Vec::new();
    for tag in own.chain(named).chain(keys) {
        add(&mut tags, tag, |tag| Tag::Plain(tag.into()))?;
    }
    for group in groups::of(response) {
        add(&mut tags, group.as_bytes(), |_| {
            Tag::Group(group.as_str().into())
        })?;
    }
    Ok(tags)
}

/// The tags that a program gave to a value, each once.
pub(in crate::cache) fn of_value(own: &CacheTags) -> Result<Vec<Tag>, TagProblem> {
    let mut tags = Vec::new();
    for tag in own.iter() {
        add(&mut tags, tag.as_bytes(), |tag| Tag::Plain(tag.into()))?;
    }
    Ok(tags)
}

/// What stands between such bytes in all lines of a field.
fn fields<'a>(
    response: &'a HeaderMap,
    name: &HeaderName,
    is_between: fn(u8) -> bool,
) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    response
        .get_all(name)
        .into_iter()
        .flat_map(move |line| line.as_bytes().split(move |byte| is_between(*byte)))
        .map(<[u8]>::trim_ascii)
}

fn add<'a>(
    tags: &mut Vec<Tag>,
    text: &'a [u8],
    tag: impl FnOnce(&'a [u8]) -> Tag,
) -> Result<(), TagProblem> {
    if text.is_empty() {
        return Ok(());
    }
    if text.len() > MAX_TAG_LEN {
        return Err(TagProblem::TooLong);
    }
    let tag = tag(text);
    if tags.contains(&tag) {
        return Ok(());
    }
    if tags.len() >= MAX_TAGS {
        return Err(TagProblem::TooMany);
    }
    tags.push(tag);
    Ok(())
}

pub(in crate::cache) const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");

pub(in crate::cache) const SURROGATE_KEY: HeaderName = HeaderName::from_static("surrogate-key");

pub(in crate::cache) const MAX_TAGS: usize = 64;

/// In bytes.
pub(in crate::cache) const MAX_TAG_LEN: usize = 128;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn extensions(tags: CacheTags) -> Extensions {
        let mut extensions = Extensions::new();
        extensions.insert(tags);
        extensions
    }

    fn plain(tags: &[&str]) -> Vec<Tag> {
        let tags = tags.iter();
        tags.map(|tag| Tag::Plain(tag.as_bytes().into())).collect()
    }

    fn named(lines: &[(&'static str, &str)]) -> Result<Vec<Tag>, TagProblem> {
        read(&Extensions::new(), &headers(lines))
    }

    fn own(tags: impl IntoIterator<Item = String>) -> Result<Vec<Tag>, TagProblem> {
        read(&extensions(CacheTags::new(tags)), &HeaderMap::new())
    }

    #[test]
    fn tags_of_all_sources_count_once() {
        let tags = extensions(CacheTags::new(["a", "b c"]).with_tag("a"));
        let response = headers(&[
            ("cache-tag", "d, b c ,a"),
            ("cache-tag", "e"),
            ("surrogate-key", "f  g\te"),
            ("cache-groups", "\"h\""),
        ]);
        let mut expected = plain(&["a", "b c", "d", "e", "f", "g"]);
        expected.push(Tag::Group("h".into()));
        assert_eq!(read(&tags, &response), Ok(expected));
    }

    #[test]
    fn a_group_is_no_plain_tag() {
        let tags = named(&[("cache-tag", "a"), ("cache-groups", "\"a\"")]);
        assert_eq!(tags.unwrap().len(), 2);
    }

    #[test]
    fn case_makes_another_tag() {
        assert_eq!(named(&[("cache-tag", "a,A")]), Ok(plain(&["a", "A"])));
    }

    #[test]
    fn the_empty_tag_is_none() {
        assert_eq!(own([String::new()]), Ok(Vec::new()));
        let lines = [
            ("cache-tag", ", ,"),
            ("cache-tag", ""),
            ("surrogate-key", "  "),
            ("cache-groups", "\"\""),
        ];
        assert_eq!(named(&lines), Ok(Vec::new()));
    }

    #[test]
    fn sixty_four_tags_are_enough_and_one_more_too_many() {
        let tags = |count| own((0..count).map(|tag: usize| tag.to_string()));
        assert_eq!(tags(64).unwrap().len(), 64);
        assert_eq!(tags(65), Err(TagProblem::TooMany));
        let repeated = own((0..200).map(|tag| (tag % 64).to_string()));
        assert_eq!(repeated.unwrap().len(), 64);
    }

    #[test]
    fn a_tag_has_at_most_128_bytes_wherever_it_stands() {
        let (longest, longer) = ("a".repeat(128), "a".repeat(129));
        assert_eq!(own([longest.clone()]).unwrap().len(), 1);
        assert_eq!(own([longer.clone()]), Err(TagProblem::TooLong));
        assert_eq!(own(["\u{fc}".repeat(65)]), Err(TagProblem::TooLong));
        for (name, quote) in [
            ("cache-tag", ""),
            ("surrogate-key", ""),
            ("cache-groups", "\""),
        ] {
            let line = |tag: &str| format!("{quote}{tag}{quote}");
            assert_eq!(named(&[(name, &line(&longest))]).unwrap().len(), 1);
            let problem = named(&[(name, &line(&longer))]);
            assert_eq!(problem, Err(TagProblem::TooLong), "{name}");
        }
    }

    #[test]
    fn a_tag_in_a_header_is_the_same_as_in_the_extension() {
        let named = named(&[("cache-tag", "\u{fc}")]);
        assert_eq!(named, own(["\u{fc}".to_owned()]));
    }

    #[cfg(feature = "axum")]
    #[test]
    fn tags_are_part_of_a_response_and_add_up() {
        use axum::response::IntoResponse as _;

        let tags = |response: axum::response::Response| {
            let tags = response.extensions().get::<CacheTags>().cloned();
            tags.unwrap().iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(tags(CacheTags::new(["a"]).into_response()), ["a"]);
        let response = (CacheTags::new(["a"]), CacheTags::new(["b"]), "body");
        let mut added = tags(response.into_response());
        added.sort();
        assert_eq!(added, ["a", "b"]);
    }
}
