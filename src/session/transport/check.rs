//! Which cookies browsers take.
//!
//! The drafts are `ietf-httpbis-rfc6265bis-22` ("6265bis") and `ietf-httpbis-layered-cookies`
//! ("layered"), which adds the two prefixes with `Http`.

use std::{net::IpAddr, time::Duration};

use http::HeaderName;

use super::{SameSite, SessionCookie, cookie::Kept, values::Values};
use crate::error::ConfigError;

/// Refuses what browsers would drop, and what cannot do what it says.
pub(super) fn check(cookie: &SessionCookie) -> Result<(), ConfigError> {
    check_name(cookie)?;
    check_path(cookie)?;
    check_domain(cookie)?;
    check_same_site(cookie)?;
    check_partitioned(cookie)?;
    check_keys(cookie)?;
    Prefix::of(cookie.name()).map_or(Ok(()), |prefix| prefix.check(cookie))
}

/// Refuses sessions that outlive their cookie (6265bis, "Cookie Lifetime Limits").
pub(super) fn check_lifetime(
    cookie: &SessionCookie,
    lifetime: Duration,
) -> Result<(), ConfigError> {
    if lifetime <= MAX_AGE || cookie.kept() == Kept::ByBrowser {
        return Ok(());
    }
    Err(refused(
        cookie,
        "browsers keep no cookie for more than 400 days; write an absolute time-out of 400 days or \
         less, or a cookie with_browser_session()",
    ))
}

/// What the beginning of a name makes browsers demand (6265bis, "Cookie Name Prefixes").
#[derive(Debug)]
pub(super) struct Prefix {
    text: &'static str,
    is_host: bool,
    is_http: bool,
}

impl Prefix {
    /// The longest prefix of this name. Browsers look for it in any case.
    pub(super) fn of(name: &str) -> Option<&'static Self> {
        PREFIXES.iter().find(|prefix| prefix.begins(name))
    }

    fn begins(&self, name: &str) -> bool {
        let start = name.get(..self.text.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(self.text))
    }

    fn check(&self, cookie: &SessionCookie) -> Result<(), ConfigError> {
        let text = self.text;
        let refuse = |advice: &str| Err(refused(cookie, advice));
        // Older browsers find it in this case only, and would protect nothing.
        if !cookie.name().starts_with(text) {
            return refuse(&format!(
                "spell its prefix {text:?}, as all browsers know it"
            ));
        }
        if !cookie.is_secure() {
            return refuse(&format!(
                "browsers drop {text} cookies that are not Secure; write a name without prefix, or \
                 begin with SessionCookie::default()"
            ));
        }
        if self.is_http && !cookie.is_http_only() {
            return refuse(&format!(
                "browsers drop {text} cookies that scripts can read; leave out \
                 with_exposure_to_scripts(), or write a name with another prefix"
            ));
        }
        if self.is_host && cookie.domain().is_some() {
            return refuse(&format!(
                "browsers drop {text} cookies with a domain; leave it out, or write \
                 with_name(\"__Secure-id\")"
            ));
        }
        if self.is_host && cookie.path() != "/" {
            return refuse(&format!(
                "browsers drop {text} cookies with another path than \"/\"; leave it out, or write \
                 with_name(\"__Secure-id\")"
            ));
        }
        Ok(())
    }
}

fn check_name(cookie: &SessionCookie) -> Result<(), ConfigError> {
    // A cookie's name is a token, as a header's is.
    if HeaderName::try_from(cookie.name()).is_err() {
        return Err(refused(
            cookie,
            "not a cookie name; write one of letters, digits, '-' and '_'",
        ));
    }
    // 6265bis, "Storage Model": of name and value together.
    if cookie.name().len() + Values::MAX_LEN > MAX_LEN {
        return Err(refused(
            cookie,
            "browsers drop so long a cookie; write a shorter name",
        ));
    }
    Ok(())
}

fn check_path(cookie: &SessionCookie) -> Result<(), ConfigError> {
    let path = cookie.path();
    if !path.starts_with('/') {
        let advice = "begin its path with \"/\"; browsers make one up otherwise";
        return Err(refused(cookie, advice));
    }
    let is_sent = |byte: u8| byte.is_ascii_graphic() && !b";?#".contains(&byte);
    if !path.bytes().all(is_sent) {
        return Err(refused(
            cookie,
            "its path is none that a browser requests; write it as it is in a URL, percent-encoded",
        ));
    }
    if path.len() > MAX_ATTRIBUTE_LEN {
        let advice = "browsers ignore a path of more than 1024 bytes; write a shorter one";
        return Err(refused(cookie, advice));
    }
    Ok(())
}

