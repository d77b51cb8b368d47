//! A gRPC service whose clients log in and out, and a client that keeps its session.
//!
//! ```sh
//! cargo run --example session_tonic --features full
//! REDIS_URL=redis://127.0.0.1:6379 cargo run --example session_tonic --features full
//! ```
//!
//! Its messages are gRPC's wrappers (`StringValue`, `Empty`), so that nothing has to be generated.

use std::{convert::Infallible, env, error::Error, net::SocketAddr, sync::Arc};

use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tonic::{
    Code, Request, Response, Status,
    body::Body,
    client,
    metadata::{AsciiMetadataValue, MetadataMap},
    server,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;
use tower::service_fn;
use tower_stash::{
    backend::{AnyBackend, MemoryBackend, RedisBackend},
    policy::Routes,
    respond::GrpcStatus,
    session::{HeaderTransport, Session, SessionError, SessionLayer, SessionRule, Sessions},
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
    let native = SessionRule::new("native")?.with_header_transport(HeaderTransport::default())?;
    let routes = Routes::new()
        .grpc(LOG_IN, native.clone())
        .grpc("/shop.Accounts/{method}", native.with_required_user());
    let sessions = SessionLayer::new(backend.clone(), routes)?
        .with_users(backend)?
        .with_respond(GrpcStatus);
    let accounts = Accounts {
        sessions: sessions.handle(),
    };
    let server = Server::builder().layer(sessions).add_service(accounts);
    server
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}

#[derive(Clone)]
struct Accounts {
    sessions: Sessions,
}

impl Accounts {
    /// Whoever says who they are is believed.
    async fn log_in(&self, request: Request<String>) -> Result<Response<()>, Status> {
        let session = session(&request)?;
        let ticket = self.sessions.begin_login(request.into_inner()).await;
        let ticket = ticket.map_err(refused)?;
        session.login(ticket).await.map_err(refused)?;
        Ok(Response::new(()))
    }

    async fn who_am_i(&self, request: Request<()>) -> Result<Response<String>, Status> {
        let user = session(&request)?.user().await.map_err(refused)?;
        Ok(Response::new(user.unwrap_or_default()))
    }

    async fn log_out(&self, request: Request<()>) -> Result<Response<()>, Status> {
        session(&request)?.destroy().await.map_err(refused)?;
        Ok(Response::new(()))
    }
}

/// The session that the layer put into a request; the same in an interceptor.
fn session<T>(request: &Request<T>) -> Result<Session, Status> {
    let session = request.extensions().get::<Session>().cloned();
    session.ok_or_else(|| Status::internal("no session layer"))
}

fn refused(error: SessionError) -> Status {
    let code = Code::from(i32::from(error.grpc_code().as_u8()));
    let mut status = Status::new(code, error.to_string());
    status.set_source(Arc::new(error));
    status
}

// === The client ===

async fn use_it(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    let endpoint = Endpoint::try_from(format!("http://{address}"))?;
    let mut client = Client {
        grpc: client::Grpc::new(endpoint.connect().await?),
        token: None,
    };
    for step in [WHO_AM_I, LOG_IN, WHO_AM_I, LOG_OUT, WHO_AM_I] {
        let answer = match step {
            LOG_IN => client
                .call(step, "ada".to_owned())
                .await
                .map(|()| "done".to_owned()),
            LOG_OUT => client.call(step, ()).await.map(|()| "done".to_owned()),
            _ => client.call(step, ()).await,
        };
        match answer {
            Ok(answer) => println!("{step}: {answer}"),
            Err(status) => println!("{step}: {:?}, {}", status.code(), status.message()),
        }
    }
    Ok(())
}

/// Sends its session's token along, and keeps what answers say of it.
struct Client {
    grpc: client::Grpc<Channel>,
    token: Option<AsciiMetadataValue>,
}

impl Client {
    async fn call<A, B>(&mut self, method: &'static str, message: A) -> Result<B, Status>
    where
        ProstCodec<A, B>: tonic::codec::Codec<Encode = A, Decode = B>,
        A: Send + Sync + 'static,
        B: Send + Sync + 'static,
    {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("x-session", token.clone());
        }
        let ready = self.grpc.ready().await;
        ready.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static(method);
        let answer = self.grpc.unary(request, path, ProstCodec::default()).await;
        // An error can tell of the session as well.
        self.keep(match &answer {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        });
        answer.map(Response::into_inner)
    }

    /// A new token, or an empty one: then there is no session any more.
    fn keep(&mut self, metadata: &MetadataMap) {
        if let Some(token) = metadata.get("x-session-set") {
            self.token = (!token.is_empty()).then(|| token.clone());
        }
    }
}

// === What would be generated ===

impl tower::Service<http::Request<Body>> for Accounts {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let accounts = self.clone();
        Box::pin(async move {
            Ok(match request.uri().path() {
                LOG_IN => {
                    let method = service_fn(|request| accounts.log_in(request));
                    server::Grpc::new(ProstCodec::default())
                        .unary(method, request)
                        .await
                }
                WHO_AM_I => {
                    let method = service_fn(|request| accounts.who_am_i(request));
                    server::Grpc::new(ProstCodec::default())
                        .unary(method, request)
                        .await
                }
                LOG_OUT => {
                    let method = service_fn(|request| accounts.log_out(request));
                    server::Grpc::new(ProstCodec::default())
                        .unary(method, request)
                        .await
                }
                _ => Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

impl server::NamedService for Accounts {
    const NAME: &'static str = "shop.Accounts";
}

const LOG_IN: &str = "/shop.Accounts/LogIn";
const WHO_AM_I: &str = "/shop.Accounts/WhoAmI";
const LOG_OUT: &str = "/shop.Accounts/LogOut";
