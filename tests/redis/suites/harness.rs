//! The servers and the controls themselves: what other tests lean on has to hold.

use std::{path::Path, process::Stdio, time::Duration};

use libtest_mimic::Trial;
use tokio::{
    net::{TcpStream, UnixStream},
    process::Command,
    time::timeout,
};

use crate::{
    servers::{
        Result, Servers, Topology,
        proxy::{Network, Proxy},
        resp::{Connection, Reply},
        sentinel::Sentinel,
        standalone::Server,
        tls::TlsServer,
        valkey,
    },
    trial::{Bed, namespace},
};

pub(crate) fn trials(bed: &Bed) -> Vec<Trial> {
    use Topology::{Cluster, Sentinel, Standalone, Tls, Valkey};
    let mut trials: Vec<_> = Topology::ALL
        .into_iter()
        .map(|topology| {
            bed.trial(topology, "the_address_answers", async move |servers| {
                the_address_answers(servers, topology).await
            })
        })
        .collect();
    macro_rules! add {
        ($($topology:ident :: $test:ident)*) => {
            $(trials.push(bed.trial($topology, stringify!($test), $test));)*
        };
    }
    add! {
        Standalone::a_written_key_is_read_over_tcp_and_over_the_socket
        Standalone::calls_are_counted_by_command
        Standalone::a_paused_server_accepts_and_answers_when_it_goes_on
        Standalone::a_killed_server_refuses_until_it_is_restarted_empty
        Standalone::a_proxy_passes_requests_and_answers
        Standalone::a_proxy_that_loses_replies_still_lets_requests_act
        Standalone::a_proxy_delays_replies
        Standalone::a_cut_proxy_breaks_connections_until_it_passes_again
        Standalone::a_stalled_proxy_is_silent_to_old_connections_and_passes_new_ones
        Standalone::only_what_clients_send_is_monitored
        Standalone::namespaces_differ
        Valkey::the_server_is_valkey
        Tls::the_user_of_the_readme_is_denied_other_keys_and_commands
        Tls::a_server_without_a_trusted_certificate_is_refused
        Tls::the_default_user_may_not_even_ping
        Cluster::each_node_has_a_third_of_the_slots_and_redirects_for_the_others
        Sentinel::a_failover_makes_the_replica_the_primary
        Sentinel::a_killed_primary_is_replaced
    }
    trials
}

// === Every topology ===

async fn the_address_answers(servers: &Servers, topology: Topology) -> Result<()> {
    let address = servers.address(topology).await?;
    let (scheme, rest) = address.url.split_once("://").ok_or("no scheme")?;
    let port = rest
        .split('?')
        .next()
        .and_then(|authority| authority.rsplit(':').next())
        .ok_or("no port")?
        .parse()?;
    if let Some(ca) = address.ca {
        assert_eq!(scheme, "rediss");
        assert!(ca.starts_with("-----BEGIN CERTIFICATE-----"));
        let server = servers.tls().await?;
        assert_eq!(tls_cli(server, &["PING"]).await?, "PONG");
    } else {
        let mut connection = Connection::to_port(port).await?;
        assert_eq!(connection.call(&["PING"]).await?, "PONG");
    }
    Ok(())
}

// === One server ===

async fn a_written_key_is_read_over_tcp_and_over_the_socket(servers: &Servers) -> Result<()> {
    let server = servers.standalone().await?;
    let key = namespace();
    let path = server.socket_url();
    let path = path.strip_prefix("redis+unix://").ok_or("no socket")?;

    let mut over_tcp = Connection::<TcpStream>::to_port(server.port()).await?;
    let mut over_socket = Connection::<UnixStream>::to_socket(path.as_ref()).await?;
    assert_eq!(over_tcp.call(&["GET", &key]).await?, Reply::Nil);
    assert_eq!(over_tcp.call(&["SET", &key, "a\r\nb"]).await?, "OK");
    assert_eq!(over_socket.call(&["GET", &key]).await?, "a\r\nb");
    Ok(())
}

async fn calls_are_counted_by_command(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.call(&["CONFIG", "RESETSTAT"]).await?;
    for _ in 0..3 {
        server.call(&["GET", "a"]).await?;
    }
    let calls = server.commandstats().await?;
    assert_eq!(calls.get("get"), Some(&3));
    assert_eq!(calls.get("config|resetstat"), Some(&1));
    assert_eq!(calls.get("set"), None);
    Ok(())
}

async fn a_paused_server_accepts_and_answers_when_it_goes_on(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    server.pause()?;
    let mut connection = Connection::to_port(server.port()).await?;
    {
        let ping = connection.call(&["PING"]);
        tokio::pin!(ping);
        let early = timeout(Duration::from_millis(100), &mut ping).await;
        assert!(early.is_err(), "a paused server answered: {early:?}");
        server.resume()?;
        assert_eq!(ping.await?, "PONG");
    }
    server.pause()?;
    Ok(())
}

