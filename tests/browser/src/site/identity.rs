//! The servers' certificate, and how the browser knows it.

use std::{fmt, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use ring::digest::{SHA256, digest};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use crate::trial::Result;

/// One self-signed certificate for all hosts.
pub(crate) struct Identity {
    acceptor: TlsAcceptor,
    key_hash: String,
}

impl Identity {
    pub(crate) fn new(hosts: &[&str]) -> Result<Self> {
        let key = KeyPair::generate()?;
        let names: Vec<_> = hosts.iter().map(|&host| host.to_owned()).collect();
        let certificate = CertificateParams::new(names)?.self_signed(&key)?;
        let secret = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], secret)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let public = key.subject_public_key_info();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            key_hash: BASE64_STANDARD.encode(digest(&SHA256, &public)),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// SHA-256 of the public key, in base64.
    ///
    /// A browser told to trust it sees no error at all. Told to ignore all errors, it would see one
    /// and put nothing into its cache.
    pub(crate) fn key_hash(&self) -> &str {
        &self.key_hash
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Identity").finish_non_exhaustive()
    }
}
