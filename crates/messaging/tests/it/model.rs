//! Mailboxes against a simple model of them, with crashes.

use std::collections::BTreeMap;

use omgservers_api::{
    ClientId, EntryId, RuntimeId,
    ids::SenderSeq,
    interchange::{command, message},
    roles::Delivery,
};
use omgservers_messaging::{Mailbox, Messaging as _, Op, To, problems};
use proptest::{prelude::*, sample::Index};

use crate::fixture::{Fixture, handled, push, raw, send};

const CLIENTS: usize = 4;
const RUNTIMES: usize = 3;

#[derive(Debug, Clone)]
enum Action {
    OpenClient {
        client: usize,
        ephemeral: bool,
    },
    OpenRuntime {
        runtime: usize,
        ephemeral: bool,
    },
    PushToClient(usize),
    PushToRuntime(usize),
    Route {
        client: usize,
        to: Option<usize>,
    },
    CloseClient(usize),
    CloseRuntime(usize),
    /// Closes a runtime and routes its clients to another one, in one go.
    Replace {
        runtime: usize,
        by: usize,
    },
    RemoveClient(usize),
    RemoveRuntime(usize),
    /// A client sends messages; the first of them may be repeated ones.
    Send {
        client: usize,
        repeated: u64,
        fresh: u64,
    },
    /// A runtime sends a message, perhaps with its counter, which may be a repeated one.
    RuntimeSend {
        runtime: usize,
        to: Option<usize>,
        repeated: Option<bool>,
    },
    Accept {
        runtime: usize,
        repeated: bool,
    },
    FetchClient {
        client: usize,
        consumed: Vec<Index>,
    },
    FetchRuntime {
        runtime: usize,
        consumed: Vec<Index>,
    },
    Flush,
    Crash,
}

fn action() -> impl Strategy<Value = Action> {
    let (client, runtime) = (0..CLIENTS, 0..RUNTIMES);
    let consumed = || prop::collection::vec(any::<Index>(), 0..4);
    prop_oneof![
        4 => (client.clone(), prop::bool::weighted(0.3)).prop_map(|(client, ephemeral)| Action::OpenClient { client, ephemeral }),
        4 => (runtime.clone(), prop::bool::weighted(0.3)).prop_map(|(runtime, ephemeral)| Action::OpenRuntime { runtime, ephemeral }),
        2 => client.clone().prop_map(Action::PushToClient),
        2 => runtime.clone().prop_map(Action::PushToRuntime),
        6 => (client.clone(), prop::option::weighted(0.9, runtime.clone())).prop_map(|(client, to)| Action::Route { client, to }),
        1 => client.clone().prop_map(Action::CloseClient),
        1 => runtime.clone().prop_map(Action::CloseRuntime),
        1 => (runtime.clone(), runtime.clone()).prop_map(|(runtime, by)| Action::Replace { runtime, by }),
        1 => client.clone().prop_map(Action::RemoveClient),
        1 => runtime.clone().prop_map(Action::RemoveRuntime),
        10 => (client.clone(), 0..3_u64, 0..3_u64).prop_map(|(client, repeated, fresh)| Action::Send { client, repeated, fresh }),
        5 => (runtime.clone(), prop::option::of(client.clone()), any::<Option<bool>>()).prop_map(|(runtime, to, repeated)| Action::RuntimeSend { runtime, to, repeated }),
        2 => (runtime.clone(), any::<bool>()).prop_map(|(runtime, repeated)| Action::Accept { runtime, repeated }),
        5 => (client, consumed()).prop_map(|(client, consumed)| Action::FetchClient { client, consumed }),
        5 => (runtime, consumed()).prop_map(|(runtime, consumed)| Action::FetchRuntime { runtime, consumed }),
        1 => Just(Action::Flush),
        2 => Just(Action::Crash),
    ]
}

#[derive(Debug, Clone, PartialEq)]
struct Item {
    body: String,
    durable: bool,
    /// It was in an answer of this process.
    seen: bool,
}

