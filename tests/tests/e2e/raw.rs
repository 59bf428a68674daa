//! Players and game servers without an SDK: each request is sent once, and one that fails is seen.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use omgservers_api::RuntimeId;
use omgservers_testkit::protocol::assert_valid;
use omgservers_tests::{Backend, DEADLINE, IdleRuntime, Studio, eventually};
use serde_json::{Value, json};

use crate::flows::{post, text};

/// Sends `POST <url>` once. The error says what a client without repeats would have died of.
async fn request(http: &reqwest::Client, url: &str, token: &str, body: &Value) -> Result<Value, String> {
    let answer = http.post(url).bearer_auth(token).json(body).send().await.map_err(|it| format!("{it:?}"))?;
    let status = answer.status();
    let answer: Value = answer.json().await.map_err(|it| format!("{status}: {it:?}"))?;
    if status.is_success() { Ok(answer) } else { Err(format!("{status}: {answer}")) }
}

/// A game server whose part the test plays.
pub(crate) struct Server {
    pub(crate) id: RuntimeId,
    http: reqwest::Client,
    url: String,
    token: String,
    /// What the last answer brought: consumed with the next request.
    pub(crate) consumed: Vec<Value>,
    /// Everything that came.
    pub(crate) seen: Vec<Value>,
}

