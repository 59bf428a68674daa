//! A group commit of rows like those of messages: one writer takes all that has gathered while it
//! wrote the last.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use futures_util::join;
use tokio::sync::Notify;
use tokio_postgres::{Client, Error, NoTls, Statement, types::ToSql};

/// A table like the one that the server writes, and the settings of its session.
const TABLE: &str = "create schema if not exists bench;
    drop table if exists bench.entry;
    create table bench.entry (like messaging.entry including all) with (
        autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
    alter table bench.entry alter column body set storage external;";
const SETTINGS: &str = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off;
    set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off;";
const INSERT: &str = "insert into bench.entry (mailbox_id, id, kind, qualifier, body)
    select * from unnest($1::int8[], $2::int8[], $3::int2[], $4::int2[], $5::text[])";
const DELETE: &str = "delete from bench.entry where ctid = any (array(
    select found.ctid from unnest($1::int8[], $2::int8[]) as gone (mailbox_id, id),
    lateral (select e.ctid from bench.entry as e
        where e.mailbox_id = gone.mailbox_id and e.id = gone.id offset 0) as found))";

/// The rows of one commit.
#[derive(Default)]
pub(crate) struct Rows {
    mailbox: Vec<i64>,
    id: Vec<i64>,
    kind: Vec<i16>,
    qualifier: Vec<i16>,
    body: Vec<Arc<str>>,
    gone: (Vec<i64>, Vec<i64>),
}

impl Rows {
    pub(crate) fn insert(&mut self, mailbox: i64, id: i64, qualifier: i16, body: &Arc<str>) {
        self.mailbox.push(mailbox);
        self.id.push(id);
        self.kind.push(0);
        self.qualifier.push(qualifier);
        self.body.push(Arc::clone(body));
    }

    pub(crate) fn delete(&mut self, mailbox: i64, id: i64) {
        self.gone.0.push(mailbox);
        self.gone.1.push(id);
    }

    /// What isn't written yet needn't be.
    fn cancel_or_delete(&mut self, mailbox: i64, id: i64) {
        let Some(at) = self.id.iter().rposition(|it| *it == id) else { return self.delete(mailbox, id) };
        self.mailbox.swap_remove(at);
        self.id.swap_remove(at);
        self.kind.swap_remove(at);
        self.qualifier.swap_remove(at);
        self.body.swap_remove(at);
    }
}

/// The session that writes.
pub(crate) struct Session {
    client: Client,
    insert: Statement,
    delete: Statement,
}

impl Session {
    /// Its table is empty.
    pub(crate) async fn open(config: &tokio_postgres::Config) -> Result<Self, Error> {
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        client.batch_execute(TABLE).await?;
        client.batch_execute(SETTINGS).await?;
        let (insert, delete) = (client.prepare(INSERT).await?, client.prepare(DELETE).await?);
        Ok(Self { client, insert, delete })
    }

    /// Writes all in one transaction and one round trip.
    pub(crate) async fn write(&self, rows: &Rows) -> Result<(), Error> {
        let body: Vec<&str> = rows.body.iter().map(|it| &**it).collect();
        let insert: [&(dyn ToSql + Sync); 5] = [&rows.mailbox, &rows.id, &rows.kind, &rows.qualifier, &body];
        let delete: [&(dyn ToSql + Sync); 2] = [&rows.gone.0, &rows.gone.1];
        let results = join!(
            async { self.client.batch_execute("begin").await.map(|()| 0) },
            self.run(&self.delete, &delete, rows.gone.0.is_empty()),
            self.run(&self.insert, &insert, rows.id.is_empty()),
            async { self.client.batch_execute("commit").await.map(|()| 0) },
        );
        for result in [results.0, results.1, results.2, results.3] {
            result?;
        }
        Ok(())
    }

    async fn run(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
        nothing: bool,
    ) -> Result<u64, Error> {
        if nothing { Ok(0) } else { self.client.execute(statement, parameters).await }
    }
}

/// What gathers for the next commit, and whom it wakes.
#[derive(Default)]
pub(super) struct Journal {
    open: Mutex<(Rows, Arc<Commit>)>,
    doorbell: Notify,
}

/// A commit that is waited for.
#[derive(Default)]
pub(super) struct Commit {
    done: AtomicBool,
    waiters: Notify,
}

impl Commit {
    pub(super) async fn wait(&self) {
        let waiting = self.waiters.notified();
        if !self.done.load(Ordering::Acquire) {
            waiting.await;
        }
    }
}

impl Journal {
    /// Takes rows, and answers what to wait for.
    pub(super) fn insert<'a>(
        &self,
        rows: impl Iterator<Item = (i64, i64, i16, &'a Arc<str>)>,
    ) -> Arc<Commit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        rows.for_each(|it| open.0.insert(it.0, it.1, it.2, it.3));
        let commit = Arc::clone(&open.1);
        drop(open);
        self.doorbell.notify_one();
        commit
    }

    /// These needn't be there any more; nobody waits for it.
    pub(super) fn consume(&self, mailbox: i64, ids: &[i64]) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().for_each(|id| open.0.cancel_or_delete(mailbox, *id));
    }

    /// Writes for ever.
    pub(super) async fn run(&self, session: Session) -> Result<(), Error> {
        loop {
            self.doorbell.notified().await;
            let (rows, commit) =
                std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
            session.write(&rows).await?;
            commit.done.store(true, Ordering::Release);
            commit.waiters.notify_waiters();
        }
    }
}
