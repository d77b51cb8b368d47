//! What the cookie of a session is like.

use std::borrow::Cow;

#[cfg(any(feature = "signed-cookies", feature = "private-cookies"))]
use super::KeyRing;

/// The cookie that carries a session's token.
///
/// By default `__Host-id; Path=/; Secure; HttpOnly; SameSite=Lax`, with a `Max-Age` up to the
/// session's absolute deadline. The prefix makes browsers keep it to this one host over HTTPS: no
/// sibling subdomain and no attacker on plain HTTP can set it.
///
/// ```
/// use tower_stash::session::{SameSite, SessionCookie};
///
/// let admin = SessionCookie::strict().with_name("__Host-admin");
/// let shop = SessionCookie::default()
///     .with_name("__Secure-shop")
///     .with_domain("shop.example")
///     .with_same_site(SameSite::Lax);
/// ```
///
/// # What is refused
///
/// What browsers would silently drop (the successors of RFC 6265: drafts
/// `ietf-httpbis-rfc6265bis-22` and `ietf-httpbis-layered-cookies`), and what could not do what it
/// says. The rule that takes the cookie checks all of it together, so calls here may come in any
/// order.
///
/// # Two cookies of one name
///
/// A request may bring the same cookie twice, which is one, or two with different tokens. Of a name
/// with a prefix neither counts then: browsers keep but one such cookie, so one of the two was
/// smuggled in. Of a name without prefix up to four tokens are tried, and the first whose session is
/// alive counts, which someone who can set cookies for a parent domain may turn to theirs. A cookie
/// that moves to another path or domain must therefore get another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookie {
    name: Cow<'static, str>,
    path: Cow<'static, str>,
    domain: Option<String>,
    same_site: Option<SameSite>,
    is_secure: bool,
    is_http_only: bool,
    is_partitioned: bool,
    kept: Kept,
    #[cfg(feature = "signed-cookies")]
    signing_keys: Option<KeyRing>,
    #[cfg(feature = "private-cookies")]
    encryption_keys: Option<KeyRing>,
}

/// Which requests from other sites bring a cookie along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SameSite {
    /// None. Who follows a link from elsewhere, or comes back from an OAuth provider, arrives
    /// without the session.
    Strict,
    /// Links and redirects that navigate the page, by GET.
    Lax,
    /// All of them, forged ones too: use a CSRF check.
    None,
}

/// How long a browser keeps a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// As long as its session may last.
    ToDeadline,
    /// Until the browser is closed, or longer if it restores its tabs.
    ByBrowser,
}

impl SessionCookie {
    /// As by default, but with `SameSite=Strict`: no request from another site brings it.
    ///
    /// It breaks the way back from an OAuth provider, and links to the application show it logged
    /// out.
    #[must_use]
    pub fn strict() -> Self {
        Self::default().with_same_site(SameSite::Strict)
    }

    /// As by default, but named `__Host-Http-id`: browsers that know this prefix refuse such a
    /// cookie from a script too. To others it begins with `__Host-` and is no less than that.
    #[must_use]
    pub fn host_http() -> Self {
        Self::default().with_name("__Host-Http-id")
    }

    /// A cookie for plain HTTP, for development only: named `id`, not `Secure`, without prefix.
    ///
    /// Whoever is on the network can read it, and set another one.
    #[must_use]
    pub fn insecure_for_development() -> Self {
        Self {
            name: "id".into(),
            is_secure: false,
            ..Self::default()
        }
    }

