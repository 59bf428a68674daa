//! The records of the journal, one for each change, and the columns that they are folded into.

use std::ops::Range;

use foldhash::{HashMap, HashMapExt as _};
use omgservers_api::{
    ClientId, DeploymentId, RuntimeId, Slot, UserId,
    ids::{BLOCK_BITS, COUNTER_BITS, Id as _},
    roles::Delivery,
};

use crate::{Body, qualifier::Qualifier};

/// Which queue of its mailbox an entry is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// In the mailbox.
    Inbox,
    /// With the client that sent it, until the client has a runtime.
    Pending,
}

impl EntryKind {
    pub(crate) fn number(self) -> i16 {
        match self {
            Self::Inbox => 0,
            Self::Pending => 1,
        }
    }
}

/// The row of a client's mailbox. The counter isn't part of it: it is written with the messages
/// that it counts. So it never counts a message that is in memory only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientRow {
    pub(crate) client: ClientId,
    pub(crate) user: UserId,
    pub(crate) deployment: DeploymentId,
    pub(crate) delivery: Delivery,
    pub(crate) runtime: Option<RuntimeId>,
    pub(crate) assignment: u64,
    pub(crate) closed: bool,
}

/// The row of a runtime's mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RuntimeRow {
    pub(crate) runtime: RuntimeId,
    pub(crate) deployment: DeploymentId,
    pub(crate) delivery: Delivery,
    pub(crate) opened: u64,
    pub(crate) closed: bool,
}

/// One change.
#[derive(Debug)]
pub(crate) enum Record {
    /// An entry that was consumed before it was written.
    Cancelled,
    /// An entry.
    Entry { mailbox: i64, id: i64, kind: EntryKind, qualifier: Qualifier, body: Body },
    /// An entry of an earlier batch is consumed.
    Consumed { mailbox: i64, id: i64 },
    /// A sender's counter.
    Seq { mailbox: i64, seq: u64 },
    /// A client's mailbox as it is now. It is rare and large, so it is boxed.
    Client(Box<ClientRow>),
    /// A client's mailbox is removed.
    ClientGone(i64),
    /// A runtime's mailbox as it is.
    Runtime(Box<RuntimeRow>),
    /// A runtime's mailbox is removed.
    RuntimeGone(i64),
}

impl Record {
    /// The slot of its mailbox; `None` when there is nothing to write any more.
    pub(crate) fn slot(&self) -> Option<Slot> {
        match self {
            Self::Cancelled => None,
            Self::Entry { mailbox, .. } | Self::Consumed { mailbox, .. } | Self::Seq { mailbox, .. } => {
                slot_of(*mailbox)
            }
            Self::Client(row) => Some(row.client.slot()),
            Self::Runtime(row) => Some(row.runtime.slot()),
            Self::ClientGone(mailbox) | Self::RuntimeGone(mailbox) => slot_of(*mailbox),
        }
    }
}

/// The slot of a mailbox.
pub(crate) fn slot_of(mailbox: i64) -> Option<Slot> {
    Slot::new(u16::try_from(mailbox >> (BLOCK_BITS + COUNTER_BITS)).ok()?)
}

/// The changes of one batch in columns, as `unnest` takes them. Of several changes of one mailbox
/// the last counts.
#[derive(Debug, Default)]
pub(crate) struct Rows<'a> {
    /// Which slots are written.
    pub(crate) slots: Vec<Slot>,
    pub(crate) entries: Entries<'a>,
    pub(crate) consumed: Consumed,
    pub(crate) seqs: Seqs,
    pub(crate) clients: Vec<&'a ClientRow>,
    pub(crate) clients_gone: Vec<i64>,
    pub(crate) runtimes: Vec<&'a RuntimeRow>,
    pub(crate) runtimes_gone: Vec<i64>,
    /// Both.
    pub(crate) senders_gone: Vec<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Entries<'a> {
    pub(crate) mailbox: Vec<i64>,
    pub(crate) id: Vec<i64>,
    pub(crate) kind: Vec<i16>,
    pub(crate) qualifier: Vec<i16>,
    pub(crate) body: Vec<&'a str>,
}

/// The columns of a range of entries.
pub(crate) struct EntriesPiece<'a> {
    pub(crate) mailbox: &'a [i64],
    pub(crate) id: &'a [i64],
    pub(crate) kind: &'a [i16],
    pub(crate) qualifier: &'a [i16],
    pub(crate) body: &'a [&'a str],
}

