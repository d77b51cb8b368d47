//! A gRPC service whose payments are made once, and a client that sends them more often.
//!
//! ```sh
//! cargo run --example idempotency_tonic --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example idempotency_tonic --features full
//! ```
//!
//! The key is the metadata `idempotency-key`. Messages are gRPC's wrappers (`UInt32Value`,
//! `StringValue`), so that nothing has to be generated.

use std::{
    convert::Infallible,
    env,
    error::Error,
    net::SocketAddr,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{future::BoxFuture, join};
use http::uri::PathAndQuery;
use tokio::{net::TcpListener, time::sleep};
use tonic::{
    Request, Response, Status,
    body::Body,
    client,
    metadata::MetadataMap,
    server,
    service::InterceptorLayer,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    idempotency::{Execution, IdempotencyLayer, IdempotencyRule, Recovery},
    policy::{KeyExtractor as _, Routes, extension},
    respond::GrpcStatus,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = match env::var("REDIS_URL") {
        Ok(url) => AnyBackend::new(RedisBackend::connect(url).await?),
        Err(_) => AnyBackend::new(MemoryBackend::new()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(serve(listener, backend));
    use_it(address).await
}

// === The service ===

async fn serve(
    listener: TcpListener,
    backend: AnyBackend,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let rule = IdempotencyRule::new("payments", Recovery::ReExecute)?;
    // Only calls that are named: a stream cannot be made to run once.
    let methods = Routes::new().grpc(PAY, rule);
    let scope = extension::<Account>().or_reject();
    let idempotency = IdempotencyLayer::new(backend, scope, methods)?.with_respond(GrpcStatus);

    // The first layer is the outermost: it says who calls before the key is read.
    let server = Server::builder()
        .layer(InterceptorLayer::new(authenticate))
        .layer(idempotency)
        .add_service(Payments);
    server
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

/// The name of an account, whose keys are its own.
type Account = String;

/// Looks the API key up, as a database would.
fn authenticate(mut request: Request<()>) -> Result<Request<()>, Status> {
    let key = request.metadata().get("x-api-key");
    if key.is_none_or(|key| key != "key-of-ada") {
        return Err(Status::unauthenticated("who are you?"));
    }
    request.extensions_mut().insert::<Account>("ada".into());
    Ok(request)
}

#[derive(Clone)]
struct Payments;

impl Payments {
    async fn pay(&self, request: Request<u32>) -> Result<Response<String>, Status> {
        let run = request.extensions().get::<Execution>();
        let run = run.ok_or_else(|| Status::internal("no idempotency layer"))?;
        let (amount, attempt, number) = (request.get_ref(), run.attempt(), run.fence());
        sleep(Duration::from_millis(300)).await; // as if a provider were asked
        match amount {
            // An answer like any other: whoever sends it again gets it again.
            1_000.. => Err(Status::out_of_range("more than you may spend")),
            // One after which clients try again, so the next call makes another attempt.
            13 if attempt == 1 => Err(Status::unavailable("the provider is away")),
            _ => Ok(Response::new(format!(
                "receipt {number} for {amount}, attempt {attempt}"
            ))),
        }
    }
}

// === The client ===

async fn use_it(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::try_from(format!("http://{address}"))?;
    let channel = endpoint.connect().await?;
    // New ones each time: Redis still knows those of the last.
    let nonce = getrandom::u64()?;
    let key = |order: &str| format!("{order}-{nonce:x}");
    let pay = async |key: &str, amount: u32| {
        let answer = call(channel.clone(), key, amount).await;
        let order = key.split('-').next().unwrap_or_default();
        println!("pay {amount:4}, key {order:?}: {}", told(&answer));
        answer
    };

    pay("", 30).await.ok(); // InvalidArgument: the key is missing
    let lamp = key("lamp");
    pay(&lamp, 30).await.ok();
    pay(&lamp, 30).await.ok(); // the same receipt
    pay(&lamp, 31).await.ok(); // FailedPrecondition: the key was for something else

    let chair = key("chair");
    let (_, second) = join!(pay(&chair, 20), async {
        sleep(Duration::from_millis(100)).await;
        pay(&chair, 20).await // Aborted: it is being made
    });
    if let Err(status) = second {
        sleep(pushback(status.metadata()).unwrap_or(Duration::from_secs(1))).await;
        pay(&chair, 20).await.ok(); // the receipt of the first call
    }

    let palace = key("palace");
    pay(&palace, 5_000).await.ok();
    pay(&palace, 5_000).await.ok(); // the same error

    let broom = key("broom");
    pay(&broom, 13).await.ok(); // Unavailable
    pay(&broom, 13).await.ok(); // the second attempt
    Ok(())
}

async fn call(channel: Channel, key: &str, amount: u32) -> Result<Response<String>, Status> {
    let mut request = Request::new(amount);
    let metadata = request.metadata_mut();
    metadata.insert("x-api-key", "key-of-ada".parse().map_err(invalid)?);
    if !key.is_empty() {
        metadata.insert("idempotency-key", key.parse().map_err(invalid)?);
    }
    let mut grpc = client::Grpc::new(channel);
    let ready = grpc.ready().await;
    ready.map_err(|error| Status::unavailable(error.to_string()))?;
    let path = PathAndQuery::from_static(PAY);
    grpc.unary(request, path, ProstCodec::default()).await
}

fn invalid(error: impl Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn told(answer: &Result<Response<String>, Status>) -> String {
    let (text, metadata) = match answer {
        Ok(response) => (response.get_ref().clone(), response.metadata()),
        Err(status) => (
            format!("{:?}, {}", status.code(), status.message()),
            status.metadata(),
        ),
    };
    if metadata.contains_key("idempotent-replayed") {
        return text + " (replayed)";
    }
    match pushback(metadata) {
        Some(wait) => format!("{text} (again in {wait:?})"),
        None => text,
    }
}

/// When the call may be sent again, as gRPC's own retries read it.
fn pushback(metadata: &MetadataMap) -> Option<Duration> {
    let millis = metadata.get("grpc-retry-pushback-ms")?.to_str().ok()?;
    millis.parse().ok().map(Duration::from_millis)
}

// === What would be generated ===

impl tower::Service<http::Request<Body>> for Payments {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                PAY => {
                    let method = service_fn(|request| Self.pay(request));
                    server::Grpc::new(ProstCodec::default())
                        .unary(method, request)
                        .await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl server::NamedService for Payments {
    const NAME: &'static str = "shop.Payments";
}

const PAY: &str = "/shop.Payments/Pay";
