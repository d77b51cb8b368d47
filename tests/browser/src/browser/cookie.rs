//! A cookie as the browser keeps it.

use std::fmt;

use serde::Deserialize;

/// What `Storage.getCookies` says of one cookie.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// With a dot in front where the cookie goes to subdomains too.
    pub(crate) domain: String,
    pub(crate) path: String,
    /// Seconds since 1970, or -1 for a cookie that ends with the browser.
    pub(crate) expires: f64,
    pub(crate) http_only: bool,
    pub(crate) secure: bool,
    /// Whether it ends with the browser.
    pub(crate) session: bool,
    pub(crate) same_site: Option<String>,
    pub(crate) partition_key: Option<PartitionKey>,
}

/// The site at the top of the page in which a partitioned cookie was set.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PartitionKey {
    pub(crate) top_level_site: String,
}

impl fmt::Display for Cookie {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}={} at {}{}",
            self.name, self.value, self.domain, self.path
        )?;
        if let Some(key) = &self.partition_key {
            write!(formatter, " under {}", key.top_level_site)?;
        }
        Ok(())
    }
}
