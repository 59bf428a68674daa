//! Changes of mailboxes and routes.
//!
//! First all mailboxes that the ops name are locked. Then the ops are checked: a checked op can't
//! fail. Then the checked ops are carried out. So either all ops are carried out or none, and no
//! other call sees a part of them.

mod change;

use std::{collections::HashMap, sync::Arc};

use omgservers_api::{
    ClientId, DeploymentId, EntryId, Problem, RuntimeId, Slot, UserId, ids::Id as _, roles::Delivery,
};
use omgservers_core::{Tenure, ownership::NOT_OWNER};
use smallvec::{SmallVec, smallvec};

use self::change::Change;
use crate::{
    AckHandle, Body, Bounds, Mailbox, Mailboxes, Op, client_box::ClientBox, problems, qualifier::Qualifier,
    runtime_box::RuntimeBox, service::MOST_BYTES_OF_OPS, shard::Locked,
};

/// An op that was checked, with the ids that it needs.
enum CheckedOp {
    OpenClient {
        client: ClientId,
        user: UserId,
        deployment: DeploymentId,
        delivery: Delivery,
    },
    OpenRuntime {
        runtime: RuntimeId,
        deployment: DeploymentId,
        delivery: Delivery,
        opened: u64,
    },
    Push {
        to: Mailbox,
        id: EntryId,
        qualifier: Qualifier,
        body: Body,
    },
    /// With an id for each message that waits for a runtime.
    Route {
        client: ClientId,
        to: Option<RuntimeId>,
        ids: Vec<EntryId>,
    },
    Close(Mailbox),
    /// With an id for each message that a client sent to the runtime and the runtime never
    /// received.
    CloseRuntime {
        runtime: RuntimeId,
        ids: Vec<(ClientId, EntryId)>,
    },
    Remove(Mailbox),
}

/// Whether a mailbox accepts entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Absent,
    Open,
    Closed,
}

/// The locked mailboxes that the ops of one call name.
struct LockedMailboxes<'a> {
    clients: Locked<'a, ClientId, ClientBox>,
    runtimes: Locked<'a, RuntimeId, RuntimeBox>,
}

impl Mailboxes {
    pub(crate) fn apply(&self, ops: Vec<Op>) -> Result<AckHandle, Problem> {
        let mut deferred = self.journal.deferred();
        let mut locked = self.lock(&ops);
        let tenures = self.must_serve_ops(&ops)?;
        let checked = self.check(&locked, ops)?;
        if checked.is_empty() {
            // What made these ops needless may not be durable yet.
            return Ok(self.journal.so_far(&mut deferred).within(tenures.as_slice()));
        }
        let now = self.clock.ticks();
        let mut change = Change {
            locked: &mut locked,
            writing: self.journal.write(),
            now,
            opened: Vec::new(),
            closed: Vec::new(),
            memberships: Vec::new(),
            moved: Vec::new(),
            commanded: Vec::new(),
        };
        for op in checked {
            change.carry_out(op, &mut deferred);
        }
        change.publish();
        let Change { writing, opened, closed, memberships, .. } = change;
        let ack = writing.commit(&mut deferred);
        // Before a mailbox can change again: the index must not lag behind a later change.
        self.deployments.apply(memberships);
        drop(locked);
        self.idle.watch_all(opened.into_iter().map(|it| (it, now)));
        self.abandoned.watch_all(closed.into_iter().map(|it| (it, now)));
        Ok(ack)
    }

    /// Checks that this process serves the mailboxes of one call. Where slots are lost one by one,
    /// all of them must be in one slot. Otherwise a part of the ops could be written while another
    /// part is lost. Answers the tenure of the slot. Problems: `core.not_owner`, `internal`.
    fn must_serve_ops(&self, ops: &[Op]) -> Result<Option<Arc<Tenure>>, Problem> {
        if !self.ownership.by_slot() {
            return if self.ownership.is_lost() { Err(NOT_OWNER.into()) } else { Ok(None) };
        }
        let mut mailboxes = ops.iter().flat_map(named);
        let Some(first) = mailboxes.next() else { return Ok(None) };
        if mailboxes.any(|it| it.slot() != first.slot()) {
            return Err(Problem::internal("the mailboxes of one call are in different slots"));
        }
        self.must_serve(first)?;
        Ok(self.journal.tenure(first))
    }