impl Item {
    fn new(body: String, durable: bool) -> Self {
        Self { body, durable, seen: false }
    }
}

#[derive(Debug)]
struct Kept<I> {
    id: I,
    durable: bool,
    closed: bool,
    waits: Vec<Item>,
    /// Consumed entries that a crash may bring back.
    consumed: Vec<String>,
    last_seq: Option<u64>,
    /// The part of it that survives a crash.
    durable_seq: Option<u64>,
    route: Option<usize>,
    pending: Vec<Item>,
}

impl<I> Kept<I> {
    fn new(id: I, durable: bool) -> Self {
        Self {
            id,
            durable,
            closed: false,
            waits: Vec::new(),
            consumed: Vec::new(),
            last_seq: None,
            durable_seq: None,
            route: None,
            pending: Vec::new(),
        }
    }

    fn consume(&mut self, which: &[Index], got: &[EntryId]) -> Vec<EntryId> {
        if got.is_empty() {
            return Vec::new();
        }
        let mut at: Vec<usize> = which.iter().map(|it| it.index(got.len())).collect();
        at.sort();
        at.dedup();
        for at in at.iter().rev() {
            self.consumed.push(self.waits.remove(*at).body);
        }
        at.iter().map(|at| got[*at]).collect()
    }

    /// After a crash all durable entries are there, and perhaps those that were consumed last.
    fn recover(&mut self, found: Vec<String>) {
        self.waits.retain(|it| it.durable);
        let (known, again): (Vec<&String>, Vec<&String>) =
            found.iter().partition(|it| self.waits.iter().any(|item| item.body == **it));
        assert_eq!(known, self.waits.iter().map(|it| &it.body).collect::<Vec<_>>(), "what was acknowledged");
        assert!(again.iter().all(|it| self.consumed.contains(it)), "{again:?} came from nowhere");
        self.waits = found.into_iter().map(|body| Item { body, durable: true, seen: true }).collect();
        self.consumed.clear();
        self.last_seq = self.durable_seq;
        self.pending.retain(|it| it.durable);
    }

    /// Its next counter, or its last one once more.
    fn seq(&self, repeated: bool) -> u64 {
        if repeated { self.last_seq.unwrap_or(0) } else { self.last_seq.map_or(0, |it| it + 2) }
    }

    /// Notes the counter of a command; whether it is a fresh one.
    fn count(&mut self, seq: u64) -> bool {
        let fresh = self.last_seq.is_none_or(|it| it < seq);
        self.last_seq = self.last_seq.max(Some(seq));
        self.durable_seq = if self.durable { self.last_seq } else { None };
        fresh
    }

    fn bodies(&self) -> Vec<&str> {
        self.waits.iter().map(|it| &*it.body).collect()
    }
}

#[derive(Debug, Default)]
struct Model {
    clients: BTreeMap<usize, Kept<ClientId>>,
    runtimes: BTreeMap<usize, Kept<RuntimeId>>,
    count: u64,
}

impl Model {
    fn text(&mut self) -> String {
        self.count += 1;
        self.count.to_string()
    }

    fn leave_all(&mut self, runtime: usize) {
        for known in self.clients.values_mut() {
            known.route = known.route.filter(|it| *it != runtime);
        }
    }

    fn open_runtime(&self, runtime: usize) -> Option<&Kept<RuntimeId>> {
        self.runtimes.get(&runtime).filter(|it| !it.closed)
    }

