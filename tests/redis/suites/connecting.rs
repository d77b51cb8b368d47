//! Ways to connect, and what is said when it does not work.

use std::time::Duration;

use libtest_mimic::Trial;
use tokio::time::timeout;
use tower_stash::backend::{BackendErrorKind, RedisBackend, RedisConfig};

use super::connect;
use crate::{
    servers::{Result, Servers, Topology, eventually, standalone::Server},
    trial::{Bed, trials},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    trials!(bed, "connecting":
        Standalone::a_unix_socket_works
        Standalone::a_lazy_backend_is_there_before_its_server
        Standalone::an_address_that_is_none_says_what_to_write
        Standalone::the_longest_time_out_overflows_nothing
        Standalone::a_user_who_may_not_run_scripts_is_told_at_once
        Standalone::a_database_that_is_not_there_is_a_configuration_error
        Standalone::database_zero_needs_no_permission
        Standalone::something_of_another_type_is_corrupt
        Tls::an_untrusted_certificate_is_refused
        Tls::a_wrong_password_is_a_configuration_error_without_the_password
        Tls::another_namespace_is_a_configuration_error
    )
}

async fn a_unix_socket_works(servers: &Servers) -> Result<()> {
    let url = servers.standalone().await?.socket_url();
    connect(url.into()).await?.ping().await?;
    Ok(())
}

async fn a_lazy_backend_is_there_before_its_server(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.kill()?;
    let config = RedisConfig::new(&server.url())?.with_lazy_connect();
    let backend = timeout(Duration::from_secs(1), RedisBackend::connect(config)).await??;
    let refused = timeout(Duration::from_secs(1), backend.ping()).await?;
    assert!(refused.is_err());
    server.restart().await?;
    eventually("the backend has connected", async || {
        Ok(backend.ping().await.is_ok())
    })
    .await
}

async fn a_user_who_may_not_run_scripts_is_told_at_once(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let may = ["+ping", "+info", "+client", "+get", "+set", "~*", "&*"];
    let user = ["ACL", "SETUSER", "weak", "on", ">secret", "-@all"];
    server.call(&[&user[..], &may[..]].concat()).await?;
    let url = format!("redis://weak:secret@127.0.0.1:{}", server.port());
    let error = RedisBackend::connect(url)
        .await
        .err()
        .ok_or("it connected")?;
    assert_eq!(error.kind(), BackendErrorKind::Misconfigured, "{error:?}");
    assert!(format!("{error:?}").contains("NOPERM"), "{error:?}");
    Ok(())
}

async fn the_longest_time_out_overflows_nothing(servers: &Servers) -> Result<()> {
    let url = servers.standalone().await?.url();
    let config = RedisConfig::new(&url)?.with_command_timeout(Duration::MAX);
    let backend = RedisBackend::connect(config).await?;
    backend.ping().await?;
    backend.close().await;
    Ok(())
}

async fn an_address_that_is_none_says_what_to_write(_: &Servers) -> Result<()> {
    for url in [
        "localhost:6379",
        "http://localhost",
        "redis://",
        "",
        "redis://localhost:port",
    ] {
        let error = RedisBackend::connect(url)
            .await
            .err()
            .ok_or("it connected")?;
        assert_eq!(
            error.kind(),
            BackendErrorKind::Misconfigured,
            "{url}: {error}"
        );
        assert!(error.to_string().contains("redis://"), "{url}: {error}");
    }
    Ok(())
}

async fn a_database_that_is_not_there_is_a_configuration_error(servers: &Servers) -> Result<()> {
    let url = servers.standalone().await?.url();
    connect(format!("{url}/1").into()).await?.ping().await?;
    let error = RedisBackend::connect(format!("{url}/99"))
        .await
        .err()
        .ok_or("it connected")?;
    assert_eq!(error.kind(), BackendErrorKind::Misconfigured, "{error:?}");
    Ok(())
}

async fn database_zero_needs_no_permission(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let all_but_select = [
        "ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-select",
    ];
    server.call(&all_but_select).await?;
    let url = server.url().replace("redis://", "redis://app:secret@");
    connect(format!("{url}/0").into()).await?.ping().await?;
    let error = RedisBackend::connect(format!("{url}/1"))
        .await
        .err()
        .ok_or("it connected")?;
    assert_eq!(error.kind(), BackendErrorKind::Misconfigured, "{error:?}");
    Ok(())
}

async fn something_of_another_type_is_corrupt(_: &Servers) -> Result<()> {
    use tower_stash::{
        backend::{GetOptions, KeyValue as _, PutOptions},
        key::{Key, KeyParts},
    };

    let server = Server::start().await?;
    let backend = connect(server.url().into()).await?;
    let key = Key::custom("record", &KeyParts::new());
    let minute = Duration::from_secs(60);
    let _ = backend
        .put(&key, "value".into(), PutOptions::new(minute))
        .await?;
    let name = server.call(&["KEYS", "*"]).await?.items()[0].to_string();
    server.call(&["DEL", &name]).await?;
    server.call(&["LPUSH", &name, "item"]).await?;
    let error = backend
        .get(&key, GetOptions::new())
        .await
        .err()
        .ok_or("it was read")?;
    assert_eq!(error.kind(), BackendErrorKind::Corrupt, "{error}");
    Ok(())
}

async fn an_untrusted_certificate_is_refused(servers: &Servers) -> Result<()> {
    let url = servers.tls().await?.url();
    let refused = timeout(Duration::from_secs(10), RedisBackend::connect(url)).await?;
    assert!(refused.is_err());
    Ok(())
}

async fn a_wrong_password_is_a_configuration_error_without_the_password(
    servers: &Servers,
) -> Result<()> {
    let server = servers.tls().await?;
    let config = RedisConfig::new(&server.url())?
        .with_ca_certificate(server.ca())
        .with_password("hunter2");
    let error = RedisBackend::connect(config)
        .await
        .err()
        .ok_or("it connected")?;
    assert_eq!(error.kind(), BackendErrorKind::Misconfigured, "{error}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
    Ok(())
}

async fn another_namespace_is_a_configuration_error(servers: &Servers) -> Result<()> {
    use tower_stash::{
        backend::{GetOptions, KeyValue as _},
        key::{Key, KeyParts},
    };

    let backend = connect(servers.address(Topology::Tls).await?)
        .await?
        .with_namespace("another")?;
    let key = Key::custom("record", &KeyParts::new());
    let error = backend
        .get(&key, GetOptions::new())
        .await
        .err()
        .ok_or("it may read")?;
    assert_eq!(error.kind(), BackendErrorKind::Misconfigured, "{error}");
    Ok(())
}
