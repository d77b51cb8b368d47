//! Before a tonic service, asked by a real tonic client.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tonic::{
    Code,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt as _;
use tower_stash::{
    backend::MemoryBackend,
    policy::{KeyExtractor as _, Routes, header},
    rate_limit::{Quota, RateLimitLayer, RateLimitRule},
    respond::{GrpcCode, GrpcStatus, Respond},
};

async fn limited_health_service(policy: Routes<RateLimitRule>) -> HealthClient<Channel> {
    limited_health_service_that_says(policy, GrpcStatus).await
}

async fn limited_health_service_that_says(
    policy: Routes<RateLimitRule>,
    respond: impl Respond<tonic::body::Body> + Clone,
) -> HealthClient<Channel> {
    let layer = RateLimitLayer::new(MemoryBackend::new(), policy)
        .expect("a valid layer")
        .with_respond(respond);
    let (_, health) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let endpoint = Endpoint::from_static("http://limited.example");
    let connect =
        tower::service_fn(
            move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) },
        );
    HealthClient::new(
        endpoint
            .connect_with_connector(connect)
            .await
            .expect("a connection"),
    )
}

fn rule(limit: u64) -> RateLimitRule {
    let quota = Quota::sliding(limit, Duration::from_secs(60));
    RateLimitRule::new(
        "check",
        header("x-api-key").or_reject(),
        [("minute", quota)],
    )
    .expect("a valid rule")
}

fn check(key: Option<&'static str>) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest {
        service: String::new(),
    });
    if let Some(key) = key {
        request
            .metadata_mut()
            .insert("x-api-key", key.parse().expect("a valid header"));
    }
    request
}

#[tokio::test]
async fn a_denied_call_is_resource_exhausted_with_a_push_back() {
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Check", rule(2));
    let mut client = limited_health_service(policy).await;
    for _ in 0..2 {
        client
            .check(check(Some("k")))
            .await
            .expect("within the limit");
    }
    let status = client
        .check(check(Some("k")))
        .await
        .expect_err("above the limit");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(
        status.message(),
        "Request cannot be satisfied as assigned quota has been exceeded"
    );
    let push_back = status
        .metadata()
        .get("grpc-retry-pushback-ms")
        .expect("a push-back")
        .to_str()
        .unwrap();
    let millis: u64 = push_back.parse().unwrap();
    assert!((59_000..=60_000).contains(&millis), "{millis}");

    client
        .check(check(Some("other")))
        .await
        .expect("another key has its own limit");
}

#[tokio::test]
async fn a_denied_call_says_in_details_which_limit_and_until_when() {
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Check", rule(1));
    let mut client = limited_health_service(policy).await;
    client
        .check(check(Some("k")))
        .await
        .expect("within the limit");
    let status = client
        .check(check(Some("k")))
        .await
        .expect_err("above the limit");

    let retry = status.get_details_retry_info().expect("a RetryInfo");
    let delay = retry.retry_delay.expect("a delay");
    assert!(
        (Duration::from_secs(59)..=Duration::from_secs(60)).contains(&delay),
        "{delay:?}"
    );
    let failure = status.get_details_quota_failure().expect("a QuotaFailure");
    let violations: Vec<_> = failure
        .violations
        .iter()
        .map(|violation| (&*violation.subject, &*violation.description))
        .collect();
    assert_eq!(violations, [("check.minute", status.message())]);
}

#[tokio::test]
async fn a_denied_call_has_the_code_that_clients_retry_if_so_asked() {
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Check", rule(1));
    let respond = GrpcStatus.with_denial_code(GrpcCode::UNAVAILABLE);
    let mut client = limited_health_service_that_says(policy, respond).await;
    client
        .check(check(Some("k")))
        .await
        .expect("within the limit");
    let denied = client
        .check(check(Some("k")))
        .await
        .expect_err("above the limit");
    assert_eq!(denied.code(), Code::Unavailable);
    assert!(denied.metadata().contains_key("grpc-retry-pushback-ms"));
    assert!(denied.get_details_retry_info().is_some());

    let nameless = client
        .check(check(None))
        .await
        .expect_err("there is no key");
    assert_eq!(nameless.code(), Code::InvalidArgument);
    assert!(nameless.details().is_empty());
}

#[tokio::test]
async fn a_call_without_its_key_is_an_invalid_argument() {
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Check", rule(2));
    let mut client = limited_health_service(policy).await;
    let status = client
        .check(check(None))
        .await
        .expect_err("there is no key");
    assert_eq!(status.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_call_that_no_rule_names_passes() {
    let policy = Routes::new().grpc("/grpc.health.v1.Health/Watch", rule(1));
    let mut client = limited_health_service(policy).await;
    for _ in 0..3 {
        client.check(check(None)).await.expect("not limited");
    }
}
