//! A key without a layer, for tests.

use http::{HeaderMap, HeaderName};

use super::key_syntax::{KeyProblem, KeySyntax};

#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
impl KeySyntax {
    /// The key in the field of this name, if there is one; for tests.
    ///
    /// # Errors
    ///
    /// What a client is told of a field that holds none.
    pub fn key_in(
        self,
        headers: &HeaderMap,
        name: &HeaderName,
    ) -> Result<Option<String>, &'static str> {
        let key = self.read(headers, name).map_err(KeyProblem::as_str)?;
        Ok(key.map(|key| key.as_str().to_owned()))
    }
}