    async fn carry_out(&mut self, fixture: &mut Fixture, action: Action) {
        match action {
            Action::OpenClient { client, ephemeral } => {
                let id = match self.clients.get(&client) {
                    Some(known) => known.id,
                    None => fixture.foundation.mint.child(fixture.user).unwrap(),
                };
                fixture.apply(vec![fixture.open_client(id, delivery(ephemeral))]).await;
                self.clients.entry(client).or_insert_with(|| Kept::new(id, !ephemeral));
            }
            Action::OpenRuntime { runtime, ephemeral } => {
                let known = self.runtimes.get(&runtime).map(|it| it.id);
                let id = known.unwrap_or_else(|| fixture.foundation.mint.root().unwrap());
                let (deployment, delivery) = (fixture.deployment, delivery(ephemeral));
                fixture.apply(vec![Op::OpenRuntime { runtime: id, deployment, delivery }]).await;
                self.runtimes.entry(runtime).or_insert_with(|| Kept::new(id, !ephemeral));
            }
            Action::PushToClient(client) => {
                let body = self.text();
                let Some(to) = self.clients.get_mut(&client) else { return };
                fixture.apply(vec![push(Mailbox::Client(to.id), message::SERVER_WELCOME, &body)]).await;
                if !to.closed {
                    to.waits.push(Item::new(body, true));
                }
            }
            Action::PushToRuntime(runtime) => {
                let body = self.text();
                let Some(to) = self.runtimes.get_mut(&runtime) else { return };
                fixture.apply(vec![push(Mailbox::Runtime(to.id), command::ADD_CLIENT, &body)]).await;
                if !to.closed {
                    to.waits.push(Item::new(body, true));
                }
            }
            Action::Route { client, to } => self.route(fixture, client, to).await,
            Action::CloseClient(client) => {
                let Some(known) = self.clients.get_mut(&client) else { return };
                fixture.apply(vec![Op::Close(Mailbox::Client(known.id))]).await;
                (known.closed, known.route) = (true, None);
                known.pending.clear();
            }
            Action::CloseRuntime(runtime) => {
                let Some(known) = self.runtimes.get_mut(&runtime) else { return };
                fixture.apply(vec![Op::Close(Mailbox::Runtime(known.id))]).await;
                self.close(runtime);
            }
            Action::Replace { runtime, by } => {
                let (Some(old), Some(new)) = (self.open_runtime(runtime), self.open_runtime(by)) else {
                    return;
                };
                if runtime == by {
                    return;
                }
                let mut ops = vec![Op::Close(Mailbox::Runtime(old.id))];
                let to = Some(new.id);
                let moving: Vec<usize> =
                    self.clients.iter().filter(|it| it.1.route == Some(runtime)).map(|it| *it.0).collect();
                ops.extend(moving.iter().map(|it| Op::Route { client: self.clients[it].id, to }));
                fixture.apply(ops).await;
                self.close(runtime);
                moving.into_iter().for_each(|client| self.join(client, by));
            }
            Action::RemoveClient(client) => {
                let Some(known) = self.clients.remove(&client) else { return };
                fixture.apply(vec![Op::Remove(Mailbox::Client(known.id))]).await;
            }
            Action::RemoveRuntime(runtime) => {
                let Some(known) = self.runtimes.remove(&runtime) else { return };
                fixture.apply(vec![Op::Remove(Mailbox::Runtime(known.id))]).await;
                self.leave_all(runtime);
            }
            Action::Send { client, repeated, fresh } => self.send(fixture, client, repeated, fresh).await,
            Action::RuntimeSend { runtime, to, repeated } => {
                self.runtime_send(fixture, runtime, to, repeated).await
            }
            Action::Accept { runtime, repeated } => {
                let Some(known) = self.runtimes.get_mut(&runtime).filter(|it| !it.closed) else { return };
                let seq = known.seq(repeated);
                let (commit, fresh) = fixture.mailboxes.runtime_accept(known.id, SenderSeq(seq)).unwrap();
                commit.wait().await.unwrap();
                assert_eq!(fresh, known.count(seq));
            }
            Action::FetchClient { client, consumed } => {
                let Some(known) = self.clients.get_mut(&client) else { return };
                let got = fixture.fetch(known.id).await;
                assert_eq!(crate::fixture::bodies(&got), known.bodies());
                let ids = crate::fixture::ids(&got);
                assert!(ids.is_sorted_by(|one, two| one < two));
                let consumed = known.consume(&consumed, &ids);
                let left = fixture.consume(known.id, &consumed).await;
                assert_eq!(crate::fixture::bodies(&left), known.bodies());
            }
            Action::FetchRuntime { runtime, consumed } => {
                let Some(known) = self.runtimes.get_mut(&runtime).filter(|it| !it.closed) else { return };
                let got = fixture.fetch_runtime(known.id).await;
                assert_eq!(crate::fixture::bodies(&got), known.bodies());
                let ids = crate::fixture::ids(&got);
                assert!(ids.is_sorted_by(|one, two| one < two));
                known.waits.iter_mut().for_each(|it| it.seen = true);
                let consumed = known.consume(&consumed, &ids);
                let left = fixture.consume_runtime(known.id, &consumed).await;
                assert_eq!(crate::fixture::bodies(&left), known.bodies());
            }
            Action::Flush => {
                fixture.mailboxes.flush().await.unwrap();
                self.clients.values_mut().for_each(|it| it.consumed.clear());
                self.runtimes.values_mut().for_each(|it| it.consumed.clear());
            }
            Action::Crash => {
                fixture.crash().await;
                for known in self.clients.values_mut() {
                    known.recover(owned(&fixture.fetch(known.id).await));
                }
                for known in self.runtimes.values_mut().filter(|it| !it.closed) {
                    known.recover(owned(&fixture.fetch_runtime(known.id).await));
                }
            }
        }
    }

