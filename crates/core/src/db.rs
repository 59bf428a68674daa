//! The database handle. A connection never crosses a crate border.

use std::{fmt, sync::Arc, time::Duration};

use diesel::{
    ConnectionError, OptionalExtension as _,
    dsl::sql,
    result::{DatabaseErrorKind, Error::DatabaseError},
    sql_types::Text,
};
use diesel_async::{
    AsyncConnection as _, AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _,
    TransactionManager as _,
    async_connection_wrapper::AsyncConnectionWrapper,
    pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod, bb8},
};
#[doc(hidden)]
pub use diesel_migrations;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _};
use futures_util::FutureExt as _;
use omgservers_api::{Code, Problem, Slot};
use tokio::runtime::Handle;

use crate::{Ownership, Tenure, ownership::NOT_OWNER};

/// One PostgreSQL connection.
pub type Conn = AsyncPgConnection;

/// A PostgreSQL schema and the migrations that build it. Each domain crate exports one.
#[derive(Clone, Copy)]
pub struct Schema {
    /// Its name: the crate's.
    pub name: &'static str,
    /// Its migrations, oldest first.
    pub migrations: fn() -> EmbeddedMigrations,
}

/// Declares the `SCHEMA` of a crate from its name and the folder of its migrations. The crate's
/// build script is `migrations/build.rs`.
#[macro_export]
macro_rules! schema {
    ($name:literal, $migrations:literal) => {
        /// The PostgreSQL schema of this crate.
        pub const SCHEMA: $crate::Schema = $crate::Schema {
            name: $name,
            migrations: || {
                use $crate::db::diesel_migrations;
                const MIGRATIONS: diesel_migrations::EmbeddedMigrations =
                    diesel_migrations::embed_migrations!($migrations);
                MIGRATIONS
            },
        };
    };
}

/// Where an injected fault hits a transaction. For the simulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing was done.
    BeforeBegin,
    /// Everything was done and rolled back.
    BeforeCommit,
    /// Everything was committed, and the caller gets a failure.
    AfterCommit,
}

/// Decides whether the next transaction fails, and where.
pub type Faults = Arc<dyn Fn() -> Option<Fault> + Send + Sync>;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: bb8::Pool<Conn>,
    url: Arc<str>,
    faults: Option<Faults>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Db").field("connections", &self.pool.state().connections).finish_non_exhaustive()
    }
}

/// How the connections of a pool are used. The last four only grow.
#[derive(Debug, Clone, Copy)]
pub struct PoolState {
    /// Open connections.
    pub connections: u32,
    /// Those that nobody uses.
    pub idle: u32,
    /// Callers that wait for one now.
    pub waiting: u64,
    /// How often one was asked for, and that came to an end.
    pub gets: u64,
    /// How often somebody had to wait for one.
    pub waited: u64,
    /// How often a caller got none in time.
    pub timed_out: u64,
    /// How long all have waited together.
    pub wait_time: Duration,
}

/// The advisory lock that migrating processes take.
const MIGRATION_LOCK: &str = "select pg_advisory_lock(7236482111)";