async fn a_killed_server_refuses_until_it_is_restarted_empty(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let mut connection = Connection::to_port(server.port()).await?;
    connection.call(&["SET", "a", "1"]).await?;

    server.kill()?;
    assert!(connection.call(&["PING"]).await.is_err());
    assert!(Connection::to_port(server.port()).await.is_err());
    assert!(server.kill().is_err(), "a server was killed twice");

    server.restart().await?;
    let mut connection = Connection::to_port(server.port()).await?;
    assert_eq!(connection.call(&["GET", "a"]).await?, Reply::Nil);
    Ok(())
}

// === The proxy ===

async fn a_proxy_passes_requests_and_answers(servers: &Servers) -> Result<()> {
    let proxy = Proxy::start(servers.standalone().await?.port()).await?;
    assert_eq!(proxy.url(), format!("redis://127.0.0.1:{}", proxy.port()));
    let mut connection = Connection::to_port(proxy.port()).await?;
    let long = "x".repeat(1 << 20);
    assert_eq!(connection.call(&["ECHO", &long]).await?, long.as_str());
    Ok(())
}

async fn a_proxy_that_loses_replies_still_lets_requests_act(servers: &Servers) -> Result<()> {
    let server = servers.standalone().await?;
    let proxy = Proxy::start(server.port()).await?;
    let key = namespace();
    let mut connection = Connection::to_port(proxy.port()).await?;
    assert_eq!(connection.call(&["PING"]).await?, "PONG");

    proxy.set(Network::LosesReplies);
    let wait = Duration::from_millis(200);
    let lost = timeout(wait, connection.call(&["INCR", &key])).await;
    assert!(lost.is_err(), "the reply arrived: {lost:?}");
    assert_eq!(server.call(&["GET", &key]).await?, "1");
    Ok(())
}

async fn a_proxy_delays_replies(servers: &Servers) -> Result<()> {
    let proxy = Proxy::start(servers.standalone().await?.port()).await?;
    proxy.set(Network::DelaysReplies(Duration::from_millis(200)));
    let mut connection = Connection::to_port(proxy.port()).await?;
    let ping = connection.call(&["PING"]);
    tokio::pin!(ping);
    let early = timeout(Duration::from_millis(100), &mut ping).await;
    assert!(early.is_err(), "the reply came at once: {early:?}");
    assert_eq!(ping.await?, "PONG");
    Ok(())
}

async fn a_cut_proxy_breaks_connections_until_it_passes_again(servers: &Servers) -> Result<()> {
    let proxy = Proxy::start(servers.standalone().await?.port()).await?;
    let mut old = Connection::to_port(proxy.port()).await?;
    assert_eq!(old.call(&["PING"]).await?, "PONG");

    proxy.set(Network::Cut);
    assert!(old.call(&["PING"]).await.is_err());
    let mut new = Connection::to_port(proxy.port()).await?;
    assert!(new.call(&["PING"]).await.is_err());

    proxy.set(Network::Passes);
    let mut newer = Connection::to_port(proxy.port()).await?;
    assert_eq!(newer.call(&["PING"]).await?, "PONG");

    proxy.set(Network::Cut);
    proxy.set(Network::Passes);
    assert!(newer.call(&["PING"]).await.is_err());
    Ok(())
}

async fn a_stalled_proxy_is_silent_to_old_connections_and_passes_new_ones(
    servers: &Servers,
) -> Result<()> {
    let proxy = Proxy::start(servers.standalone().await?.port()).await?;
    let mut old = Connection::to_port(proxy.port()).await?;
    assert_eq!(old.call(&["PING"]).await?, "PONG");

    proxy.set(Network::Stalls);
    let silence = timeout(Duration::from_millis(200), old.call(&["PING"])).await;
    assert!(silence.is_err(), "neither answered nor closed");
    let mut new = Connection::to_port(proxy.port()).await?;
    assert_eq!(new.call(&["PING"]).await?, "PONG");
    Ok(())
}

async fn only_what_clients_send_is_monitored(_: &Servers) -> Result<()> {
    let server = Server::start().await?;
    let mut client = Connection::to_port(server.port()).await?;
    let sent = server
        .commands_during(async {
            let script = "return redis.call('SET', 'key', 'value')";
            client.call(&["EVAL", script, "0"]).await?;
            client.call(&["GET", "key"]).await?;
            server.call(&["GET", "key"]).await?;
            Ok(())
        })
        .await?;
    let names: Vec<_> = sent.iter().map(|sent| &*sent.name).collect();
    assert_eq!(names, ["eval", "get"]);
    assert_eq!(sent[0].client, sent[1].client);
    Ok(())
}

async fn namespaces_differ(_: &Servers) -> Result<()> {
    assert_ne!(namespace(), namespace());
    Ok(())
}

// === Valkey ===

async fn the_server_is_valkey(servers: &Servers) -> Result<()> {
    assert!(valkey::find().is_some());
    let version = servers.valkey().await?.version().await?;
    assert!(version.starts_with("Valkey "), "it is {version}");
    let version = servers.standalone().await?.version().await?;
    assert!(version.starts_with("Redis "), "it is {version}");
    Ok(())
}

