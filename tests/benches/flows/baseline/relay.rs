//! The interchange without any rule: the same JSON in and out, and a queue in memory for each
//! receiver. The durable one commits the same rows in groups before it acknowledges anything. It
//! has one game server for all callers.

use std::{
    collections::{HashMap, VecDeque},
    fmt::Write as _,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actix_web::{
    HttpResponse,
    http::header::{CONTENT_TYPE, HeaderValue},
    web::{Bytes, Data, ServiceConfig, post, resource},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::journal::{Commit, Journal};

/// Where players and the game server ask, after `/durable` or `/ephemeral`.
pub(crate) const PLAYER: &str = "/player";
pub(crate) const RUNTIME: &str = "/runtime";
/// The game server's mailbox.
const SERVER: i64 = 0;
const HANDLE_MESSAGE: (i16, &str) = (20, "HANDLE_MESSAGE");
const SERVER_OUTGOING: (i16, &str) = (6, "SERVER_OUTGOING_MESSAGE");

/// One relay.
#[derive(Default)]
pub(super) struct Relay {
    boxes: RwLock<HashMap<i64, Arc<Mailbox>>>,
    next: AtomicI64,
    /// Absent where nothing is durable.
    journal: Option<Arc<Journal>>,
}

#[derive(Default)]
struct Mailbox {
    queue: Mutex<VecDeque<Entry>>,
    arrived: Notify,
}

#[derive(Clone)]
struct Entry {
    id: i64,
    qualifier: &'static str,
    body: Arc<str>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow, default)]
    client_id: &'a str,
    #[serde(borrow, alias = "outgoing_messages", alias = "outgoing_commands")]
    outgoing: Vec<Outgoing<'a>>,
    #[serde(borrow, alias = "consumed_messages", alias = "consumed_commands")]
    consumed: Vec<&'a str>,
    #[serde(default)]
    wait: u64,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, and nothing else")]
struct Outgoing<'a> {
    id: Option<u64>,
    qualifier: &'a str,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct FromPlayer<'a> {
    #[serde(borrow)]
    data: &'a RawValue,
}

#[derive(Deserialize)]
struct ToPlayer<'a> {
    client_id: &'a str,
    #[serde(borrow)]
    message: &'a RawValue,
}

pub(super) fn routes(relay: Relay, name: &'static str) -> impl Fn(&mut ServiceConfig) + Clone {
    let relay = Data::new(relay);
    move |config| {
        for (path, route) in [(PLAYER, post().to(player)), (RUNTIME, post().to(runtime))] {
            config.service(resource(format!("{name}{path}")).app_data(relay.clone()).route(route));
        }
    }
}

async fn player(relay: Data<Relay>, body: Bytes) -> Result<HttpResponse, actix_web::Error> {
    let request: Request<'_> = serde_json::from_slice(&body)?;
    let client: i64 = request.client_id.parse().map_err(actix_web::error::ErrorBadRequest)?;
    let mut bodies = Vec::with_capacity(request.outgoing.len());
    for message in &request.outgoing {
        let sent: FromPlayer<'_> = serde_json::from_str(message.body.get())?;
        let body = format!(r#"{{"client_id":"{client}","message":{}}}"#, sent.data.get());
        bodies.push((SERVER, HANDLE_MESSAGE, body.into()));
    }
    relay.exchange("incoming_messages", client, &request, bodies).await
}

async fn runtime(relay: Data<Relay>, body: Bytes) -> Result<HttpResponse, actix_web::Error> {
    let request: Request<'_> = serde_json::from_slice(&body)?;
    let mut bodies = Vec::with_capacity(request.outgoing.len());
    for message in &request.outgoing {
        let sent: ToPlayer<'_> = serde_json::from_str(message.body.get())?;
        let client = sent.client_id.parse().map_err(actix_web::error::ErrorBadRequest)?;
        let body = format!(r#"{{"message":{}}}"#, sent.message.get());
        bodies.push((client, SERVER_OUTGOING, body.into()));
    }
    relay.exchange("incoming_commands", SERVER, &request, bodies).await
}

/// To whom, what it is, and its fields.
type SentEntry = (i64, (i16, &'static str), Arc<str>);

impl Relay {
    pub(super) fn durable(journal: Arc<Journal>) -> Self {
        Self { journal: Some(journal), ..Self::default() }
    }

    async fn exchange(
        &self,
        name: &str,
        me: i64,
        request: &Request<'_>,
        sent: Vec<SentEntry>,
    ) -> Result<HttpResponse, actix_web::Error> {
        let mine = self.mailbox(me);
        self.consume(me, &mine, &request.consumed);
        if !sent.is_empty()
            && let Some(commit) = self.deliver(sent)
        {
            commit.wait().await;
        }
        let until = Instant::now() + Duration::from_millis(request.wait);
        let entries = loop {
            let arrived = mine.arrived.notified();
            let entries = mine.waiting();
            if !entries.is_empty() || timeout_at(until, arrived).await.is_err() {
                break entries;
            }
        };
        let json = HeaderValue::from_static("application/json");
        Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, json)).body(write(name, &entries)))
    }

    fn mailbox(&self, whose: i64) -> Arc<Mailbox> {
        let known = self.boxes.read().unwrap_or_else(PoisonError::into_inner).get(&whose).map(Arc::clone);
        known.unwrap_or_else(|| {
            Arc::clone(self.boxes.write().unwrap_or_else(PoisonError::into_inner).entry(whose).or_default())
        })
    }

    fn consume(&self, me: i64, mine: &Mailbox, consumed: &[&str]) {
        if consumed.is_empty() {
            return;
        }
        let ids: Vec<i64> = consumed.iter().filter_map(|it| it.parse().ok()).collect();
        // They are in the order in which they were answered.
        let mut queue = mine.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.retain(|it| ids.binary_search(&it.id).is_err());
        drop(queue);
        if let Some(journal) = &self.journal {
            journal.consume(me, &ids);
        }
    }

    fn deliver(&self, sent: Vec<SentEntry>) -> Option<Arc<Commit>> {
        let first = self.next.fetch_add(i64::try_from(sent.len()).unwrap_or(0), Ordering::Relaxed);
        let rows = sent.iter().zip(first..).map(|((to, (number, _), body), id)| (*to, id, *number, body));
        let commit = self.journal.as_ref().map(|it| it.insert(rows));
        for ((to, (_, qualifier), body), id) in sent.into_iter().zip(first..) {
            let mailbox = self.mailbox(to);
            let entry = Entry { id, qualifier, body };
            mailbox.queue.lock().unwrap_or_else(PoisonError::into_inner).push_back(entry);
            mailbox.arrived.notify_one();
        }
        commit
    }
}

impl Mailbox {
    fn waiting(&self) -> Vec<Entry> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).iter().take(1000).cloned().collect()
    }
}

fn write(name: &str, entries: &[Entry]) -> String {
    let size: usize = entries.iter().map(|it| it.body.len() + 80).sum();
    let mut text = String::with_capacity(size + name.len() + 8);
    // Writing into memory doesn't fail.
    let _infallible = write!(text, "{{\"{name}\":[");
    for (index, Entry { id, qualifier, body }) in entries.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _infallible = write!(text, r#"{comma}{{"id":"{id}","qualifier":"{qualifier}","body":{body}}}"#);
    }
    text.push_str("]}");
    text
}