impl Db {
    /// Opens a pool of at most `size` connections. They are driven by the runtime that this is
    /// called on, so that a busy HTTP worker can't hold up another one's queries. Problems:
    /// `unavailable`.
    pub async fn connect(url: &str, size: u32) -> Result<Self, Problem> {
        let runtime = Handle::current();
        let mut config = ManagerConfig::<Conn>::default();
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |url| {
            let (runtime, url) = (runtime.clone(), url.to_owned());
            async move {
                let opened = runtime.spawn(async move { open(&url).await }).await;
                opened.map_err(|it| ConnectionError::BadConnection(it.to_string()))?
            }
            .boxed()
        });
        let manager = AsyncDieselConnectionManager::<Conn>::new_with_config(url, config);
        let pool = bb8::Pool::builder()
            .max_size(size)
            .connection_timeout(Duration::from_secs(5))
            .build(manager)
            .await
            .map_err(Problem::unavailable)?;
        Ok(Self { pool, url: url.into(), faults: None })
    }

    /// The same pool with injected faults.
    #[must_use]
    pub fn with_faults(&self, faults: Faults) -> Self {
        Self { faults: Some(faults), ..self.clone() }
    }

    /// Where it connects to, for the few that need a connection of their own.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Brings `schemas` up to date, this crate's own first. Each schema keeps its own history of
    /// migrations; processes that migrate at the same time wait for each other. Returns what was
    /// run.
    pub async fn migrate(url: &str, schemas: &[Schema]) -> Result<Vec<String>, Problem> {
        let mut conn = open(url).await.map_err(Problem::unavailable)?;
        conn.batch_execute(MIGRATION_LOCK).await?;
        let mut ordered = vec![crate::SCHEMA];
        ordered.extend(schemas.iter().filter(|it| it.name != crate::SCHEMA.name));
        tokio::task::spawn_blocking(move || migrate_blocking(conn, &ordered))
            .await
            .map_err(Problem::internal)?
    }

    /// A connection to read with.
    pub async fn read(&self) -> Result<bb8::PooledConnection<'_, Conn>, Problem> {
        self.pool.get().await.map_err(Problem::unavailable)
    }

    /// How its connections are used, for operators.
    pub fn pool(&self) -> PoolState {
        let state = self.pool.state();
        let gets = state.statistics;
        PoolState {
            connections: state.connections,
            idle: state.idle_connections,
            waiting: gets.pending_gets(),
            gets: gets.completed_gets(),
            waited: gets.get_waited,
            timed_out: gets.get_timed_out,
            wait_time: gets.get_wait_time,
        }
    }

    /// Whether the database refuses writes: after a failover, or as a provider's answer to a full
    /// disk. Problems: `unavailable` when it doesn't answer.
    pub async fn is_read_only(&self) -> Result<bool, Problem> {
        let setting = diesel::select(sql::<Text>("current_setting('transaction_read_only')"));
        let setting: String = setting.get_result(&mut *self.read().await?).await?;
        Ok(setting == "on")
    }

    /// Runs `work` in one transaction: commits on `Ok`, rolls back on `Err`. When the caller is
    /// cancelled in the middle, the pool closes the connection and PostgreSQL rolls back.
    pub async fn write<R, F>(&self, work: F) -> Result<R, Problem>
    where
        R: Send,
        F: for<'c> AsyncFnOnce(&'c mut Conn) -> Result<R, Problem>
            + for<'c> TxFn<&'c mut Conn, Result<R, Problem>, Fut: Send>
            + Send,
    {
        let fault = self.faults.as_ref().and_then(|it| it());
        if fault == Some(Fault::BeforeBegin) {
            return Err(injected(Fault::BeforeBegin));
        }
        let mut conn = self.pool.get().await.map_err(Problem::unavailable)?;
        let conn = &mut *conn;
        Tx::begin_transaction(conn).await?;
        match work(&mut *conn).await {
            Ok(_) if fault == Some(Fault::BeforeCommit) => {
                Tx::rollback_transaction(conn).await?;
                Err(injected(Fault::BeforeCommit))
            }
            Ok(value) => {
                Tx::commit_transaction(conn).await?;
                fault.map_or(Ok(value), |it| Err(injected(it)))
            }
            Err(problem) => {
                Tx::rollback_transaction(conn).await?;
                Err(problem)
            }
        }
    }

    /// Like [`write`](Self::write), for owned tables: the transaction first makes sure that this
    /// process still owns `slots`, at the epochs of now. What the caller knows must be of the same
    /// tenures; else use [`write_fenced`](Self::write_fenced). Problems: `core.not_owner`.
    pub async fn write_owned<R, F>(
        &self,
        ownership: &Ownership,
        slots: &[Slot],
        work: F,
    ) -> Result<R, Problem>
    where
        R: Send,
        F: for<'c> AsyncFnOnce(FencedTx<'c>) -> Result<R, Problem>
            + for<'c> TxFn<FencedTx<'c>, Result<R, Problem>, Fut: Send>
            + Send,
    {
        let expected = ownership.expected(slots.iter().copied())?;
        self.write(async |conn| {
            ownership.check(conn, &expected).await?;
            work(FencedTx(conn)).await
        })
        .await
    }

    /// Like [`write_owned`](Self::write_owned), at the epoch of `tenure`: what a caller learned in
    /// one tenure is never written in a later one. Problems: `core.not_owner`.
    pub async fn write_fenced<R, F>(
        &self,
        ownership: &Ownership,
        tenure: &Arc<Tenure>,
        work: F,
    ) -> Result<R, Problem>
    where
        R: Send,
        F: for<'c> AsyncFnOnce(FencedTx<'c>) -> Result<R, Problem>
            + for<'c> TxFn<FencedTx<'c>, Result<R, Problem>, Fut: Send>
            + Send,
    {
        if tenure.is_lost() {
            return Err(NOT_OWNER.into());
        }
        let expected = [tenure.numbers()];
        let written = self
            .write(async |conn| {
                ownership.check(conn, &expected).await?;
                work(FencedTx(conn)).await
            })
            .await;
        if written.as_ref().is_err_and(|it| it.is(NOT_OWNER)) {
            ownership.lose(tenure);
        }
        written
    }
}