impl Entries<'_> {
    /// The entries in a range.
    pub(crate) fn piece(&self, range: Range<usize>) -> EntriesPiece<'_> {
        EntriesPiece {
            mailbox: self.mailbox.get(range.clone()).unwrap_or_default(),
            id: self.id.get(range.clone()).unwrap_or_default(),
            kind: self.kind.get(range.clone()).unwrap_or_default(),
            qualifier: self.qualifier.get(range.clone()).unwrap_or_default(),
            body: self.body.get(range).unwrap_or_default(),
        }
    }

    /// Cuts the entries into ranges with at most `most` bytes of bodies each. A larger body has a
    /// range of its own.
    pub(crate) fn pieces(&self, most: usize) -> Vec<Range<usize>> {
        let (mut pieces, mut start, mut bytes) = (Vec::new(), 0, 0_usize);
        for (index, body) in self.body.iter().enumerate() {
            if index > start && bytes.saturating_add(body.len()) > most {
                pieces.push(start..index);
                (start, bytes) = (index, 0);
            }
            bytes = bytes.saturating_add(body.len());
        }
        if start < self.body.len() {
            pieces.push(start..self.body.len());
        }
        pieces
    }
}

#[derive(Debug, Default)]
pub(crate) struct Consumed {
    pub(crate) mailbox: Vec<i64>,
    pub(crate) id: Vec<i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Seqs {
    pub(crate) mailbox: Vec<i64>,
    pub(crate) seq: Vec<i64>,
}

impl Seqs {
    fn of(map: HashMap<i64, u64>) -> Self {
        let (mailbox, seq) =
            map.into_iter().map(|(mailbox, seq)| (mailbox, i64::try_from(seq).unwrap_or(i64::MAX))).unzip();
        Self { mailbox, seq }
    }
}

/// The slots that were seen: one flag for each.
struct Slots(Vec<bool>);

impl Slots {
    fn add(&mut self, mailbox: i64) {
        let number = usize::try_from(mailbox >> (BLOCK_BITS + COUNTER_BITS));
        if let Some(seen) = number.ok().and_then(|it| self.0.get_mut(it)) {
            *seen = true;
        }
    }

    fn list(&self) -> Vec<Slot> {
        (0_u16..).zip(&self.0).filter(|it| *it.1).filter_map(|it| Slot::new(it.0)).collect()
    }
}

impl<'a> Rows<'a> {
    /// Folds `records`, which are in the order of the changes.
    pub(crate) fn fold(records: &'a [Record]) -> Self {
        let mut rows = Self::default();
        let mut slots = Slots(vec![false; omgservers_api::ids::SLOTS.into()]);
        let mut seqs = HashMap::new();
        let (mut clients, mut runtimes) = (HashMap::new(), HashMap::new());
        for record in records {
            let mailbox = match record {
                Record::Cancelled => continue,
                Record::Entry { mailbox, id, kind, qualifier, body } => {
                    rows.entries.mailbox.push(*mailbox);
                    rows.entries.id.push(*id);
                    rows.entries.kind.push(kind.number());
                    rows.entries.qualifier.push(qualifier.number());
                    rows.entries.body.push(body);
                    *mailbox
                }
                Record::Consumed { mailbox, id } => {
                    rows.consumed.mailbox.push(*mailbox);
                    rows.consumed.id.push(*id);
                    *mailbox
                }
                Record::Seq { mailbox, seq } => {
                    seqs.insert(*mailbox, *seq);
                    *mailbox
                }
                Record::Client(row) => {
                    clients.entry(row.client.get()).or_insert_with(MailboxChange::default).row = Some(&**row);
                    row.client.get()
                }
                Record::ClientGone(client) => {
                    seqs.remove(client);
                    clients.insert(*client, MailboxChange::GONE);
                    *client
                }
                Record::Runtime(row) => {
                    runtimes.entry(row.runtime.get()).or_insert_with(MailboxChange::default).row =
                        Some(&**row);
                    row.runtime.get()
                }
                Record::RuntimeGone(runtime) => {
                    seqs.remove(runtime);
                    runtimes.insert(*runtime, MailboxChange::GONE);
                    *runtime
                }
            };
            slots.add(mailbox);
        }
        rows.slots = slots.list();
        rows.seqs = Seqs::of(seqs);
        (rows.clients, rows.clients_gone) = split(clients);
        (rows.runtimes, rows.runtimes_gone) = split(runtimes);
        rows.senders_gone = [&*rows.clients_gone, &*rows.runtimes_gone].concat();
        rows
    }

