//! Mailboxes on a database of their own, and an HTTP server in front of them.

use std::{sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::ServerHandle, middleware::from_fn, web::ServiceConfig};
use omgservers_api::{ClientId, DeploymentId, RuntimeId, UserId, roles::Delivery};
use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_core::{Mint, Ownership};
use omgservers_messaging::{Bounds, Mailboxes, Messaging as _, Op, SCHEMA};
use omgservers_testkit::Foundation;
use serde_json::Value;
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error,
        client::IntoClientRequest as _,
        handshake::client::Response,
        http::{HeaderValue, StatusCode},
    },
};

/// Longer than anything takes, also on a machine whose cores are busy.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// Mailboxes of one user and one deployment.
pub(crate) struct MessagingFixture {
    pub(crate) foundation: Foundation,
    pub(crate) mailboxes: Option<Arc<Mailboxes>>,
    pub(crate) tokens: Arc<Tokens>,
    pub(crate) user: UserId,
    pub(crate) host: String,
    deployment: DeploymentId,
    bounds: Bounds,
    server: Option<ServerHandle>,
}

impl MessagingFixture {
    /// Opens the mailboxes; no server runs yet.
    pub(crate) async fn new(bounds: Bounds) -> Self {
        let foundation = Foundation::new(&[SCHEMA]).await;
        let tokens =
            Arc::new(Tokens::new(Arc::new(Keys::ephemeral()), foundation.clock(), TokenConfig::default()));
        let (user, deployment) = (foundation.mint.root().unwrap(), foundation.mint.root().unwrap());
        let mut fixture = Self {
            foundation,
            mailboxes: None,
            tokens,
            user,
            host: String::new(),
            deployment,
            bounds,
            server: None,
        };
        fixture.open().await;
        fixture
    }

    async fn open(&mut self) {
        let foundation = &self.foundation;
        let (mint, ownership) = (foundation.mint.clone(), foundation.ownership.clone());
        let mailboxes =
            Mailboxes::open(&foundation.db, foundation.clock(), mint, ownership, self.bounds).await;
        self.mailboxes = Some(mailboxes.unwrap());
    }

    /// Starts a server with these routes.
    pub(crate) fn serve(&mut self, routes: impl Fn(&mut ServiceConfig) + Clone + Send + 'static) {
        let app = move || {
            App::new()
                .wrap(from_fn(async |request, next: actix_web::middleware::Next<_>| {
                    let context = omgservers_http::request_context(&request);
                    Ok(omgservers_http::finish(context.scope(next.call(request)).await?))
                }))
                .configure(routes.clone())
        };
        let server = HttpServer::new(app).workers(2).disable_signals().shutdown_timeout(10);
        let server = server.h1_allow_half_closed(false).bind(("127.0.0.1", 0)).unwrap();
        self.host = server.addrs()[0].to_string();
        let server = server.run();
        self.server = Some(server.handle());
        tokio::spawn(server);
    }

    /// Ends the server and opens the mailboxes again as a killed process does: nothing is flushed,
    /// slots and ids are taken again.
    pub(crate) async fn crash(&mut self) {
        self.server.take().unwrap().stop(false).await;
        self.mailboxes = None;
        self.foundation.ownership = Ownership::take(&self.foundation.db, "test").await.unwrap();
        self.foundation.mint = Mint::take(&self.foundation.db).await.unwrap();
        self.open().await;
    }

    /// Stops the server as a server stops itself.
    pub(crate) async fn stop_server(&mut self) {
        self.server.take().unwrap().stop(true).await;
    }

    pub(crate) fn messaging(&self) -> &Mailboxes {
        self.mailboxes.as_ref().unwrap()
    }

    pub(crate) async fn apply(&self, ops: Vec<Op>) {
        self.messaging().apply(ops).unwrap().wait().await.unwrap();
    }

    /// A runtime with a mailbox.
    pub(crate) async fn runtime(&self) -> RuntimeId {
        let (runtime, deployment) = (self.foundation.mint.root().unwrap(), self.deployment);
        self.apply(vec![Op::OpenRuntime { runtime, deployment, delivery: Delivery::Durable }]).await;
        runtime
    }

    /// A client that has no runtime yet.
    pub(crate) async fn unassigned_client(&self) -> ClientId {
        let client = self.foundation.mint.child(self.user).unwrap();
        let (user, deployment, delivery) = (self.user, self.deployment, Delivery::Durable);
        self.apply(vec![Op::OpenClient { client, user, deployment, delivery }]).await;
        client
    }

    /// A client that is assigned to a runtime.
    pub(crate) async fn assigned_client(&self, runtime: RuntimeId) -> ClientId {
        let client = self.unassigned_client().await;
        self.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
        client
    }

    /// Makes a WebSocket handshake. Returns the status and the body of a refusal.
    pub(crate) async fn shake_hands(
        &self,
        path_and_query: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(WebSocketStream<TcpStream>, Response), (StatusCode, Value)> {
        let mut request = format!("ws://{}{path_and_query}", self.host).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
        }
        let socket = TcpStream::connect(&self.host).await.unwrap();
        match client_async(request, socket).await {
            Ok(open) => Ok(open),
            Err(Error::Http(answer)) => {
                let body = answer.body().as_deref().unwrap_or_default();
                Err((answer.status(), serde_json::from_slice(body).unwrap_or_default()))
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

impl Drop for MessagingFixture {
    fn drop(&mut self) {
        // Not awaited: the server ends with its worker thread.
        drop(self.server.take().map(|it| it.stop(false)));
    }
}

/// Asks until `check` returns true; a test that waits too long fails.
pub(crate) async fn eventually(what: &str, check: impl Fn() -> bool) {
    let waiting = async {
        while !check() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(timeout(LONG, waiting).await.is_ok(), "{what}");
}
