//! A server in this process, on a database of its own, and a raw HTTP client. Its only Docker host
//! doesn't answer: lobbies are wanted and never start.

use std::{collections::BTreeMap, sync::Arc};

use omgservers_auth::{Keys, TokenConfig, Tokens};
use omgservers_core::SystemClock;
use omgservers_server::{
    Config, Process, Running, Server,
    config::{HostConfig, HostState},
};
use omgservers_testkit::TestDb;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) struct ContractFixture {
    running: Option<Running>,
    pub(crate) url: String,
    /// Where `/metrics` is, if it is apart.
    pub(crate) metrics: Option<String>,
    http: reqwest::Client,
    database: Arc<TestDb>,
    data: tempfile::TempDir,
}

impl ContractFixture {
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
        config.pool.hosts = vec![HostConfig {
            uri: "unix:///nowhere/docker.sock".to_owned(),
            cpu_count: 64,
            memory_mb: 65_536,
            max_containers: 1_000,
            public_address: None,
            tls_cert_dir: None,
            state: HostState::default(),
        }];
        change(&mut config);
        let running = Server::start(config, Process::default()).await.unwrap();
        let url = format!("http://{}", running.addr);
        let metrics = running.metrics_addr.map(|it| format!("http://{it}"));
        Self { running: Some(running), url, metrics, http: reqwest::Client::new(), database, data }
    }

    /// Issues tokens with the server's own keys and any settings.
    pub(crate) fn tokens(&self, config: TokenConfig) -> Tokens {
        let keys = Keys::load_or_create(&self.data.path().join("data/keys")).unwrap();
        Tokens::new(Arc::new(keys), Arc::new(SystemClock::default()), config)
    }

    /// How many rows each table has, but for that of starts that failed: nobody asks for those.
    pub(crate) async fn rows(&self) -> BTreeMap<String, i64> {
        let (client, connection) =
            tokio_postgres::connect(self.database.url(), tokio_postgres::NoTls).await.unwrap();
        let connection = tokio::spawn(connection);
        let tables = "select format('%I.%I', table_schema, table_name) from information_schema.tables \
            where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema') \
            and (table_schema, table_name) <> ('runtimes', 'failure')";
        let mut rows = BTreeMap::new();
        for table in client.query(tables, &[]).await.unwrap() {
            let table: String = table.get(0);
            let count = client.query_one(&format!("select count(*) from {table}"), &[]).await.unwrap();
            rows.insert(table, count.get(0));
        }
        drop(client);
        connection.await.unwrap().unwrap();
        rows
    }

    /// Pushes an image for a version, as Docker would: one blob, and a manifest that is made of it.
    pub(crate) async fn push(&self, user: &Value, repository: &str, version: &Value) {
        let (id, password) = (user["user_id"].as_str().unwrap(), user["password"].as_str().unwrap());
        let scope = format!("repository:{repository}:pull,push");
        let token = self
            .http
            .get(format!("{}/service/v1/entrypoint/docker/request/create-token", self.url))
            .query(&[("service", "registry"), ("scope", &scope)])
            .basic_auth(id, Some(password))
            .send()
            .await
            .unwrap();
        let token = token.json::<Value>().await.unwrap()["token"].as_str().unwrap().to_owned();
        let put = async |method, path: String, kind: &str, body: String| {
            let request = self.http.request(method, format!("{}/v2/{repository}/{path}", self.url));
            let answer =
                request.bearer_auth(&token).header("Content-Type", kind).body(body).send().await.unwrap();
            assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
        };
        // Of `{}`.
        let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let (upload, octets) = (format!("blobs/uploads/?digest={digest}"), "application/octet-stream");
        put(Method::POST, upload, octets, "{}".to_owned()).await;
        let part = json!({"mediaType": octets, "digest": digest, "size": 2});
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": part, "layers": [part]});
        let path = format!("manifests/{}", version.as_str().unwrap());
        put(Method::PUT, path, kind, manifest.to_string()).await;
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

    /// A token of each role. That of a runtime is of one that there isn't.
    pub(crate) async fn token(&self, role: &str) -> String {
        let credentials = match role {
            "runtime" => return self.tokens(TokenConfig::default()).runtime("42".parse().unwrap()).unwrap(),
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