/// A transaction that has checked its slots. Functions that write owned tables take one.
pub struct FencedTx<'c>(&'c mut Conn);

impl FencedTx<'_> {
    /// The connection.
    pub fn conn(&mut self) -> &mut Conn {
        self.0
    }
}

fn injected(fault: Fault) -> Problem {
    Problem::unavailable(format!("injected: {fault:?}"))
}

async fn open(url: &str) -> Result<Conn, ConnectionError> {
    let mut conn = Conn::establish(url).await?;
    // A belt for what a cancelled or stuck caller may leave behind.
    conn.batch_execute(
        "set idle_in_transaction_session_timeout = '10s'; set statement_timeout = '30s'; set lock_timeout = '10s'",
    )
    .await
    .map_err(|it| ConnectionError::BadConnection(it.to_string()))?;
    Ok(conn)
}

fn migrate_blocking(conn: Conn, schemas: &[Schema]) -> Result<Vec<String>, Problem> {
    use diesel::connection::SimpleConnection;
    let mut conn: AsyncConnectionWrapper<Conn> = conn.into();
    let mut done = Vec::new();
    for schema in schemas {
        let name = schema.name;
        SimpleConnection::batch_execute(
            &mut conn,
            &format!(
                "create schema if not exists {name}; set search_path to {name}; set statement_timeout = 0"
            ),
        )?;
        let run = conn.run_pending_migrations((schema.migrations)()).map_err(Problem::internal)?;
        done.extend(run.iter().map(|it| format!("{name}/{it}")));
    }
    Ok(done)
}

type Tx = <Conn as diesel_async::AsyncConnection>::TransactionManager;

/// Names the future of an async closure, so that it can be required to be [`Send`].
pub trait TxFn<T, R>: AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as TxFn<T, R>>::Fut {
    /// The future.
    type Fut: Future<Output = R>;
}
impl<F, T, Fut, R> TxFn<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// Turns the violation of one unique constraint into a problem for the caller.
pub fn unique<T>(
    result: Result<T, diesel::result::Error>,
    constraint: &str,
    code: Code,
) -> Result<T, Problem> {
    match result {
        Err(DatabaseError(DatabaseErrorKind::UniqueViolation, info))
            if info.constraint_name() == Some(constraint) =>
        {
            Err(code.into())
        }
        other => Ok(other?),
    }
}

/// `None` where the row is absent.
pub fn maybe<T>(result: Result<T, diesel::result::Error>) -> Result<Option<T>, Problem> {
    Ok(result.optional()?)
}
