//! Loads mailboxes from the database: the entries that wait, and no history.

use futures_util::{TryStreamExt as _, pin_mut};
use omgservers_api::{
    ClientId, EntryId, Problem, RuntimeId, Slot,
    ids::{BLOCK_BITS, COUNTER_BITS, Id},
    roles::Delivery,
};
use omgservers_core::Ticks;
use tokio_postgres::{Client, Row, types::FromSql};

use crate::{
    client_box::ClientBox,
    entry::{JournalPosition, QueuedEntry},
    journal::EntryKind,
    qualifier::Qualifier,
    runtime_box::RuntimeBox,
    shard::{ClientShards, RuntimeShards},
};

/// One snapshot of all tables. The plans are for whole tables, unlike those of the writer's
/// session.
const BEGIN: &str = "begin isolation level repeatable read read only; set local statement_timeout = 0; \
     set local idle_in_transaction_session_timeout = 0; set local enable_seqscan = on; set local work_mem = '128MB'; \
     set local plan_cache_mode = force_custom_plan";
const CLIENTS: &str = "select id, user_id, deployment_id, runtime_id, closed, delivery, assignment from messaging.client_box \
     where id between $1 and $2";
const RUNTIMES: &str = "select id, deployment_id, closed, delivery, opened from messaging.runtime_box where id between $1 and $2";
const SENDERS: &str = "select id, last_seq from messaging.sender where id between $1 and $2";
const ENTRIES: &str = "select mailbox_id, id, kind, qualifier, body from messaging.entry \
     where mailbox_id between $1 and $2 order by mailbox_id, id";

/// The ids of some mailboxes, both ends included.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IdRange(i64, i64);

impl IdRange {
    /// All ids.
    pub(crate) const ALL: Self = Self(0, i64::MAX);

    /// The ids of a slot.
    pub(crate) fn of(slot: Slot) -> Self {
        let bits = BLOCK_BITS + COUNTER_BITS;
        let first = i64::from(slot.number()) << bits;
        Self(first, first | ((1 << bits) - 1))
    }
}

/// An entry in the database without a mailbox.
pub(crate) struct Orphan {
    pub(crate) mailbox: i64,
    pub(crate) id: i64,
}

/// Reads the mailboxes in `range`. `now` counts as the clients' last sign of life: a time without a
/// backend is no fault of theirs.
pub(crate) async fn load(
    database: &Client,
    range: IdRange,
    now: Ticks,
    clients: &ClientShards,
    runtimes: &RuntimeShards,
) -> Result<Vec<Orphan>, Problem> {
    database.batch_execute(BEGIN).await.map_err(Problem::unavailable)?;
    each(database, RUNTIMES, range, |row| {
        let runtime: RuntimeId = id(row, 0)?;
        let mut mailbox = RuntimeBox::new(id(row, 1)?, delivery(row, 3)?, number(row, 4)?);
        mailbox.inbox.closed = get(row, 2)?;
        runtimes.lock(runtime).insert(runtime, mailbox);
        Ok(())
    })
    .await?;
    each(database, CLIENTS, range, |row| {
        let client: ClientId = id(row, 0)?;
        let mut mailbox = ClientBox::new(id(row, 1)?, id(row, 2)?, delivery(row, 5)?, now);
        mailbox.route = get::<Option<i64>>(row, 3)?.and_then(RuntimeId::from_i64);
        mailbox.inbox.closed = get(row, 4)?;
        mailbox.assignment = number(row, 6)?;
        if mailbox.route.is_some_and(|it| !join(runtimes, it, client)) {
            mailbox.route = None;
            mailbox.reassigned();
        }
        clients.lock(client).insert(client, mailbox);
        Ok(())
    })
    .await?;
    each(database, SENDERS, range, |row| {
        let last_seq = u64::try_from(get::<i64>(row, 1)?).ok();
        if let Ok(client) = id(row, 0)
            && let Some(mailbox) = clients.lock(client).get_mut(&client)
        {
            mailbox.last_seq = last_seq;
        } else if let Ok(runtime) = id(row, 0)
            && let Some(mailbox) = runtimes.lock(runtime).get_mut(&runtime)
        {
            mailbox.last_seq = last_seq;
        }
        Ok(())
    })
    .await?;
    let mut orphans = Vec::new();
    each(database, ENTRIES, range, |row| {
        let mailbox: EntryId = id(row, 0)?;
        if !put(row, mailbox, clients, runtimes)? {
            orphans.push(Orphan { mailbox: mailbox.get(), id: get(row, 1)? });
        }
        Ok(())
    })
    .await?;
    database.batch_execute("commit").await.map_err(Problem::unavailable)?;
    Ok(orphans)
}

async fn each(
    database: &Client,
    query: &str,
    range: IdRange,
    mut read: impl FnMut(&Row) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let rows = database.query_raw(query, [range.0, range.1]).await.map_err(Problem::unavailable)?;
    // A stream of rows, so that each entry is in memory only once.
    pin_mut!(rows);
    while let Some(row) = rows.try_next().await.map_err(Problem::unavailable)? {
        read(&row)?;
    }
    Ok(())
}

/// Adds a client to a runtime; `false` when there is no such open runtime.
fn join(runtimes: &RuntimeShards, runtime: RuntimeId, client: ClientId) -> bool {
    match runtimes.lock(runtime).get_mut(&runtime) {
        Some(mailbox) if !mailbox.inbox.closed => {
            mailbox.clients.insert(client);
            true
        }
        _ => false,
    }
}

/// Puts an entry into its queue; `false` when there is no such queue.
fn put(
    row: &Row,
    mailbox: EntryId,
    clients: &ClientShards,
    runtimes: &RuntimeShards,
) -> Result<bool, Problem> {
    let kind: i16 = get(row, 2)?;
    let number: i16 = get(row, 3)?;
    let Some(qualifier) = Qualifier::from_i16(number) else {
        // A newer version of the server wrote it, and may need it when it runs again.
        tracing::warn!(%mailbox, number, "an entry of a mailbox has a qualifier that this version doesn't know");
        return Ok(true);
    };
    let body = get::<&str>(row, 4)?.into();
    let entry = QueuedEntry {
        id: id(row, 1)?,
        qualifier,
        body,
        position: JournalPosition::DATABASE,
        completion: None,
    };
    // Ids are unique across kinds: a mailbox is a client's or a runtime's.
    if let Some(client) = ClientId::from_i64(mailbox.get())
        && let Some(client_box) = clients.lock(client).get_mut(&client)
    {
        if kind == EntryKind::Pending.number() {
            client_box.pending.get_or_insert_default().push(entry);
        } else {
            client_box.inbox.queue.push(entry);
        }
        return Ok(true);
    }
    if let Some(runtime) = RuntimeId::from_i64(mailbox.get())
        && let Some(runtime_box) = runtimes.lock(runtime).get_mut(&runtime)
        && !runtime_box.inbox.closed
    {
        runtime_box.inbox.queue.push(entry);
        return Ok(true);
    }
    Ok(false)
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, column: usize) -> Result<T, Problem> {
    row.try_get(column).map_err(Problem::internal)
}

fn id<I: Id>(row: &Row, column: usize) -> Result<I, Problem> {
    I::from_i64(get(row, column)?).ok_or_else(|| Problem::internal("an id in the database isn't positive"))
}

fn number(row: &Row, column: usize) -> Result<u64, Problem> {
    u64::try_from(get::<i64>(row, column)?).map_err(Problem::internal)
}

fn delivery(row: &Row, column: usize) -> Result<Delivery, Problem> {
    get::<&str>(row, column)?.parse().map_err(Problem::internal)
}
