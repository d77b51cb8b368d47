//! TLS through rustls with the ring provider, whatever else the program is built with.

use std::sync::Arc;

use fred::{
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
    rustls_native_certs::load_native_certs,
    types::config::TlsConnector,
};

use crate::error::ConfigError;

/// Whom to trust, and who we are.
#[derive(Clone, Default)]
pub(super) struct Tls {
    /// Certificates in PEM; none for those of the operating system.
    pub(super) authorities: Option<Vec<u8>>,
    /// Certificate chain and private key in PEM.
    pub(super) identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// What opens connections.
    pub(super) fn connector(self) -> Result<TlsConnector, ConfigError> {
        let roots = match &self.authorities {
            Some(pem) => authorities(pem)?,
            None => native_authorities()?,
        };
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ConfigError::new(format!("TLS cannot be set up: {error}")))?
            .with_root_certificates(roots);
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => {
                let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| {
                    ConfigError::new(
                        "the client's private key is not PEM; write the text from -----BEGIN PRIVATE KEY----- on",
                    )
                })?;
                builder
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(|error| {
                        ConfigError::new(format!("the client certificate cannot be used: {error}"))
                    })?
            }
        };
        Ok(config.into())
    }
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(pem)? {
        roots.add(certificate).map_err(|error| {
            ConfigError::new(format!("a CA certificate cannot be used: {error}"))
        })?;
    }
    Ok(roots)
}

fn native_authorities() -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    // One broken file among the system's does not spoil the others.
    let (usable, _) = roots.add_parsable_certificates(load_native_certs().certs);
    if usable == 0 {
        return Err(ConfigError::new(
            "this system trusts no certificate authority; install ca-certificates, or write with_ca_certificate(..)",
        ));
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .unwrap_or_default();
    if certificates.is_empty() {
        return Err(ConfigError::new(
            "no certificate found; write the text from -----BEGIN CERTIFICATE----- on",
        ));
    }
    Ok(certificates)
}