/// 6265bis, "The Domain Attribute" and "Storage Model".
fn check_domain(cookie: &SessionCookie) -> Result<(), ConfigError> {
    let Some(domain) = cookie.domain() else {
        return Ok(());
    };
    let refuse = |advice: &str| Err(refused(cookie, advice));
    if domain.starts_with('.') {
        return refuse("write its domain without the dot in front; subdomains have it anyway");
    }
    if domain.parse::<IpAddr>().is_ok() {
        return refuse("browsers drop cookies whose domain is an address; leave the domain out");
    }
    let labels = || domain.split('.');
    if domain.len() > MAX_DOMAIN_LEN || !labels().all(is_label) {
        return refuse(
            "its domain is no host name; write one such as \"shop.example\", without scheme or port, \
             and in ASCII (\"xn--…\")",
        );
    }
    // The last label of an address may be all there is of it (URL Standard, "ends in a number").
    if labels().next_back().is_some_and(is_number) {
        return refuse("browsers drop cookies whose domain is an address; leave the domain out");
    }
    if labels().count() == 1 {
        return refuse("browsers drop cookies for a whole top-level domain; leave the domain out");
    }
    Ok(())
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

fn is_number(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_digit())
}

/// 6265bis, "Storage Model".
fn check_same_site(cookie: &SessionCookie) -> Result<(), ConfigError> {
    if cookie.is_secure() || cookie.same_site() != SameSite::None || cookie.is_partitioned() {
        return Ok(());
    }
    Err(refused(
        cookie,
        "browsers drop SameSite=None cookies that are not Secure; write another SameSite, or begin \
         with SessionCookie::default()",
    ))
}

fn check_partitioned(cookie: &SessionCookie) -> Result<(), ConfigError> {
    if !cookie.is_partitioned() {
        return Ok(());
    }
    if !cookie.is_secure() {
        return Err(refused(
            cookie,
            "browsers drop Partitioned cookies that are not Secure; leave out with_partitioned(), \
             or begin with SessionCookie::default()",
        ));
    }
    if cookie.same_site() != SameSite::None {
        return Err(refused(
            cookie,
            "no embedded page gets a partitioned cookie that is SameSite=Lax or Strict; leave out \
             with_same_site(..), or with_partitioned()",
        ));
    }
    Ok(())
}

#[cfg(all(feature = "signed-cookies", feature = "private-cookies"))]
fn check_keys(cookie: &SessionCookie) -> Result<(), ConfigError> {
    if cookie.signing_keys().is_none() || cookie.encryption_keys().is_none() {
        return Ok(());
    }
    Err(refused(
        cookie,
        "what is encrypted needs no signature; write with_signing_keys(..) or \
         with_encryption_keys(..)",
    ))
}

#[cfg(not(all(feature = "signed-cookies", feature = "private-cookies")))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "with both features two kinds of keys may meet"
)]
fn check_keys(_: &SessionCookie) -> Result<(), ConfigError> {
    Ok(())
}

fn refused(cookie: &SessionCookie, advice: &str) -> ConfigError {
    ConfigError::new(format!("session cookie {:?}: {advice}", cookie.name()))
}

/// Longer ones before those that they begin with.
const PREFIXES: [Prefix; 4] = [
    Prefix {
        text: "__Host-Http-",
        is_host: true,
        is_http: true,
    },
    Prefix {
        text: "__Host-",
        is_host: true,
        is_http: false,
    },
    Prefix {
        text: "__Secure-",
        is_host: false,
        is_http: false,
    },
    Prefix {
        text: "__Http-",
        is_host: false,
        is_http: true,
    },
];

/// Browsers keep a cookie for no longer.
const MAX_AGE: Duration = Duration::from_secs(400 * 24 * 3_600);

/// Of a name and its value.
const MAX_LEN: usize = 4_096;

const MAX_ATTRIBUTE_LEN: usize = 1_024;

const MAX_DOMAIN_LEN: usize = 253;
