//! One request and its answer.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use omgservers_api::{
    Kind, Problem, Ref, Role, UserId,
    entrypoint::{
        CreateTokenRequest, Descriptor, Endpoint, admin, developer,
        player::{self, PingServiceRequest, PingServiceResponse},
        support,
    },
    problem::{ErrorBody, UNAVAILABLE},
};
use reqwest::{
    Url,
    header::{self, HeaderValue},
    redirect,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::problems::{ADDRESS, FOREIGN_ANSWER, VALUE};

const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take, beside the time that was asked to wait.
const ANSWER: Duration = Duration::from_secs(30);

/// A backend. Cloning is cheap, and clones share their connections.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    base: String,
    pub(crate) http: reqwest::Client,
    /// The header `traceparent` of every request.
    trace_parent: Option<HeaderValue>,
}

impl Client {
    /// The backend at `base_url`, e.g. `http://localhost:8080`. Nothing is sent yet. Problems:
    /// `client.address`.
    pub fn new(base_url: &str) -> Result<Self, Problem> {
        let url: Url =
            base_url.parse().map_err(|error| ADDRESS.detail(format!("`{base_url}` is no URL: {error}")))?;
        match url.scheme() {
            "http" => {}
            "https" if cfg!(feature = "tls") => {}
            "https" => return Err(ADDRESS.detail("this program was built without TLS: use an http URL")),
            other => {
                return Err(ADDRESS.detail(format!("the URL starts with `{other}:`, not http: or https:")));
            }
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .redirect(redirect::Policy::none())
            .user_agent(concat!("omgservers-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| ADDRESS.detail(format!("TLS can't be set up: {}", root(&error))))?;
        Ok(Self(Arc::new(Inner {
            base: base_url.trim_end_matches('/').to_owned(),
            http,
            trace_parent: None,
        })))
    }

    /// The same client, whose requests belong to a trace: `trace_parent` is the value of the header
    /// `traceparent` of W3C Trace Context. Text that can't be a header is left out.
    #[must_use]
    pub fn with_trace_parent(&self, trace_parent: &str) -> Self {
        Self(Arc::new(Inner {
            base: self.0.base.clone(),
            http: self.0.http.clone(),
            trace_parent: HeaderValue::from_str(trace_parent).ok(),
        }))
    }

    /// The address that it was made with, without a slash at the end.
    pub fn base_url(&self) -> &str {
        &self.0.base
    }

    /// A token for a user of `role`. Runtimes have another request:
    /// [`Runtime::create_token`](crate::runtime::Runtime::create_token).
    pub async fn create_token(
        &self,
        role: Role,
        user: impl fmt::Display,
        password: &str,
    ) -> Result<String, Problem> {
        let request =
            CreateTokenRequest { user: reference::<UserId>("user", user)?, password: password.to_owned() };
        let answer = match role {
            Role::Admin => self.call::<admin::CreateToken>(None, &request).await?,
            Role::Support => self.call::<support::CreateToken>(None, &request).await?,
            Role::Developer => self.call::<developer::CreateToken>(None, &request).await?,
            Role::Player => self.call::<player::CreateToken>(None, &request).await?,
            Role::Service => return Err(VALUE.detail("`role` must be one that users sign in as")),
        };
        Ok(answer.raw_token)
    }

    /// Whether the backend answers; no token needed.
    pub async fn ping(&self, request: &PingServiceRequest) -> Result<PingServiceResponse, Problem> {
        self.call::<player::PingService>(None, request).await
    }

    /// Calls an endpoint. Errors: those that the endpoint answers, `unavailable`,
    /// `client.foreign_answer`.
    pub async fn call<E: Endpoint<Request: Sync>>(
        &self,
        token: Option<&str>,
        request: &E::Request,
    ) -> Result<E::Response, Problem> {
        self.send(&E::DESCRIPTOR, token, request).await
    }

    /// Calls an endpoint with a request and an answer of other types than its own. Errors: as of
    /// [`call`](Self::call).
    pub async fn send<Q: Serialize + Sync + ?Sized, A: DeserializeOwned>(
        &self,
        endpoint: &Descriptor,
        token: Option<&str>,
        request: &Q,
    ) -> Result<A, Problem> {
        let body = serde_json::to_vec(request).map_err(|error| VALUE.detail(error.to_string()))?;
        self.exchange(endpoint, token, body.into(), Duration::ZERO).await
    }

    /// Sends a body that may be answered only after `wait`.
    pub(crate) async fn exchange<A: DeserializeOwned>(
        &self,
        endpoint: &Descriptor,
        token: Option<&str>,
        body: Bytes,
        wait: Duration,
    ) -> Result<A, Problem> {
        let base = &self.0.base;
        let mut request = self
            .0
            .http
            .post(format!("{base}{}", endpoint.path()))
            .header(header::CONTENT_TYPE, "application/json")
            .timeout(ANSWER.saturating_add(wait))
            .body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(trace_parent) = &self.0.trace_parent {
            request = request.header("traceparent", trace_parent);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(error))?;
        let status = answer.status();
        let pause = retry_after(answer.headers());
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(error))?;
        if status.is_success() {
            return serde_json::from_slice(&bytes)
                .map_err(|error| self.foreign(status.as_u16(), &bytes).because(error));
        }
        Err(self.refusal(status.as_u16(), &bytes, pause))
    }

    /// The problem that an answer tells of.
    pub(crate) fn refusal(&self, status: u16, body: &[u8], pause: Option<Duration>) -> Problem {
        let problem = match serde_json::from_slice::<ErrorBody>(body) {
            Ok(body) => Problem::from_wire(status, body),
            Err(error) => self.foreign(status, body).because(error),
        };
        match pause {
            Some(pause) => problem.retry_after(pause),
            None => problem,
        }
    }

    /// The problem of a request that got no answer.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> Problem {
        let base = &self.0.base;
        let sentence = if error.is_timeout() && !error.is_connect() {
            format!("{base} didn't answer in time")
        } else if error.is_connect() {
            format!("{base} can't be reached: {}", root(&error))
        } else {
            format!("the connection to {base} broke: {}", root(&error))
        };
        UNAVAILABLE.detail(sentence).because(error)
    }

    /// The problem of an answer that the backend doesn't give.
    fn foreign(&self, status: u16, body: &[u8]) -> Problem {
        let text = String::from_utf8_lossy(body);
        let start: String = text.trim().chars().take(200).collect();
        let what = if start.is_empty() { "an empty body".to_owned() } else { format!("`{start}`") };
        let detail =
            format!("{} answered {status} with {what}, which isn't what the backend says", self.0.base);
        if Kind::of_status(status) == Kind::Internal || status < 400 {
            return FOREIGN_ANSWER.detail(detail);
        }
        Problem::from_wire(
            status,
            ErrorBody {
                qualifier: FOREIGN_ANSWER.qualifier.to_owned(),
                code: FOREIGN_ANSWER.code.to_owned(),
                detail,
                request_id: String::new(),
            },
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Client").field(&self.0.base).finish()
    }
}

/// A token, kept out of debug output.
#[derive(Clone)]
pub(crate) struct Token(Arc<str>);

impl Token {
    pub(crate) fn new(token: &str) -> Self {
        Self(token.into())
    }
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An id or alias from any value that prints as one.
pub(crate) fn reference<I: omgservers_api::ids::Id>(
    field: &str,
    value: impl fmt::Display,
) -> Result<Ref<I>, Problem> {
    Ref::parse(&value.to_string()).map_err(|reason| VALUE.detail(format!("`{field}` {reason}")))
}

/// Whether the same request may work later.
pub(crate) fn transient(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::Internal | Kind::Unavailable | Kind::Exhausted)
        || problem.is(FOREIGN_ANSWER)
}

pub(crate) fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}

/// The innermost cause: the outer ones only say that something failed.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