    /// Locks every mailbox that carrying the ops out may change.
    fn lock(&self, ops: &[Op]) -> LockedMailboxes<'_> {
        let mut clients = Vec::new();
        let mut runtimes = Vec::new();
        let mut all_clients = false;
        for op in ops {
            match op {
                Op::OpenClient { client, .. }
                | Op::Push { to: Mailbox::Client(client), .. }
                | Op::Inform { client, .. }
                | Op::PushAssigned { client, .. }
                | Op::Close(Mailbox::Client(client))
                | Op::Remove(Mailbox::Client(client)) => clients.push(*client),
                Op::Route { client, to } => {
                    clients.push(*client);
                    runtimes.extend(*to);
                }
                Op::OpenRuntime { runtime, .. } | Op::Push { to: Mailbox::Runtime(runtime), .. } => {
                    runtimes.push(*runtime);
                }
                Op::Close(Mailbox::Runtime(runtime)) | Op::Remove(Mailbox::Runtime(runtime)) => {
                    // The runtime's clients lose their route. They aren't known before the runtime
                    // is locked.
                    runtimes.push(*runtime);
                    all_clients = true;
                }
            }
        }
        let locked = if all_clients {
            self.clients.lock_all()
        } else {
            self.clients.lock_some(clients.iter().copied())
        };
        // A client that moves leaves the runtime that it is with.
        runtimes.extend(clients.iter().filter_map(|it| locked.get(*it)?.route));
        LockedMailboxes { clients: locked, runtimes: self.runtimes.lock_some(runtimes) }
    }

    /// Checks the ops. Problems: everything that [`apply`](crate::Messaging::apply) may answer.
    fn check(&self, locked: &LockedMailboxes<'_>, ops: Vec<Op>) -> Result<Vec<CheckedOp>, Problem> {
        let mut checked = Vec::with_capacity(ops.len());
        // What the mailboxes are after the ops that were checked.
        let mut after: HashMap<Mailbox, Status> = HashMap::new();
        let mut given_back: HashMap<ClientId, usize> = HashMap::new();
        check_bytes(&ops)?;
        // What the checked ops put into clients' mailboxes.
        let mut added: HashMap<ClientId, (usize, usize)> = HashMap::new();
        for op in ops {
            let status = |it: Mailbox| after.get(&it).copied().unwrap_or_else(|| locked.status(it));
            match op {
                Op::OpenClient { client, user, deployment, delivery } => {
                    if status(Mailbox::Client(client)) == Status::Absent {
                        after.insert(Mailbox::Client(client), Status::Open);
                        checked.push(CheckedOp::OpenClient { client, user, deployment, delivery });
                    }
                }
                Op::OpenRuntime { runtime, deployment, delivery } => {
                    if status(Mailbox::Runtime(runtime)) == Status::Absent {
                        let opened = self.epoch(runtime.slot())?;
                        after.insert(Mailbox::Runtime(runtime), Status::Open);
                        checked.push(CheckedOp::OpenRuntime { runtime, deployment, delivery, opened });
                    }
                }
                Op::Push { to, qualifier, body } => {
                    if status(to) == Status::Open {
                        checked.push(self.check_push(to, qualifier, body)?);
                    }
                }
                Op::PushAssigned { client, assignment, qualifier, body } => {
                    let mailbox = Mailbox::Client(client);
                    let still = locked.clients.get(client).is_some_and(|it| it.assignment == assignment);
                    if still && status(mailbox) == Status::Open {
                        if !self.fits(locked, client, body.len(), &mut added) {
                            return Err(problems::MAILBOX_FULL.detail(format!(
                                "client {client} has not consumed what it was sent before"
                            )));
                        }
                        checked.push(self.check_push(mailbox, qualifier, body)?);
                    }
                }
                Op::Inform { client, qualifier, body } => {
                    let mailbox = Mailbox::Client(client);
                    if status(mailbox) == Status::Open {
                        if self.fits(locked, client, body.len(), &mut added) {
                            checked.push(self.check_push(mailbox, qualifier, body)?);
                        } else {
                            self.meters.refused(1);
                        }
                    }
                }
                Op::Route { client, to: Some(runtime) } => {
                    if status(Mailbox::Client(client)) != Status::Open {
                        return Err(
                            problems::CLIENT_NOT_FOUND.detail(format!("client {client} can't be routed"))
                        );
                    }
                    if status(Mailbox::Runtime(runtime)) != Status::Open {
                        return Err(
                            problems::RUNTIME_NOT_FOUND.detail(format!("nothing can be routed to {runtime}"))
                        );
                    }
                    let pending = locked.clients.get(client).and_then(|it| it.pending.as_ref());
                    let pending = pending.map_or(0, |it| it.len());
                    let pending = pending.saturating_add(given_back.get(&client).copied().unwrap_or(0));
                    let ids = (0..pending).map(|_| self.mint.child(runtime)).collect::<Result<_, _>>()?;
                    checked.push(CheckedOp::Route { client, to: Some(runtime), ids });
                }
                Op::Route { client, to: None } => {
                    if status(Mailbox::Client(client)) == Status::Open {
                        checked.push(CheckedOp::Route { client, to: None, ids: Vec::new() });
                    }
                }
                Op::Close(mailbox) => {
                    if status(mailbox) == Status::Open {
                        after.insert(mailbox, Status::Closed);
                        checked.push(match mailbox {
                            Mailbox::Client(_) => CheckedOp::Close(mailbox),
                            Mailbox::Runtime(runtime) => {
                                let ids = self.check_close(locked, runtime)?;
                                for (client, _) in &ids {
                                    *given_back.entry(*client).or_default() += 1;
                                }
                                CheckedOp::CloseRuntime { runtime, ids }
                            }
                        });
                    }
                }
                Op::Remove(mailbox) => {
                    if status(mailbox) != Status::Absent {
                        after.insert(mailbox, Status::Absent);
                        checked.push(CheckedOp::Remove(mailbox));
                    }
                }
            }
        }
        Ok(checked)
    }

    /// Whether one more entry fits into a client's mailbox after those that were `added`.
    fn fits(
        &self,
        locked: &LockedMailboxes<'_>,
        client: ClientId,
        bytes: usize,
        added: &mut HashMap<ClientId, (usize, usize)>,
    ) -> bool {
        let (entries, more) = added.entry(client).or_default();
        (*entries, *more) = (entries.saturating_add(1), more.saturating_add(bytes));
        let Bounds { most_entries, most_bytes, .. } = self.bounds;
        let mailbox = locked.clients.get(client);
        mailbox.is_none_or(|it| it.inbox.queue.fits(*entries, *more, most_entries, most_bytes))
    }

    fn check_push(&self, to: Mailbox, qualifier: &'static str, body: Body) -> Result<CheckedOp, Problem> {
        let unknown = || Problem::internal(format!("{qualifier} is no qualifier of a mailbox"));
        let qualifier = Qualifier::of(qualifier).ok_or_else(unknown)?;
        if body.contains('\0') {
            // PostgreSQL would refuse it, and the whole batch with it, for ever.
            return Err(Problem::internal("the body of an entry isn't JSON"));
        }
        let id = match to {
            Mailbox::Client(client) => self.mint.child(client)?,
            Mailbox::Runtime(runtime) => self.mint.child(runtime)?,
        };
        Ok(CheckedOp::Push { to, id, qualifier, body })
    }

    /// The messages that the runtime never received wait for the next runtime of their clients. A
    /// message that it received may have ended it.
    fn check_close(
        &self,
        locked: &LockedMailboxes<'_>,
        runtime: RuntimeId,
    ) -> Result<Vec<(ClientId, EntryId)>, Problem> {
        let entry = locked.runtimes.get(runtime).map(|it| it.inbox.unreceived()).into_iter().flatten();
        entry.filter_map(change::sender_of).map(|it| Ok((it, self.mint.child(it)?))).collect()
    }

    fn epoch(&self, slot: Slot) -> Result<u64, Problem> {
        Ok(u64::try_from(self.ownership.tenure(slot)?.epoch()).unwrap_or_default())
    }
}

