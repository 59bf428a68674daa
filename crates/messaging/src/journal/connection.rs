//! The writer's own session with PostgreSQL, and one transaction in it.

use std::{ops::Range, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::join;
use omgservers_api::{Problem, Slot, ids::Id as _};
use omgservers_core::ownership::NOT_OWNER;
use tokio_postgres::{Client, Config, Error, NoTls, Statement, types::ToSql};

use super::{
    record::{ClientRow, Consumed, Entries, EntriesPiece, Rows, RuntimeRow, Seqs},
    sql,
};

/// Most bytes of bodies in one statement. PostgreSQL takes no message above 1 GiB, and a statement
/// must end within its timeout on a slow disk.
const MOST_BYTES_OF_A_STATEMENT: usize = 16 << 20;

/// A backend of PostgreSQL: its process and when it was started.
pub(crate) type Backend = (i32, DateTime<Utc>);

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another process owns these slots.
    Lost(Vec<Slot>),
    /// Any other failure: the writer retries.
    Database(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        // The error's own text doesn't have PostgreSQL's message; its source does.
        Self::Database(error.as_db_error().map_or_else(|| format!("{error:?}"), ToString::to_string))
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Lost(_) => NOT_OWNER.into(),
            Failure::Database(reason) => Self::unavailable(reason),
        }
    }
}

/// The session of the writer with PostgreSQL.
pub(crate) struct JournalSession {
    pub(crate) client: Client,
    pub(crate) backend: Backend,
    statements: Statements,
}

struct Statements {
    fence: Statement,
    insert: Statement,
    insert_again: Statement,
    consume: Statement,
    seq: Statement,
    seq_gone: Statement,
    client: Statement,
    runtime: Statement,
    client_gone: Statement,
    runtime_gone: Statement,
}

impl Statements {
    async fn prepare(client: &Client) -> Result<Self, Error> {
        Ok(Self {
            fence: client.prepare(sql::FENCE).await?,
            insert: client.prepare(sql::INSERT).await?,
            insert_again: client.prepare(sql::INSERT_AGAIN).await?,
            consume: client.prepare(sql::CONSUME).await?,
            seq: client.prepare(sql::SEQ).await?,
            seq_gone: client.prepare(sql::SEQ_GONE).await?,
            client: client.prepare(sql::CLIENT).await?,
            runtime: client.prepare(sql::RUNTIME).await?,
            client_gone: client.prepare(sql::CLIENT_GONE).await?,
            runtime_gone: client.prepare(sql::RUNTIME_GONE).await?,
        })
    }
}

impl JournalSession {
    /// Connects. Ends `predecessor` first: a transaction of an earlier session must not commit
    /// after one of a later session.
    pub(crate) async fn open(url: &str, predecessor: Option<Backend>) -> Result<Self, Failure> {
        let client = connect(url).await?;
        if let Some((pid, started)) = predecessor {
            for row in client.query(sql::END_BACKEND, &[&pid, &started]).await? {
                if !row.try_get(0)? {
                    return Err(Failure::Database("the backend of the last session doesn't end".to_owned()));
                }
            }
        }
        client.batch_execute(sql::SETTINGS).await?;
        let backend = client.query_one(sql::BACKEND, &[]).await?;
        let backend = (backend.try_get(0)?, backend.try_get(1)?);
        let statements = Statements::prepare(&client).await?;
        Ok(Self { client, backend, statements })
    }

    /// The owners of slots, for [`Ownership::compare`](omgservers_core::Ownership::compare).
    pub(crate) async fn owners(&self, expected: &[(i16, i64)]) -> Result<Vec<(i16, i64)>, Error> {
        let numbers: Vec<i16> = expected.iter().map(|it| it.0).collect();
        let rows = self.client.query(sql::OWNERS, &[&numbers]).await?;
        rows.iter().map(|it| Ok((it.try_get(0)?, it.try_get(1)?))).collect()
    }

    /// How many statements the entries of these rows need.
    pub(crate) fn pieces(rows: &Rows<'_>) -> Vec<Range<usize>> {
        rows.entries.pieces(MOST_BYTES_OF_A_STATEMENT)
    }

    /// Writes all rows in one transaction. `again`: the rows may have been written before.
    pub(crate) async fn write(
        &self,
        rows: &Rows<'_>,
        pieces: &[Range<usize>],
        fence: &[(i16, i64)],
        again: bool,
    ) -> Result<(), Error> {
        let insert = if again { &self.statements.insert_again } else { &self.statements.insert };
        if pieces.len() > 1 {
            self.write_pieces(rows, pieces, fence, insert).await
        } else {
            self.write_at_once(rows, fence, insert).await
        }
    }

    /// Writes rows in many statements, one after the other: together they don't fit into memory a
    /// second time.
    async fn write_pieces(
        &self,
        rows: &Rows<'_>,
        pieces: &[Range<usize>],
        fence: &[(i16, i64)],
        insert: &Statement,
    ) -> Result<(), Error> {
        let statements = &self.statements;
        let (numbers, epochs): (Vec<i16>, Vec<i64>) = fence.iter().copied().unzip();
        self.client.batch_execute("begin").await?;
        self.run(&statements.fence, &[&numbers, &epochs], false).await?;
        self.gone(&statements.client_gone, &rows.clients_gone).await?;
        self.gone(&statements.runtime_gone, &rows.runtimes_gone).await?;
        self.gone(&statements.seq_gone, &rows.senders_gone).await?;
        self.clients(&rows.clients).await?;
        self.runtimes(&rows.runtimes).await?;
        self.consume(&rows.consumed).await?;
        for piece in pieces {
            self.entries(insert, &rows.entries, piece.clone()).await?;
        }
        self.seqs(&rows.seqs).await?;
        self.client.batch_execute("commit").await
    }