impl Server {
    /// Signs in with the credentials of the container.
    pub(crate) async fn of(backend: &Backend, runtime: &IdleRuntime) -> Self {
        let credentials = json!({"runtime_id": runtime.id, "password": runtime.password});
        let answer = post(backend, "runtime", "create-token", None, credentials).await;
        assert!(answer["ws_token"].is_string(), "{answer}");
        Self {
            id: runtime.id,
            http: reqwest::Client::new(),
            url: format!("{}/service/v1/entrypoint/runtime/request/interchange", backend.url()),
            token: text(&answer["api_token"]).to_owned(),
            consumed: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// One request as it is.
    pub(crate) async fn send(&self, body: Value) -> Result<Value, String> {
        request(&self.http, &self.url, &self.token, &body).await
    }

    /// Sends commands, and consumes what came before.
    pub(crate) async fn exchange(&mut self, outgoing: Value) -> Value {
        self.try_exchange(outgoing, 0).await.unwrap()
    }

    async fn try_exchange(&mut self, outgoing: Value, wait: u32) -> Result<Value, String> {
        let body = json!({"outgoing_commands": outgoing, "consumed_commands": self.consumed, "wait": wait});
        let answer = self.send(body).await?;
        assert_valid("RuntimeInterchangeResponse", &answer);
        let incoming = answer["incoming_commands"].as_array().unwrap();
        self.consumed = incoming.iter().map(|it| it["id"].clone()).collect();
        self.seen.extend(incoming.iter().cloned());
        Ok(answer)
    }

    /// The body of the first command of a kind that `wanted` likes; polls until it comes.
    pub(crate) async fn receives(&mut self, qualifier: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let of_kind = self.seen.iter().filter(|it| it["qualifier"] == qualifier);
            if let Some(found) = of_kind.map(|it| &it["body"]).find(|it| wanted(it)) {
                return found.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "no {qualifier}: {:#?}", self.seen);
            self.try_exchange(json!([]), 1_000).await.unwrap();
        }
    }

    /// Polls and answers what players say, until told to stop. Returns what failed.
    pub(crate) async fn echo(mut self, rounds: Arc<AtomicU32>, stop: Arc<AtomicBool>) -> Vec<String> {
        let (mut failures, mut outgoing) = (Vec::new(), Vec::<Value>::new());
        while !stop.load(Ordering::Relaxed) {
            let answer = self.try_exchange(json!(outgoing), 0).await;
            outgoing.clear();
            match answer {
                Ok(answer) => {
                    let incoming = answer["incoming_commands"].as_array().unwrap().iter();
                    let messages = incoming.filter(|it| it["qualifier"] == "HANDLE_MESSAGE");
                    outgoing.extend(
                        messages.map(|it| json!({"qualifier": "RESPOND_CLIENT", "body": it["body"]})),
                    );
                }
                Err(failure) => failures.push(failure),
            }
            rounds.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        failures
    }
}

/// A player with a session.
pub(crate) struct Player {
    http: reqwest::Client,
    url: String,
    token: String,
    pub(crate) client: Value,
    consumed: Vec<Value>,
    /// Everything that came.
    pub(crate) seen: Vec<Value>,
}

impl Player {
    pub(crate) async fn join(backend: &Backend, studio: &Studio) -> Self {
        let user = post(backend, "player", "create-user", None, json!({})).await;
        let answer = post(backend, "player", "create-token", None, user).await;
        Self::again(backend, studio, text(&answer["raw_token"])).await
    }

    async fn again(backend: &Backend, studio: &Studio, token: &str) -> Self {
        let stage_body = json!({"tenant": studio.tenant, "project": studio.project, "stage": studio.stage});
        let answer = post(backend, "player", "create-client", Some(token), stage_body).await;
        Self {
            http: reqwest::Client::new(),
            url: format!("{}/service/v1/entrypoint/player/request/interchange", backend.url()),
            token: token.to_owned(),
            client: answer["client_id"].clone(),
            consumed: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Another session of the same player.
    pub(crate) async fn rejoin(&self, backend: &Backend, studio: &Studio) -> Self {
        Self::again(backend, studio, &self.token).await
    }

    /// Sends messages, and consumes what came before. The error says what a client without repeats
    /// would have died of.
    pub(crate) async fn exchange(&mut self, outgoing: Value, wait: u32) -> Result<(), String> {
        let body = json!({
            "client_id": self.client, "outgoing_messages": outgoing, "consumed_messages": self.consumed, "wait": wait,
        });
        let answer = request(&self.http, &self.url, &self.token, &body).await?;
        assert_valid("PlayerInterchangeResponse", &answer);
        let incoming = answer["incoming_messages"].as_array().unwrap();
        self.consumed = incoming.iter().map(|it| it["id"].clone()).collect();
        self.seen.extend(incoming.iter().cloned());
        Ok(())
    }

    pub(crate) async fn send_message(&mut self, id: u32, data: &str) {
        let message = json!([{"id": id, "qualifier": "CLIENT_OUTGOING_MESSAGE", "body": {"data": data}}]);
        self.exchange(message, 0).await.unwrap();
    }

    /// The body of the first message of a kind that `wanted` likes; polls until it comes.
    pub(crate) async fn receives(&mut self, qualifier: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let of_kind = self.seen.iter().filter(|it| it["qualifier"] == qualifier);
            if let Some(found) = of_kind.map(|it| &it["body"]).find(|it| wanted(it)) {
                return found.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "no {qualifier}: {:#?}", self.seen);
            self.exchange(json!([]), 1_000).await.unwrap();
        }
    }

    /// What its game server has said so far, in order, each once.
    pub(crate) fn received(&self) -> Vec<&Value> {
        let mut ids = std::collections::HashSet::new();
        let messages = self.seen.iter().filter(|it| it["qualifier"] == "SERVER_OUTGOING_MESSAGE");
        messages.filter(|it| ids.insert(text(&it["id"]))).map(|it| &it["body"]["message"]).collect()
    }

    /// Polls as the Defold SDK does, until told to stop. Returns what failed: one failed request
    /// ends such a player for good.
    pub(crate) async fn poll(mut self, rounds: Arc<AtomicU32>, stop: Arc<AtomicBool>) -> Vec<String> {
        let mut failures = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            failures.extend(self.exchange(json!([]), 0).await.err());
            rounds.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        failures
    }
}

/// The game servers of a kind whose containers run, when there are so many.
pub(crate) async fn idle_runtimes(backend: &Backend, kind: &str, count: usize) -> Vec<IdleRuntime> {
    let list = || backend.idle_runtimes().into_iter().filter(|it| it.qualifier.to_string() == kind);
    eventually("containers", async || list().count() >= count).await;
    list().collect()
}