    /// The name, with its prefix; by default `__Host-id`.
    ///
    /// Two session layers of one host need two names.
    ///
    /// Refused: what is no token (RFC 9110 §5.6.2), and a prefix that is not spelled `__Host-`,
    /// `__Host-Http-`, `__Secure-` or `__Http-`, or without the attributes that it demands.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Cow::Owned(name.to_owned());
        self
    }

    /// The path below which browsers send it; by default `/`.
    ///
    /// A path keeps no secrets: pages of other paths can still get at the cookie.
    ///
    /// Refused: what no request's path can begin with, more than 1,024 bytes, and with the prefixes
    /// `__Host-` and `__Host-Http-` anything but `/`.
    #[must_use]
    pub fn with_path(mut self, path: &str) -> Self {
        self.path = Cow::Owned(path.to_owned());
        self
    }

    /// The domain whose hosts all get it, such as `shop.example`; by default the host that sets it,
    /// alone.
    ///
    /// Each of these hosts can then read the session's token and set another. Browsers also refuse
    /// a public suffix such as `co.uk`, which nothing here knows.
    ///
    /// Refused: an IP address, a name of one label, what is no host name in ASCII, and any domain
    /// with the prefixes `__Host-` and `__Host-Http-`.
    #[must_use]
    pub fn with_domain(mut self, domain: &str) -> Self {
        self.domain = Some(domain.to_ascii_lowercase());
        self
    }

    /// Which requests from other sites bring it along; by default [`SameSite::Lax`].
    ///
    /// Refused: [`SameSite::None`] without `Secure`.
    #[must_use]
    pub fn with_same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = Some(same_site);
        self
    }

    /// For pages that other sites embed: a browser keeps one such cookie for each site that does
    /// (CHIPS, `Partitioned`). It is then `SameSite=None`, so use a CSRF check.
    ///
    /// Where such a cookie is set and the request had one of this name, the response also removes
    /// that of the time before it was partitioned: browsers would send both, and neither counts.
    ///
    /// Refused: without `Secure`, and with another `SameSite`, with which no embedded page gets it.
    #[must_use]
    pub fn with_partitioned(mut self) -> Self {
        self.is_partitioned = true;
        self
    }

    /// Without `Max-Age`: it is gone when the browser is closed, unless that restores its tabs.
    #[must_use]
    pub fn with_browser_session(mut self) -> Self {
        self.kept = Kept::ByBrowser;
        self
    }

    /// Without `HttpOnly`: any script on any page of the host, injected ones too, can then read the
    /// token and take the session elsewhere.
    ///
    /// Refused with the prefixes `__Http-` and `__Host-Http-`.
    #[must_use]
    pub fn with_exposure_to_scripts(mut self) -> Self {
        self.is_http_only = false;
        self
    }

    /// Signs the token with these keys, so that what they did not sign costs no call to the
    /// backend.
    ///
    /// The value is then the token and 144 bits of keyed BLAKE3 over the cookie's name and the
    /// token, 88 characters. A token without signature is no token, also one of the time
    /// before: adding keys logs everybody out.
    ///
    /// Refused together with encryption, which authenticates too.
    #[cfg(feature = "signed-cookies")]
    #[cfg_attr(docsrs, doc(cfg(feature = "signed-cookies")))]
    #[must_use]
    pub fn with_signing_keys(mut self, keys: KeyRing) -> Self {
        self.signing_keys = Some(keys);
        self
    }

    /// Encrypts the token with these keys (AES-256-GCM, the cookie's name as associated data), so
    /// that the cookie shows not even which session it is; 124 characters.
    ///
    /// A token in clear is no token, also one of the time before: adding keys logs everybody
    /// out.
    ///
    /// Refused together with signatures.
    #[cfg(feature = "private-cookies")]
    #[cfg_attr(docsrs, doc(cfg(feature = "private-cookies")))]
    #[must_use]
    pub fn with_encryption_keys(mut self, keys: KeyRing) -> Self {
        self.encryption_keys = Some(keys);
        self
    }

    /// The name, with its prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn domain(&self) -> Option<&str> {
        self.domain.as_deref()
    }

    /// As it is sent: what was said, or what suits the other settings.
    pub(super) fn same_site(&self) -> SameSite {
        let suitable = if self.is_partitioned {
            SameSite::None
        } else {
            SameSite::Lax
        };
        self.same_site.unwrap_or(suitable)
    }

    pub(super) fn is_secure(&self) -> bool {
        self.is_secure
    }

    pub(super) fn is_http_only(&self) -> bool {
        self.is_http_only
    }

    pub(super) fn is_partitioned(&self) -> bool {
        self.is_partitioned
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    #[cfg(feature = "signed-cookies")]
    pub(super) fn signing_keys(&self) -> Option<&KeyRing> {
        self.signing_keys.as_ref()
    }

    #[cfg(feature = "private-cookies")]
    pub(super) fn encryption_keys(&self) -> Option<&KeyRing> {
        self.encryption_keys.as_ref()
    }
}

impl Default for SessionCookie {
    fn default() -> Self {
        Self {
            name: "__Host-id".into(),
            path: "/".into(),
            domain: None,
            same_site: None,
            is_secure: true,
            is_http_only: true,
            is_partitioned: false,
            kept: Kept::ToDeadline,
            #[cfg(feature = "signed-cookies")]
            signing_keys: None,
            #[cfg(feature = "private-cookies")]
            encryption_keys: None,
        }
    }
}

impl SameSite {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "Strict",
            Self::Lax => "Lax",
            Self::None => "None",
        }
    }
}
