//! The tickets that wait, by handle, id, client and position.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Excluded, Unbounded},
    sync::Arc,
};

use foldhash::fast::FixedState;
use omgservers_api::{ClientId, TicketId, ids::Id as _};

use crate::{Millis, Refusal, Ticket, values::Values};

/// Where a waiting ticket lies; given to another one after it has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Handle(u32);

/// First come, first served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct QueueOrder {
    pub(crate) position: u64,
    /// 0 is before every ticket.
    id: i64,
}

impl QueueOrder {
    pub(crate) const fn first() -> Self {
        Self { position: 0, id: 0 }
    }
    pub(crate) const fn last() -> Self {
        Self { position: u64::MAX, id: i64::MAX }
    }
}

#[derive(Debug)]
pub(crate) struct QueuedTicket {
    pub(crate) ticket: Ticket,
    pub(crate) values: Arc<Values>,
    pub(crate) stage: usize,
    pub(crate) size: u32,
    /// When the next thing happens to it.
    pub(crate) due: Option<Millis>,
}

impl QueuedTicket {
    pub(crate) fn order(&self) -> QueueOrder {
        QueueOrder { position: self.ticket.position, id: self.ticket.id.get() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct TicketQueue {
    slots: Vec<Option<QueuedTicket>>,
    free: Vec<u32>,
    by_id: HashMap<TicketId, Handle, FixedState>,
    by_client: HashMap<ClientId, Handle, FixedState>,
    by_position: BTreeMap<QueueOrder, Handle>,
    players: u64,
}

impl TicketQueue {
    pub(crate) fn get(&self, handle: Handle) -> Option<&QueuedTicket> {
        self.slots.get(usize::try_from(handle.0).ok()?)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, handle: Handle) -> Option<&mut QueuedTicket> {
        self.slots.get_mut(usize::try_from(handle.0).ok()?)?.as_mut()
    }

    pub(crate) fn find(&self, id: TicketId) -> Option<Handle> {
        self.by_id.get(&id).copied()
    }

    /// A ticket and its clients wait once.
    pub(crate) fn check(&self, ticket: &Ticket) -> Result<(), Refusal> {
        if self.by_id.contains_key(&ticket.id) {
            return Err(Refusal::TicketWaits(ticket.id));
        }
        for client in &ticket.clients {
            if let Some(other) = self.by_client.get(client).and_then(|it| self.get(*it)) {
                return Err(Refusal::ClientWaits { client: *client, ticket: other.ticket.id });
            }
        }
        Ok(())
    }

    pub(crate) fn insert(&mut self, waiting: QueuedTicket) -> Handle {
        let next = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
        let handle = Handle(self.free.pop().unwrap_or(next));
        self.by_id.insert(waiting.ticket.id, handle);
        self.by_client.extend(waiting.ticket.clients.iter().map(|it| (*it, handle)));
        self.by_position.insert(waiting.order(), handle);
        self.players += u64::from(waiting.size);
        match usize::try_from(handle.0).ok().and_then(|it| self.slots.get_mut(it)) {
            Some(slot) => *slot = Some(waiting),
            None => self.slots.push(Some(waiting)),
        }
        handle
    }

    pub(crate) fn remove(&mut self, handle: Handle) -> Option<QueuedTicket> {
        let waiting = self.slots.get_mut(usize::try_from(handle.0).ok()?)?.take()?;
        self.free.push(handle.0);
        self.by_id.remove(&waiting.ticket.id);
        for client in &waiting.ticket.clients {
            self.by_client.remove(client);
        }
        self.by_position.remove(&waiting.order());
        self.players -= u64::from(waiting.size);
        Some(waiting)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn players(&self) -> u64 {
        self.players
    }

    pub(crate) fn by_position(&self) -> impl Iterator<Item = (Handle, &QueuedTicket)> {
        self.by_position.values().filter_map(|it| Some((*it, self.get(*it)?)))
    }

    /// The first one behind this position.
    pub(crate) fn after(&self, order: QueueOrder) -> Option<(Handle, QueueOrder)> {
        self.by_position.range((Excluded(order), Unbounded)).next().map(|it| (*it.1, *it.0))
    }
}
