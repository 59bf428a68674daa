//! Steps that can't fail.

use std::sync::Arc;

use omgservers_api::{ClientId, EntryId, RuntimeId, ids::Id as _, roles::Delivery};
use omgservers_core::Ticks;

use super::{Ground, Step};
use crate::{
    Body, Mailbox,
    client_box::ClientBox,
    inbox::{Held, Queue},
    journal::{EntryKind, Place, Record, Writing},
    qualifier::Qualifier,
    runtime_box::RuntimeBox,
    wakes::Wakes,
};

/// Carries steps out.
pub(super) struct Change<'g, 'a, 'j> {
    pub(super) ground: &'g mut Ground<'a>,
    pub(super) writing: Writing<'j>,
    pub(super) now: Ticks,
    /// Clients that are to be watched from now on.
    pub(super) opened: Vec<ClientId>,
    pub(super) closed: Vec<ClientId>,
    /// Clients that may stand elsewhere now.
    pub(super) moved: Vec<ClientId>,
    /// Runtimes that are told something.
    pub(super) told: Vec<RuntimeId>,
}

impl Change<'_, '_, '_> {
    pub(super) fn carry_out(&mut self, step: Step, wakes: &mut Wakes<'_>) {
        match step {
            Step::OpenClient { client, user, deployment, delivery, epoch } => {
                let it = ClientBox::new(user, deployment, delivery, self.now, epoch);
                self.ground.clients.insert(client, it);
                self.opened.push(client);
                self.write_client(client);
            }
            Step::OpenRuntime { runtime, deployment, delivery, epoch } => {
                self.ground.runtimes.insert(runtime, RuntimeBox::new(deployment, delivery, epoch));
                self.write_runtime(runtime);
            }
            Step::Push { to, id, qualifier, body } => self.push(to, id, qualifier, body, wakes),
            Step::Route { client, to, ids } => self.route(client, to, ids, wakes),
            Step::Close(Mailbox::Client(client)) => self.close_client(client, wakes),
            Step::CloseRuntime { runtime, ids } => self.close_runtime(runtime, ids, wakes),
            Step::Close(Mailbox::Runtime(_)) => {}
            Step::Remove(Mailbox::Client(client)) => self.remove_client(client, wakes),
            Step::Remove(Mailbox::Runtime(runtime)) => self.remove_runtime(runtime, wakes),
        }
    }

    /// Tells those who follow clients. Last of all, so that nobody sees a part.
    pub(super) fn publish(&mut self) {
        let last = self.writing.last();
        for client in std::mem::take(&mut self.moved) {
            if let Some(it) = self.ground.clients.get_mut(client) {
                it.told = Some(Arc::clone(&last));
                it.publish();
            }
        }
        for runtime in std::mem::take(&mut self.told) {
            if let Some(it) = self.ground.runtimes.get_mut(runtime) {
                it.told = Some(Arc::clone(&last));
            }
        }
    }

    fn write_client(&mut self, client: ClientId) {
        if let Some(it) = self.ground.clients.get(client) {
            self.writing.add(Record::Client(Box::new(it.row(client))));
        }
    }

    fn write_runtime(&mut self, runtime: RuntimeId) {
        if let Some(it) = self.ground.runtimes.get(runtime) {
            self.writing.add(Record::Runtime(Box::new(it.row(runtime))));
        }
    }

    /// What the backend itself says is durable whatever the mailbox's delivery.
    fn push(&mut self, to: Mailbox, id: EntryId, qualifier: Qualifier, body: Body, wakes: &mut Wakes<'_>) {
        let (inbox, mailbox) = match to {
            Mailbox::Client(client) => {
                self.moved.push(client);
                (self.ground.clients.get_mut(client).map(|it| &mut it.inbox), client.get())
            }
            Mailbox::Runtime(runtime) => {
                self.told.push(runtime);
                (self.ground.runtimes.get_mut(runtime).map(|it| &mut it.inbox), runtime.get())
            }
        };
        if let Some(inbox) = inbox {
            let place = self.writing.entry(mailbox, id, EntryKind::Waiting, qualifier, &body);
            inbox.push(Held { id, qualifier, body, place, said: None }, wakes);
        }
    }

    fn route(&mut self, client: ClientId, to: Option<RuntimeId>, ids: Vec<EntryId>, wakes: &mut Wakes<'_>) {
        // To say again where it is changes nothing.
        if self.ground.clients.get(client).is_some_and(|it| it.route != to) {
            self.reassign(client);
        }
        self.leave(client);
        let Some(it) = self.ground.clients.get_mut(client) else { return };
        it.route = to;
        let pending = it.pending.take();
        if let Some(runtime) = to {
            if let Some(it) = self.ground.runtimes.get_mut(runtime) {
                it.clients.insert(client);
            }
            if let Some(pending) = pending {
                self.move_pending(client, runtime, *pending, ids, wakes);
            }
        } else if let Some(it) = self.ground.clients.get_mut(client) {
            it.pending = pending;
        }
        self.write_client(client);
    }

    /// Its assignment is another one from now on, and what led to the old runtime's room is void.
    fn reassign(&mut self, client: ClientId) {
        let Some(it) = self.ground.clients.get_mut(client) else { return };
        it.reassigned();
        it.inbox.queue.take_upgrades(|held| self.writing.consumed(client.get(), &held));
        self.moved.push(client);
    }

    /// They were taken, so they are delivered whatever the runtime's bounds.
    fn move_pending(
        &mut self,
        client: ClientId,
        runtime: RuntimeId,
        mut pending: Queue,
        ids: Vec<EntryId>,
        wakes: &mut Wakes<'_>,
    ) {
        let Some(to) = self.ground.runtimes.get_mut(runtime) else { return };
        for (held, id) in pending.take().into_iter().zip(ids) {
            self.writing.moved(client.get(), &held);
            let Held { qualifier, body, .. } = held;
            let place = match to.delivery {
                Delivery::Ephemeral => Place::NOWHERE,
                Delivery::Durable => {
                    self.writing.entry(runtime.get(), id, EntryKind::Waiting, qualifier, &body)
                }
            };
            to.inbox.push(Held { id, qualifier, body, place, said: None }, wakes);
        }
    }

    /// Ends the membership of a client.
    fn leave(&mut self, client: ClientId) {
        let route = self.ground.clients.get_mut(client).and_then(|it| it.route.take());
        if let Some(it) = route.and_then(|it| self.ground.runtimes.get_mut(it)) {
            it.clients.remove(&client);
        }
    }

    fn close_client(&mut self, client: ClientId, wakes: &mut Wakes<'_>) {
        self.leave(client);
        self.reassign(client);
        let Some(it) = self.ground.clients.get_mut(client) else { return };
        it.inbox.closed = true;
        it.inbox.wake(wakes);
        // It has from now on the time that it is given to fetch the reason.
        it.last_seen = self.now;
        if let Some(mut pending) = it.pending.take() {
            for held in pending.take() {
                self.writing.consumed(client.get(), &held);
            }
        }
        self.closed.push(client);
        self.write_client(client);
    }

    fn close_runtime(&mut self, runtime: RuntimeId, ids: Vec<(ClientId, EntryId)>, wakes: &mut Wakes<'_>) {
        self.give_back(runtime, ids);
        self.empty_runtime(runtime, wakes);
        if let Some(it) = self.ground.runtimes.get_mut(runtime) {
            it.inbox.closed = true;
        }
        self.write_runtime(runtime);
    }

    /// What was said to the runtime and taken, and never got there, waits with who said it: it was acknowledged.
    /// In order, and without bounds.
    fn give_back(&mut self, runtime: RuntimeId, ids: Vec<(ClientId, EntryId)>) {
        let Some(it) = self.ground.runtimes.get(runtime) else { return };
        let said: Vec<Held> = it.inbox.unseen().filter(|it| speaker(it).is_some()).cloned().collect();
        for (Held { qualifier, body, .. }, (client, id)) in said.into_iter().zip(ids) {
            let Some(it) = self.ground.clients.get_mut(client) else { continue };
            if it.inbox.closed || it.route != Some(runtime) {
                continue;
            }
            let place = match it.delivery {
                Delivery::Ephemeral => Place::NOWHERE,
                Delivery::Durable => {
                    self.writing.entry(client.get(), id, EntryKind::Pending, qualifier, &body)
                }
            };
            it.pending.get_or_insert_default().push(Held { id, qualifier, body, place, said: None });
        }
    }

    /// Nobody can fetch from it any more, and nobody is with it.
    fn empty_runtime(&mut self, runtime: RuntimeId, wakes: &mut Wakes<'_>) {
        let Some(it) = self.ground.runtimes.get_mut(runtime) else { return };
        it.inbox.wake(wakes);
        for held in it.inbox.queue.take() {
            self.writing.moved(runtime.get(), &held);
        }
        for client in std::mem::take(&mut it.clients) {
            if let Some(it) = self.ground.clients.get_mut(client) {
                it.route = None;
            }
            self.reassign(client);
            self.write_client(client);
        }
    }

    fn remove_client(&mut self, client: ClientId, wakes: &mut Wakes<'_>) {
        self.leave(client);
        let Some(mut it) = self.ground.clients.remove(client) else { return };
        it.inbox.wake(wakes);
        let pending = it.pending.map(|mut it| it.take()).unwrap_or_default();
        for held in it.inbox.queue.take().iter().chain(&pending) {
            self.writing.consumed(client.get(), held);
        }
        self.writing.add(Record::ClientGone(client.get()));
    }

    fn remove_runtime(&mut self, runtime: RuntimeId, wakes: &mut Wakes<'_>) {
        self.empty_runtime(runtime, wakes);
        self.ground.runtimes.remove(runtime);
        self.writing.add(Record::RuntimeGone(runtime.get()));
    }
}

/// Who said a message to a runtime: the body is ours and begins with it. Of other entries: nobody.
pub(super) fn speaker(held: &Held) -> Option<ClientId> {
    if held.qualifier != Qualifier::HANDLE_MESSAGE {
        return None;
    }
    held.body.strip_prefix("{\"client_id\":\"")?.split('"').next()?.parse().ok()
}