    async fn route(&mut self, fixture: &Fixture, client: usize, to: Option<usize>) {
        let Some(id) = self.clients.get(&client).map(|it| it.id) else { return };
        let target = match to {
            None => None,
            Some(to) => Some((
                to,
                self.runtimes.get(&to).map_or_else(|| fixture.foundation.mint.root().unwrap(), |it| it.id),
            )),
        };
        let done = fixture.mailboxes.apply(vec![Op::Route { client: id, to: target.map(|it| it.1) }]);
        let closed = self.clients[&client].closed;
        let open = to.is_none_or(|it| self.open_runtime(it).is_some());
        match done {
            Ok(commit) => {
                assert!(to.is_none() || (!closed && open));
                commit.wait().await.unwrap();
            }
            Err(problem) => {
                let expected = if closed { problems::CLIENT_NOT_FOUND } else { problems::RUNTIME_NOT_FOUND };
                assert!(to.is_some() && problem.is(expected), "{problem:?}");
                return;
            }
        }
        let known = self.clients.get_mut(&client).unwrap();
        if closed {
            return;
        }
        known.route = None;
        if let Some(to) = to {
            self.join(client, to);
        }
    }

    fn join(&mut self, client: usize, to: usize) {
        let known = self.clients.get_mut(&client).unwrap();
        known.route = Some(to);
        let runtime = self.runtimes.get_mut(&to).unwrap();
        for Item { body, .. } in known.pending.drain(..) {
            runtime.waits.push(Item::new(body, runtime.durable));
        }
    }

    /// Messages that the runtime never received wait with its clients again.
    fn close(&mut self, runtime: usize) {
        let closing = self.runtimes.get_mut(&runtime).unwrap();
        let waits = std::mem::take(&mut closing.waits);
        if std::mem::replace(&mut closing.closed, true) {
            return;
        }
        for Item { body, .. } in waits.into_iter().filter(|it| !it.seen) {
            let is_from =
                |known: &&mut Kept<ClientId>| body.starts_with(&format!("{{\"client_id\":\"{}\"", known.id));
            if let Some(known) = self.clients.values_mut().find(is_from)
                && known.route == Some(runtime)
            {
                known.pending.push(Item::new(body, known.durable));
            }
        }
        self.leave_all(runtime);
    }