// === TLS and the README's user ===

async fn the_user_of_the_readme_is_denied_other_keys_and_commands(_: &Servers) -> Result<()> {
    let tls = TlsServer::start().await?;
    let own = namespace();
    assert_eq!(tls_cli(&tls, &["SET", &own, "1"]).await?, "OK");
    assert_eq!(tls_cli(&tls, &["GET", &own]).await?, "1");
    for denied in [
        &["GET", "other:1"][..],
        &["PUBLISH", "other:1", "1"],
        &["FLUSHALL"],
        &["CONFIG", "GET", "*"],
        &["KEYS", "*"],
    ] {
        let answer = tls_cli(&tls, denied).await?;
        assert!(answer.starts_with("NOPERM"), "{denied:?}: {answer}");
    }

    let log = tls.server().call(&["ACL", "LOG"]).await?;
    assert_eq!(log.items().len(), 5);
    let user = log.items()[0].after("username").ok_or("no user")?;
    assert_eq!(*user, *tls.user().name);
    Ok(())
}

async fn a_server_without_a_trusted_certificate_is_refused(servers: &Servers) -> Result<()> {
    let (ours, other) = (servers.tls().await?, TlsServer::start().await?);
    let answer = tls_cli_trusting(other.ca_file(), ours, &["PING"]).await?;
    assert!(answer.ends_with("certificate verify failed"), "{answer}");
    Ok(())
}

async fn the_default_user_may_not_even_ping(servers: &Servers) -> Result<()> {
    let tls = servers.tls().await?;
    let port = tls.port().to_string();
    let ping = ["--tls", "--insecure", "-p", &port, "PING"];
    let answer = redis_cli(&ping).await?;
    assert!(answer.starts_with("NOAUTH"), "{answer}");
    Ok(())
}

/// Sends a command as the README's user.
async fn tls_cli(server: &TlsServer, command: &[&str]) -> Result<String> {
    tls_cli_trusting(server.ca_file(), server, command).await
}

async fn tls_cli_trusting(ca: &Path, server: &TlsServer, command: &[&str]) -> Result<String> {
    let (ca, url) = (ca.to_string_lossy(), server.url());
    let options = ["--no-auth-warning", "--cacert", &ca, "-u", &url];
    redis_cli(&[&options, command].concat()).await
}

/// What `redis-cli` says, on either output.
async fn redis_cli(arguments: &[&str]) -> Result<String> {
    let output = Command::new("redis-cli")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await?;
    let said = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8(said)?.trim().to_owned())
}

// === Cluster ===

async fn each_node_has_a_third_of_the_slots_and_redirects_for_the_others(
    servers: &Servers,
) -> Result<()> {
    let cluster = servers.cluster().await?;
    let mut owners = Vec::new();
    // The tags lie in slots 3300, 7365 and 15495.
    for tag in ["b", "c", "a"] {
        let key = format!("{}:{{{tag}}}", namespace());
        let owner = cluster.owner_of(&key).await?;
        owners.push(owner.port());
        for node in cluster.nodes() {
            let set = node.call(&["SET", &key, "1"]).await;
            if node.port() == owner.port() {
                assert_eq!(set?, "OK");
            } else {
                let error = set.err().ok_or("another node took the key")?.to_string();
                let to_owner = format!("127.0.0.1:{}", owner.port());
                assert!(error.starts_with("MOVED "), "{error}");
                assert!(error.ends_with(&to_owner), "{error}");
            }
        }
    }
    let nodes: Vec<_> = cluster.nodes().iter().map(Server::port).collect();
    assert_eq!(owners, nodes);
    for port in nodes {
        assert!(cluster.url().contains(&format!("127.0.0.1:{port}")));
    }
    Ok(())
}

// === Sentinel ===

async fn a_failover_makes_the_replica_the_primary(_: &Servers) -> Result<()> {
    let sentinel = Sentinel::start().await?;
    let before = sentinel.primary().await?;
    before.call(&["SET", "a", "1"]).await?;
    before.call(&["WAIT", "1", "1000"]).await?;

    sentinel.failover().await?;
    let after = sentinel.primary().await?;
    assert_ne!(before.port(), after.port());
    assert_eq!(after.call(&["GET", "a"]).await?, "1");
    assert_eq!(after.call(&["SET", "a", "2"]).await?, "OK");
    assert!(before.call(&["SET", "a", "3"]).await.is_err());
    Ok(())
}

async fn a_killed_primary_is_replaced(_: &Servers) -> Result<()> {
    let sentinel = Sentinel::start().await?;
    let before = sentinel.primary().await?;
    before.call(&["SET", "a", "1"]).await?;
    before.call(&["WAIT", "1", "1000"]).await?;

    sentinel.kill_primary().await?;
    let after = sentinel.primary().await?;
    assert_ne!(before.port(), after.port());
    assert_eq!(after.call(&["GET", "a"]).await?, "1");
    Ok(())
}
