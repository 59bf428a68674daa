//! A server in this process, on a database of its own, and a raw HTTP client.

use std::sync::Arc;

use omgservers_server::{Config, Process, Running, Server};
use omgservers_testkit::TestDb;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) struct Bench {
    running: Option<Running>,
    pub(crate) url: String,
    http: reqwest::Client,
    _database: Arc<TestDb>,
    _data: tempfile::TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let database = Arc::new(TestDb::new(omgservers_server::SCHEMAS).await);
        let data = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: data.path().join("data"), ..Config::default() };
        config.server.bind = "127.0.0.1:0".to_owned();
        config.server.drain_seconds = 0;
        config.server.unready_seconds = 0;
        config.database.url = Some(omgservers_server::config::Secret::new(database.url().to_owned()));
        config.bootstrap.admin_password = Some(omgservers_server::config::Secret::new("admin".to_owned()));
        config.bootstrap.support_password =
            Some(omgservers_server::config::Secret::new("support".to_owned()));
        change(&mut config);
        let running = Server::start(config, Process::default()).await.unwrap();
        let url = format!("http://{}", running.addr);
        Self { running: Some(running), url, http: reqwest::Client::new(), _database: database, _data: data }
    }

    pub(crate) async fn stop(mut self) {
        self.running.take().unwrap().stop().await.unwrap();
    }

    /// Sends anything anywhere.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> (StatusCode, Value) {
        let mut request =
            self.http.request(method, format!("{}{path}", self.url)).header("Content-Type", kind).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        let value =
            serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {status} without JSON: {text:?}"));
        (status, value)
    }

    pub(crate) async fn post(
        &self,
        role: &str,
        verb: &str,
        token: Option<&str>,
        body: Value,
    ) -> (StatusCode, Value) {
        let path = format!("/service/v1/entrypoint/{role}/request/{verb}");
        self.send(Method::POST, &path, token, "application/json", body.to_string()).await
    }

    /// An answer that must be a success.
    pub(crate) async fn ok(&self, role: &str, verb: &str, token: Option<&str>, body: Value) -> Value {
        let (status, answer) = self.post(role, verb, token, body).await;
        assert_eq!(status, StatusCode::OK, "{role}/{verb}: {answer}");
        answer
    }

    /// A token of each role that users have.
    pub(crate) async fn token(&self, role: &str) -> String {
        let credentials = match role {
            "admin" | "support" => json!({"user": role, "password": role}),
            "developer" => {
                let support = Box::pin(self.token("support")).await;
                self.ok("support", "create-developer", Some(&support), json!({})).await
            }
            "player" => self.ok("player", "create-user", None, json!({})).await,
            other => panic!("no users of role {other}"),
        };
        let answer = self.ok(role, "create-token", None, credentials).await;
        answer["raw_token"].as_str().unwrap().to_owned()
    }
}

/// Every error has the same body.
pub(crate) fn assert_error(status: StatusCode, answer: &Value, expected: u16, qualifier: &str) {
    assert_eq!((status.as_u16(), answer["qualifier"].as_str()), (expected, Some(qualifier)), "{answer}");
    for field in ["code", "detail", "request_id"] {
        assert!(answer[field].as_str().is_some_and(|it| !it.is_empty()), "no {field}: {answer}");
    }
}