    async fn send(&mut self, fixture: &Fixture, client: usize, repeated: u64, fresh: u64) {
        let Some(known) = self.clients.get(&client) else { return };
        let next = known.last_seq.map_or(0, |it| it + 1);
        let first = next.saturating_sub(repeated);
        let texts: Vec<String> = (first..next + fresh).map(|_| self.text()).collect();
        let texts: Vec<&str> = texts.iter().map(|it| &**it).collect();
        let known = self.clients.get_mut(&client).unwrap();
        let answer = send(&fixture.mailboxes, fixture.user, known.id, first, &texts).await.unwrap();
        assert_eq!(crate::fixture::bodies(&answer), known.bodies());
        if known.closed || fresh == 0 {
            return;
        }
        let runtime = known.route.map(|it| self.runtimes.get_mut(&it).unwrap());
        let durable = runtime.as_ref().map_or(known.durable, |it| it.durable);
        let to = runtime.map_or(&mut known.pending, |it| &mut it.waits);
        let repeated = usize::try_from(next - first).unwrap();
        to.extend(texts[repeated..].iter().map(|text| Item::new(handled(known.id, text), durable)));
        known.last_seq = Some(next + fresh - 1);
        if durable {
            known.durable_seq = known.last_seq;
        }
    }

    async fn runtime_send(
        &mut self,
        fixture: &Fixture,
        runtime: usize,
        to: Option<usize>,
        repeated: Option<bool>,
    ) {
        let text = self.text();
        let Some(known) = self.open_runtime(runtime) else { return };
        let (id, seq) = (known.id, repeated.map(|it| known.seq(it)));
        let one = match to {
            None => To::All,
            Some(client) => match self.clients.get(&client) {
                Some(client) => To::One(client.id),
                None => return,
            },
        };
        let (commit, missed) =
            fixture.mailboxes.runtime_send(id, seq.map(SenderSeq), one, &raw(&text)).unwrap();
        commit.wait().await.unwrap();
        if seq.is_some_and(|seq| !self.runtimes.get_mut(&runtime).unwrap().count(seq)) {
            assert!(missed.is_empty());
            return;
        }
        for (number, known) in &mut self.clients {
            if to.is_some_and(|it| it != *number) {
                continue;
            }
            if known.route == Some(runtime) {
                let body = format!("{{\"message\":{text}}}");
                known.waits.push(Item::new(body, known.durable));
            } else if to.is_some() {
                assert_eq!(missed, [known.id]);
            }
        }
    }
}

fn delivery(ephemeral: bool) -> Delivery {
    if ephemeral { Delivery::Ephemeral } else { Delivery::Durable }
}

fn owned(entries: &[omgservers_messaging::Entry]) -> Vec<String> {
    entries.iter().map(|it| it.body.to_string()).collect()
}

/// Routes are the same from both sides, in the model and in the mailboxes.
fn check_routes(fixture: &Fixture, model: &Model) {
    for known in model.clients.values() {
        let info = fixture.mailboxes.client(known.id).unwrap();
        assert_eq!(info.closed, known.closed);
        assert_eq!(info.route, known.route.map(|it| model.runtimes[&it].id));
    }
    for (number, known) in &model.runtimes {
        let with: Vec<&Kept<ClientId>> =
            model.clients.values().filter(|it| it.route == Some(*number)).collect();
        let mut expected: Vec<ClientId> = with.iter().map(|it| it.id).collect();
        expected.sort();
        assert_eq!(fixture.mailboxes.clients_of(known.id), expected);
        assert_eq!(fixture.mailboxes.runtime(known.id).is_some(), !known.closed);
    }
    assert_eq!(fixture.mailboxes.clients_in(fixture.deployment).len(), model.clients.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn mailboxes_are_what_the_model_is(actions in prop::collection::vec(action(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut fixture = Fixture::new().await;
            let mut model = Model::default();
            for action in actions.into_iter().chain([Action::Flush, Action::Crash]) {
                model.carry_out(&mut fixture, action).await;
                check_routes(&fixture, &model);
            }
        });
    }
}
