//! Why a request passes by the cache.

use std::fmt;

use super::{semantics::reuse::Passed, url::Unkeyed};

/// Why the cache was not for a request that a rule covers.
///
/// [`as_str`](Self::as_str) is what `Cache-Status` and [`Explanation`](super::Explanation)s say; the
/// [module](super) has the words in one table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Bypass {
    /// The rule's [condition](super::CacheRule::with_condition) does not hold for it.
    Condition,
    /// It wants to speak another protocol: `Upgrade`.
    Upgrade,
    /// It is a GET or HEAD with a body, which may say what is asked for.
    RequestBody,
    /// It says `If-Match` or `If-Unmodified-Since`, which only the handler can judge.
    Precondition,
    /// It says `no-store` (RFC 9111 §5.2.1.5).
    RequestNoStore,
    /// It has credentials that may change the response, for all that the rule knows.
    Credentials,
    /// It is a HEAD for what is not stored: what it is answered has no body to store.
    Head,
    /// It asks for a range of what is not stored.
    Range,
    /// It is a gRPC call of no message, of several or of one that comes slowly.
    NotUnary,
    /// It is a gRPC call whose message is longer than 64 KiB.
    MessageTooLong,
    /// It names no host, or none that is one.
    NoHost,
    /// It has several `Host` headers, or one unlike that of its URL.
    SeveralHosts,
    /// Its host is none of the rule's.
    HostNotListed,
    /// `X-Forwarded-Host` names another host, or nothing that can be understood.
    ForwardedHost,
    /// It has `X-Original-URL` or `X-Rewrite-URL`: the handler may answer for another URL.
    RewrittenUrl,
    /// It has `X-HTTP-Method-Override` or the like: the handler may do something else.
    OverriddenMethod,
    /// Its scheme is neither `http` nor `https`.
    Scheme,
    /// Its path does not begin with `/`.
    Path,
}

impl Bypass {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Condition => "condition",
            Self::Upgrade => "upgrade",
            Self::RequestBody => "request_body",
            Self::Precondition => "precondition",
            Self::RequestNoStore => "request_no_store",
            Self::Credentials => "credentials",
            Self::Head => "head",
            Self::Range => "range",
            Self::NotUnary => "not_unary",
            Self::MessageTooLong => "message_too_long",
            Self::NoHost => Unkeyed::NoHost.as_str(),
            Self::SeveralHosts => Unkeyed::SeveralHosts.as_str(),
            Self::HostNotListed => Unkeyed::HostNotListed.as_str(),
            Self::ForwardedHost => Unkeyed::ForwardedHost.as_str(),
            Self::RewrittenUrl => Unkeyed::RewrittenUrl.as_str(),
            Self::OverriddenMethod => Unkeyed::OverriddenMethod.as_str(),
            Self::Scheme => Unkeyed::Scheme.as_str(),
            Self::Path => Unkeyed::Path.as_str(),
        }
    }
}

impl fmt::Display for Bypass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Unkeyed> for Bypass {
    fn from(unkeyed: Unkeyed) -> Self {
        match unkeyed {
            Unkeyed::NoHost => Self::NoHost,
            Unkeyed::SeveralHosts => Self::SeveralHosts,
            Unkeyed::HostNotListed => Self::HostNotListed,
            Unkeyed::ForwardedHost => Self::ForwardedHost,
            Unkeyed::RewrittenUrl => Self::RewrittenUrl,
            Unkeyed::OverriddenMethod => Self::OverriddenMethod,
            Unkeyed::Scheme => Self::Scheme,
            Unkeyed::Path => Self::Path,
        }
    }
}

impl From<Passed> for Bypass {
    fn from(passed: Passed) -> Self {
        match passed {
            Passed::NoStore => Self::RequestNoStore,
            Passed::Authorization => Self::Credentials,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    /// The words that `as_str` has in this source.
    fn words(source: &str) -> impl Iterator<Item = &str> {
        source.lines().filter_map(|line| {
            let (_, word) = line.trim().split_once(" => \"")?;
            word.strip_suffix("\",")
        })
    }

    #[test]
    fn the_table_has_each_word_and_no_other() {
        let table = include_str!("mod.rs").lines();
        let told: HashSet<_> = table
            .filter_map(|line| line.strip_prefix("//! | `")?.split_once("` | "))
            .filter(|(_, says)| {
                ["outcome", "bypass", "not stored"]
                    .iter()
                    .any(|of| says.starts_with(of))
            })
            .map(|(word, _)| word)
            .collect();
        let said: HashSet<_> = [
            include_str!("bypass.rs"),
            include_str!("outcome.rs"),
            include_str!("semantics/not_stored.rs"),
            include_str!("url/mod.rs"),
        ]
        .into_iter()
        .flat_map(words)
        .filter(|word| !["http", "https"].contains(word))
        .collect();
        assert_eq!(told, said);
        assert!(said.len() > 50);
    }
}