    /// Writes rows in one round trip: all statements are sent before the first answer comes.
    async fn write_at_once(
        &self,
        rows: &Rows<'_>,
        fence: &[(i16, i64)],
        insert: &Statement,
    ) -> Result<(), Error> {
        let statements = &self.statements;
        let (numbers, epochs): (Vec<i16>, Vec<i64>) = fence.iter().copied().unzip();
        let results = join!(
            async { self.client.batch_execute("begin").await.map(|()| 0) },
            async { self.run(&statements.fence, &[&numbers, &epochs], false).await },
            self.gone(&statements.client_gone, &rows.clients_gone),
            self.gone(&statements.runtime_gone, &rows.runtimes_gone),
            self.gone(&statements.seq_gone, &rows.senders_gone),
            self.clients(&rows.clients),
            self.runtimes(&rows.runtimes),
            self.consume(&rows.consumed),
            self.entries(insert, &rows.entries, 0..rows.entries.id.len()),
            self.seqs(&rows.seqs),
            async { self.client.batch_execute("commit").await.map(|()| 0) },
        );
        // The commit of a failed transaction succeeds, so every answer counts.
        let (begin, fence, a, b, c, d, e, f, g, h, commit) = results;
        for result in [begin, fence, a, b, c, d, e, f, g, h, commit] {
            result?;
        }
        Ok(())
    }

    async fn run(
        &self,
        statement: &Statement,
        parameters: &[&(dyn ToSql + Sync)],
        skip: bool,
    ) -> Result<u64, Error> {
        if skip { Ok(0) } else { self.client.execute(statement, parameters).await }
    }

    async fn entries(
        &self,
        insert: &Statement,
        rows: &Entries<'_>,
        piece: Range<usize>,
    ) -> Result<u64, Error> {
        let EntriesPiece { mailbox, id, kind, qualifier, body } = rows.piece(piece);
        let parameters: [&(dyn ToSql + Sync); 5] = [&mailbox, &id, &kind, &qualifier, &body];
        self.run(insert, &parameters, id.is_empty()).await
    }

    async fn gone(&self, statement: &Statement, ids: &Vec<i64>) -> Result<u64, Error> {
        self.run(statement, &[ids], ids.is_empty()).await
    }

    async fn consume(&self, rows: &Consumed) -> Result<u64, Error> {
        self.run(&self.statements.consume, &[&rows.mailbox, &rows.id], rows.id.is_empty()).await
    }

    async fn seqs(&self, rows: &Seqs) -> Result<u64, Error> {
        self.run(&self.statements.seq, &[&rows.mailbox, &rows.seq], rows.seq.is_empty()).await
    }

    async fn clients(&self, rows: &[&ClientRow]) -> Result<u64, Error> {
        let id: Vec<i64> = rows.iter().map(|it| it.client.get()).collect();
        let user: Vec<i64> = rows.iter().map(|it| it.user.get()).collect();
        let deployment: Vec<i64> = rows.iter().map(|it| it.deployment.get()).collect();
        let runtime: Vec<Option<i64>> = rows.iter().map(|it| it.runtime.map(|it| it.get())).collect();
        let closed: Vec<bool> = rows.iter().map(|it| it.closed).collect();
        let delivery: Vec<&str> = rows.iter().map(|it| it.delivery.as_str()).collect();
        let assignment: Vec<i64> = rows.iter().map(|it| signed(it.assignment)).collect();
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&id, &user, &deployment, &runtime, &closed, &delivery, &assignment];
        self.run(&self.statements.client, &parameters, rows.is_empty()).await
    }

    async fn runtimes(&self, rows: &[&RuntimeRow]) -> Result<u64, Error> {
        let id: Vec<i64> = rows.iter().map(|it| it.runtime.get()).collect();
        let deployment: Vec<i64> = rows.iter().map(|it| it.deployment.get()).collect();
        let closed: Vec<bool> = rows.iter().map(|it| it.closed).collect();
        let delivery: Vec<&str> = rows.iter().map(|it| it.delivery.as_str()).collect();
        let opened: Vec<i64> = rows.iter().map(|it| signed(it.opened)).collect();
        let parameters: [&(dyn ToSql + Sync); 5] = [&id, &deployment, &closed, &delivery, &opened];
        self.run(&self.statements.runtime, &parameters, rows.is_empty()).await
    }
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Connects, with the settings of the server.
pub(crate) async fn connect(url: &str) -> Result<Client, Failure> {
    let mut config: Config = url.parse()?;
    config.application_name("omgservers messaging").connect_timeout(Duration::from_secs(5));
    config.tcp_user_timeout(Duration::from_secs(10));
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection of the mailboxes ended");
        }
    });
    Ok(client)
}