    /// How many rows are written.
    pub(crate) fn count(&self) -> usize {
        [
            self.entries.id.len(),
            self.consumed.id.len(),
            self.seqs.mailbox.len(),
            self.clients.len(),
            self.clients_gone.len(),
            self.runtimes.len(),
            self.runtimes_gone.len(),
        ]
        .iter()
        .sum()
    }
}

/// The change of a mailbox in a batch: it may be deleted first, and then have a new row.
struct MailboxChange<'a, R> {
    gone: bool,
    row: Option<&'a R>,
}

impl<R> Default for MailboxChange<'_, R> {
    fn default() -> Self {
        Self { gone: false, row: None }
    }
}

impl<R> MailboxChange<'_, R> {
    const GONE: Self = Self { gone: true, row: None };
}

/// The rows to write, and the ids to delete before.
fn split<R>(map: HashMap<i64, MailboxChange<'_, R>>) -> (Vec<&R>, Vec<i64>) {
    let gone = map.iter().filter(|it| it.1.gone).map(|it| *it.0).collect();
    (map.into_values().filter_map(|it| it.row).collect(), gone)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: i64 = (5 << 51) | 9;

    fn row(closed: bool) -> Record {
        Record::Client(Box::new(ClientRow {
            client: ClientId::from_i64(CLIENT).unwrap(),
            user: UserId::from_i64(1).unwrap(),
            deployment: DeploymentId::from_i64(2).unwrap(),
            delivery: Delivery::Durable,
            runtime: None,
            assignment: 0,
            closed,
        }))
    }

    #[test]
    fn of_several_changes_of_a_mailbox_the_last_counts() {
        let seq = |seq| Record::Seq { mailbox: CLIENT, seq };
        let records = [row(false), seq(1), row(true), seq(2)];
        let rows = Rows::fold(&records);
        assert_eq!((rows.clients.len(), rows.seqs.seq.as_slice()), (1, [2].as_slice()));
        assert!(rows.clients[0].closed && rows.clients_gone.is_empty());
        let records = [row(false), seq(1), Record::ClientGone(CLIENT)];
        let rows = Rows::fold(&records);
        assert_eq!((rows.count(), rows.clients_gone.as_slice()), (1, [CLIENT].as_slice()));
        // A removed mailbox that comes back starts with a new counter.
        let records = [seq(1), Record::ClientGone(CLIENT), row(false), seq(0)];
        let rows = Rows::fold(&records);
        assert_eq!((rows.clients.len(), rows.clients_gone.len()), (1, 1));
        assert_eq!(rows.seqs.seq, [0]);
    }

    #[test]
    fn entries_are_cut_into_pieces_by_the_bytes_of_their_bodies() {
        let pieces = |bodies: &[&str]| {
            let entries = Entries { body: bodies.to_vec(), ..Entries::default() };
            entries.pieces(4).into_iter().map(|it| (it.start, it.end)).collect::<Vec<_>>()
        };
        assert!(pieces(&[]).is_empty());
        assert_eq!(pieces(&["ab", "cd"]), [(0, 2)]);
        assert_eq!(pieces(&["ab", "cd", "e", "fghijk", "l", ""]), [(0, 2), (2, 3), (3, 4), (4, 6)]);
        assert_eq!(pieces(&["abcdefgh"]), [(0, 1)], "a large body isn't lost");
    }

    #[test]
    fn only_the_slots_of_what_is_written_are_fenced() {
        let records = [
            Record::Consumed { mailbox: (4095 << 51) | 1, id: 1 },
            Record::Seq { mailbox: CLIENT, seq: 1 },
            Record::Cancelled,
            Record::Seq { mailbox: CLIENT, seq: 2 },
        ];
        let slots: Vec<u16> = Rows::fold(&records).slots.iter().map(|it| it.number()).collect();
        assert_eq!(slots, [5, 4095]);
        assert!(Rows::fold(&[Record::Cancelled]).slots.is_empty());
    }
}
