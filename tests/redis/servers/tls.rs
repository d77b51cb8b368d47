//! A server that speaks TLS only, to a user who may do what the README says and nothing else.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use super::{
    Result,
    standalone::{Admin, Launch, Server},
};

/// A server behind TLS whose default user is off.
#[derive(Debug)]
pub(crate) struct TlsServer {
    server: Server,
    ca: String,
    ca_file: PathBuf,
    user: User,
}

impl TlsServer {
    pub(crate) async fn start() -> Result<Self> {
        let certificates = Certificates::generate()?;
        let user = User::of_the_readme()?;

        let launch = Launch::new("tls")?;
        let path = |name: &str| launch.directory().join(name);
        let ca_file = path("ca.pem");
        fs::write(&ca_file, &certificates.ca)?;
        fs::write(path("server.pem"), &certificates.server)?;
        fs::write(path("server.key"), &certificates.server_key)?;
        let settings = vec![
            "port 0".to_owned(),
            format!("tls-port {}", launch.port()),
            format!("tls-cert-file \"{}\"", path("server.pem").display()),
            format!("tls-key-file \"{}\"", path("server.key").display()),
            format!("tls-ca-cert-file \"{}\"", ca_file.display()),
            "tls-auth-clients no".to_owned(),
            "user default off".to_owned(),
            format!("user {} on >{} ~* &* +@all", ADMIN.name, ADMIN.password),
            format!("user {}", user.rules),
        ];
        let server = launch.with_settings(settings).with_admin(ADMIN).start();
        Ok(Self {
            server: server.await?,
            ca: certificates.ca,
            ca_file,
            user,
        })
    }

    /// The URL of the server, with the user and the password of the README.
    pub(crate) fn url(&self) -> String {
        let User { name, password, .. } = &self.user;
        format!("rediss://{name}:{password}@localhost:{}", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.server.port()
    }

    /// The certificate to trust, in PEM.
    pub(crate) fn ca(&self) -> &str {
        &self.ca
    }

    /// The file with the certificate to trust.
    pub(crate) fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    pub(crate) fn user(&self) -> &User {
        &self.user
    }

    /// The server as its administrator has it.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }
}

/// The user whom the README tells to create.
#[derive(Debug)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) password: String,
    /// Its name and all that follows, as the server's configuration takes them.
    rules: String,
}

impl User {
    /// Reads the README's line `ACL SETUSER name on >password ..`.
    fn of_the_readme() -> Result<Self> {
        let readme = include_str!("../../../README.md");
        let rules = readme
            .split_once("<!-- acl -->")
            .and_then(|(_, rest)| rest.split_once("<!-- /acl -->"))
            .and_then(|(block, _)| {
                let mut lines = block.lines();
                lines.find_map(|line| line.trim().strip_prefix("ACL SETUSER "))
            })
            .ok_or("the README has no line `ACL SETUSER ..` between its marks `acl`")?;
        let mut words = rules.split_whitespace();
        let name = words.next().ok_or("the README's user has no name")?;
        let password = words
            .find_map(|word| word.strip_prefix('>'))
            .ok_or("the README's user has no password")?;
        Ok(Self {
            name: name.to_owned(),
            password: password.to_owned(),
            rules: rules.to_owned(),
        })
    }
}

/// An authority and what it signed, in PEM.
struct Certificates {
    ca: String,
    server: String,
    server_key: String,
}

impl Certificates {
    fn generate() -> Result<Self> {
        let mut params = CertificateParams::new([])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        // Without a name of its own it would look like the certificate it signs.
        let name = "Authority of the tests";
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(names)?.signed_by(&key, &ca)?;
        Ok(Self {
            ca: ca.pem(),
            server: server.pem(),
            server_key: key.serialize_pem(),
        })
    }
}

const ADMIN: Admin = Admin {
    name: "admin",
    password: "only-for-the-tests",
};
