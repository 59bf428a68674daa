//! Carries out checked ops, which can't fail.

use std::sync::Arc;

use omgservers_api::{ClientId, EntryId, RuntimeId, ids::Id as _, roles::Delivery};
use omgservers_core::Ticks;

use super::{CheckedOp, LockedMailboxes};
use crate::{
    Body, Mailbox,
    client_box::ClientBox,
    deferred::DeferredWakeups,
    deployments::Membership,
    entry::{JournalPosition, QueuedEntry},
    inbox::Queue,
    journal::{EntryKind, JournalGuard, Record},
    qualifier::Qualifier,
    runtime_box::RuntimeBox,
};

/// Carries checked ops out.
pub(super) struct Change<'g, 'a, 'j> {
    pub(super) locked: &'g mut LockedMailboxes<'a>,
    pub(super) writing: JournalGuard<'j>,
    pub(super) now: Ticks,
    /// Clients that are to be watched from now on.
    pub(super) opened: Vec<ClientId>,
    pub(super) closed: Vec<ClientId>,
    /// Mailboxes of clients that were opened or removed, in order.
    pub(super) memberships: Vec<Membership>,
    /// Clients whose assignment status may have changed.
    pub(super) moved: Vec<ClientId>,
    /// Runtimes that got a command of the backend.
    pub(super) commanded: Vec<RuntimeId>,
}