/// Checks the size of the commit. Problems: `internal`.
fn check_bytes(ops: &[Op]) -> Result<(), Problem> {
    let bytes = ops.iter().fold(0_usize, |sum, op| match op {
        Op::Push { body, .. } | Op::Inform { body, .. } | Op::PushAssigned { body, .. } => {
            sum.saturating_add(body.len())
        }
        _ => sum,
    });
    if bytes <= MOST_BYTES_OF_OPS {
        return Ok(());
    }
    Err(Problem::internal(format!("ops with {bytes} bytes of bodies: at most {MOST_BYTES_OF_OPS}")))
}

/// The mailboxes that an op names, as ids of entries.
fn named(op: &Op) -> SmallVec<[EntryId; 2]> {
    let ids: SmallVec<[i64; 2]> = match op {
        Op::OpenClient { client, .. } | Op::Inform { client, .. } | Op::PushAssigned { client, .. } => {
            smallvec![client.get()]
        }
        Op::OpenRuntime { runtime, .. } => smallvec![runtime.get()],
        Op::Push { to: mailbox, .. } | Op::Close(mailbox) | Op::Remove(mailbox) => match mailbox {
            Mailbox::Client(client) => smallvec![client.get()],
            Mailbox::Runtime(runtime) => smallvec![runtime.get()],
        },
        Op::Route { client, to } => std::iter::once(client.get()).chain(to.map(|it| it.get())).collect(),
    };
    ids.into_iter().filter_map(EntryId::from_i64).collect()
}

impl LockedMailboxes<'_> {
    fn status(&self, mailbox: Mailbox) -> Status {
        let inbox = match mailbox {
            Mailbox::Client(client) => self.clients.get(client).map(|it| &it.inbox),
            Mailbox::Runtime(runtime) => self.runtimes.get(runtime).map(|it| &it.inbox),
        };
        match inbox {
            None => Status::Absent,
            Some(inbox) if inbox.closed => Status::Closed,
            Some(_) => Status::Open,
        }
    }
}