impl Change<'_, '_, '_> {
    pub(super) fn carry_out(&mut self, op: CheckedOp, deferred: &mut DeferredWakeups<'_>) {
        match op {
            CheckedOp::OpenClient { client, user, deployment, delivery } => {
                let mailbox = ClientBox::new(user, deployment, delivery, self.now);
                self.locked.clients.insert(client, mailbox);
                self.opened.push(client);
                self.memberships.push(Membership::Added(deployment, client));
                self.write_client(client);
            }
            CheckedOp::OpenRuntime { runtime, deployment, delivery, opened } => {
                self.locked.runtimes.insert(runtime, RuntimeBox::new(deployment, delivery, opened));
                self.write_runtime(runtime);
            }
            CheckedOp::Push { to, id, qualifier, body } => self.push(to, id, qualifier, body, deferred),
            CheckedOp::Route { client, to, ids } => self.route(client, to, ids, deferred),
            CheckedOp::Close(Mailbox::Client(client)) => self.close_client(client, deferred),
            CheckedOp::CloseRuntime { runtime, ids } => self.close_runtime(runtime, ids, deferred),
            CheckedOp::Close(Mailbox::Runtime(_)) => {}
            CheckedOp::Remove(Mailbox::Client(client)) => self.remove_client(client, deferred),
            CheckedOp::Remove(Mailbox::Runtime(runtime)) => self.remove_runtime(runtime, deferred),
        }
    }

    /// Publishes the status of the clients that moved. Comes last, so that no watcher sees a part
    /// of the change.
    pub(super) fn publish(&mut self) {
        let last = self.writing.last();
        for client in std::mem::take(&mut self.moved) {
            if let Some(mailbox) = self.locked.clients.get_mut(client) {
                mailbox.last_control = Some(Arc::clone(&last));
                mailbox.publish();
            }
        }
        for runtime in std::mem::take(&mut self.commanded) {
            if let Some(mailbox) = self.locked.runtimes.get_mut(runtime) {
                mailbox.last_control = Some(Arc::clone(&last));
            }
        }
    }

    fn write_client(&mut self, client: ClientId) {
        if let Some(mailbox) = self.locked.clients.get(client) {
            self.writing.add(Record::Client(Box::new(mailbox.row(client))));
        }
    }

    fn write_runtime(&mut self, runtime: RuntimeId) {
        if let Some(mailbox) = self.locked.runtimes.get(runtime) {
            self.writing.add(Record::Runtime(Box::new(mailbox.row(runtime))));
        }
    }

    /// Messages of the backend itself are durable, also in an ephemeral mailbox.
    fn push(
        &mut self,
        to: Mailbox,
        id: EntryId,
        qualifier: Qualifier,
        body: Body,
        deferred: &mut DeferredWakeups<'_>,
    ) {
        let (inbox, mailbox) = match to {
            Mailbox::Client(client) => {
                self.moved.push(client);
                (self.locked.clients.get_mut(client).map(|it| &mut it.inbox), client.get())
            }
            Mailbox::Runtime(runtime) => {
                self.commanded.push(runtime);
                (self.locked.runtimes.get_mut(runtime).map(|it| &mut it.inbox), runtime.get())
            }
        };
        if let Some(inbox) = inbox {
            let position = self.writing.entry(mailbox, id, EntryKind::Inbox, qualifier, &body);
            inbox.push(QueuedEntry { id, qualifier, body, position, completion: None }, deferred);
        }
    }

    fn route(
        &mut self,
        client: ClientId,
        to: Option<RuntimeId>,
        ids: Vec<EntryId>,
        deferred: &mut DeferredWakeups<'_>,
    ) {
        // The same route again changes nothing.
        if self.locked.clients.get(client).is_some_and(|it| it.route != to) {
            self.reassign(client);
        }
        self.leave(client);
        let Some(mailbox) = self.locked.clients.get_mut(client) else { return };
        mailbox.route = to;
        let pending = mailbox.pending.take();
        if let Some(runtime) = to {
            if let Some(mailbox) = self.locked.runtimes.get_mut(runtime) {
                mailbox.clients.insert(client);
            }
            if let Some(pending) = pending {
                self.move_pending(client, runtime, *pending, ids, deferred);
            }
        } else if let Some(mailbox) = self.locked.clients.get_mut(client) {
            mailbox.pending = pending;
        }
        self.write_client(client);
    }

    /// Gives the client a new assignment. Upgrades to the old runtime's room are void.
    fn reassign(&mut self, client: ClientId) {
        let Some(mailbox) = self.locked.clients.get_mut(client) else { return };
        mailbox.reassigned();
        mailbox.inbox.queue.take_upgrades(|entry| self.writing.consumed(client.get(), &entry));
        self.moved.push(client);
    }

    /// Moves the messages that wait for a runtime. They were accepted before, so the runtime's
    /// bounds don't apply.
    fn move_pending(
        &mut self,
        client: ClientId,
        runtime: RuntimeId,
        mut pending: Queue,
        ids: Vec<EntryId>,
        deferred: &mut DeferredWakeups<'_>,
    ) {
        let Some(to) = self.locked.runtimes.get_mut(runtime) else { return };
        for (entry, id) in pending.take().into_iter().zip(ids) {
            self.writing.moved(client.get(), &entry);
            let QueuedEntry { qualifier, body, .. } = entry;
            let position = match to.delivery {
                Delivery::Ephemeral => JournalPosition::NOWHERE,
                Delivery::Durable => {
                    self.writing.entry(runtime.get(), id, EntryKind::Inbox, qualifier, &body)
                }
            };
            to.inbox.push(QueuedEntry { id, qualifier, body, position, completion: None }, deferred);
        }
    }

    /// Ends the membership of a client.
    fn leave(&mut self, client: ClientId) {
        let route = self.locked.clients.get_mut(client).and_then(|it| it.route.take());
        if let Some(runtime_box) = route.and_then(|it| self.locked.runtimes.get_mut(it)) {
            runtime_box.clients.remove(&client);
        }
    }

    fn close_client(&mut self, client: ClientId, deferred: &mut DeferredWakeups<'_>) {
        self.leave(client);
        self.reassign(client);
        let Some(mailbox) = self.locked.clients.get_mut(client) else { return };
        mailbox.inbox.closed = true;
        mailbox.inbox.wake(deferred);
        // From now on the client has a limited time to receive the reason.
        mailbox.last_seen = self.now;
        if let Some(mut pending) = mailbox.pending.take() {
            for entry in pending.take() {
                self.writing.consumed(client.get(), &entry);
            }
        }
        self.closed.push(client);
        self.write_client(client);
    }

    fn close_runtime(
        &mut self,
        runtime: RuntimeId,
        ids: Vec<(ClientId, EntryId)>,
        deferred: &mut DeferredWakeups<'_>,
    ) {
        self.give_back(runtime, ids);
        self.empty_runtime(runtime, deferred);
        if let Some(mailbox) = self.locked.runtimes.get_mut(runtime) {
            mailbox.inbox.closed = true;
        }
        self.write_runtime(runtime);
    }

    /// Messages that the runtime never received wait with their senders again: they were
    /// acknowledged. They stay in order, and no bounds apply.
    fn give_back(&mut self, runtime: RuntimeId, ids: Vec<(ClientId, EntryId)>) {
        let Some(mailbox) = self.locked.runtimes.get(runtime) else { return };
        let unreceived: Vec<QueuedEntry> =
            mailbox.inbox.unreceived().filter(|it| sender_of(it).is_some()).cloned().collect();
        for (QueuedEntry { qualifier, body, .. }, (client, id)) in unreceived.into_iter().zip(ids) {
            let Some(mailbox) = self.locked.clients.get_mut(client) else { continue };
            if mailbox.inbox.closed || mailbox.route != Some(runtime) {
                continue;
            }
            let position = match mailbox.delivery {
                Delivery::Ephemeral => JournalPosition::NOWHERE,
                Delivery::Durable => {
                    self.writing.entry(client.get(), id, EntryKind::Pending, qualifier, &body)
                }
            };
            mailbox.pending.get_or_insert_default().push(QueuedEntry {
                id,
                qualifier,
                body,
                position,
                completion: None,
            });
        }
    }

    /// Empties the mailbox of a runtime and clears the routes of its clients.
    fn empty_runtime(&mut self, runtime: RuntimeId, deferred: &mut DeferredWakeups<'_>) {
        let Some(mailbox) = self.locked.runtimes.get_mut(runtime) else { return };
        mailbox.inbox.wake(deferred);
        for entry in mailbox.inbox.queue.take() {
            self.writing.moved(runtime.get(), &entry);
        }
        for client in std::mem::take(&mut mailbox.clients) {
            if let Some(mailbox) = self.locked.clients.get_mut(client) {
                mailbox.route = None;
            }
            self.reassign(client);
            self.write_client(client);
        }
    }

    fn remove_client(&mut self, client: ClientId, deferred: &mut DeferredWakeups<'_>) {
        self.leave(client);
        let Some(mut mailbox) = self.locked.clients.remove(client) else { return };
        mailbox.inbox.wake(deferred);
        self.memberships.push(Membership::Removed(mailbox.deployment, client));
        let pending = mailbox.pending.map(|mut it| it.take()).unwrap_or_default();
        for entry in mailbox.inbox.queue.take().iter().chain(&pending) {
            self.writing.consumed(client.get(), entry);
        }
        self.writing.add(Record::ClientGone(client.get()));
    }

    fn remove_runtime(&mut self, runtime: RuntimeId, deferred: &mut DeferredWakeups<'_>) {
        self.empty_runtime(runtime, deferred);
        self.locked.runtimes.remove(runtime);
        self.writing.add(Record::RuntimeGone(runtime.get()));
    }
}

/// The sender of a message to a runtime: this crate writes the body, which begins with the client.
/// `None` for other entries.
pub(super) fn sender_of(entry: &QueuedEntry) -> Option<ClientId> {
    if entry.qualifier != Qualifier::HANDLE_MESSAGE {
        return None;
    }
    entry.body.strip_prefix("{\"client_id\":\"")?.split('"').next()?.parse().ok()
}
