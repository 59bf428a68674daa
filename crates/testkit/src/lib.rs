//! A PostgreSQL of its own for each test run, and a database of its own for each test.
//!
//! With `TEST_DATABASE_URL` set, the tests use that server; its user must be allowed to create
//! databases. Otherwise testkit starts a private cluster from the machine's PostgreSQL programs,
//! with a Unix socket only and without fsync. A watchdog ends it when the test runner is gone.
//! Databases are
//! clones of a template that is migrated once for each list of schemas.
#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test without a database must fail at once")]

mod cluster;
pub mod protocol;

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use diesel::migration::MigrationSource;
use omgservers_core::{Clock, Db, ManualClock, Mint, Ownership, Schema};

/// A database of its own, dropped at the end of the test (kept when the test fails).
pub struct TestDb {
    name: String,
    url: String,
}

/// What most services need.
pub struct Foundation {
    /// The database; it goes with this.
    pub test_db: TestDb,
    /// A pool of one connection: a service that asks for a second one inside a transaction hangs
    /// here, not in production.
    pub db: Db,
    /// Ids.
    pub mint: Mint,
    /// All slots.
    pub ownership: Ownership,
    /// Stands still until told to move.
    pub clock: ManualClock,
}

impl Foundation {
    /// A fresh database with `schemas`.
    pub async fn new(schemas: &[Schema]) -> Self {
        let test_db = TestDb::new(schemas).await;
        let db = test_db.pool(1).await;
        let ownership = Ownership::take(&db, "test").await.expect("slots");
        let mint = Mint::take(&db).await.expect("mint");
        Self { test_db, db, mint, ownership, clock: ManualClock::default() }
    }

    /// The clock as services take it.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }
}

impl TestDb {
    /// Makes the database read-only, or ends that. Its sessions end: they would keep what they had.
    pub async fn read_only(&self, on: bool) {
        let (admin, name) = (cluster::admin().await, &self.name);
        let setting = format!("alter database {name} set default_transaction_read_only = {on}");
        admin.batch_execute(&setting).await.expect("set it read-only");
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";
        admin.execute(end, &[name]).await.expect("end its sessions");
    }

    /// A clone of the template for `schemas`.
    pub async fn new(schemas: &[Schema]) -> Self {
        let admin = cluster::admin().await;
        let template = template(schemas);
        // The lock also keeps two clones from being made at the same time, which PostgreSQL
        // refuses.
        admin.batch_execute("select pg_advisory_lock(991)").await.expect("lock");
        let found = admin
            .query_opt("select 1 from pg_database where datname = $1 and datistemplate", &[&template])
            .await
            .expect("look for the template");
        if found.is_none() {
            admin.batch_execute(&format!("drop database if exists {template}")).await.expect("drop");
            admin.batch_execute(&format!("create database {template}")).await.expect("create template");
            Db::migrate(&cluster::url_of(&template), schemas).await.expect("migrate the template");
            admin
                .batch_execute(&format!("alter database {template} is_template true allow_connections false"))
                .await
                .expect("seal the template");
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("t_{}_{count}_{:x}", std::process::id(), nonce());
        admin
            .batch_execute(&format!("create database {name} template {template} strategy file_copy"))
            .await
            .expect("clone");
        admin.batch_execute("select pg_advisory_unlock(991)").await.expect("unlock");
        let url = cluster::url_of(&name);
        Self { name, url }
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection for SQL of the test's own.
    pub async fn sql(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url, tokio_postgres::NoTls).await.expect("connect");
        tokio::spawn(connection);
        client
    }

    /// Makes `schema` as a release made it whose newest migrations were `migrations`, by the names
    /// of their folders. What [`Db::migrate`] runs afterwards is what a newer release does to the
    /// older one's data.
    pub async fn migrate_as_before(&self, schema: &str, migrations: &[&str]) {
        let client = self.sql().await;
        let begin = format!(
            "create schema {schema}; set search_path to {schema}; create table __diesel_schema_migrations \
             (version varchar(50) primary key, run_on timestamp not null default current_timestamp)"
        );
        client.batch_execute(&begin).await.expect("schema");
        for migration in migrations {
            let sql = read_sql(schema, migration);
            assert!(!sql.is_empty(), "there is no migration {schema}/{migration}");
            client.batch_execute(&sql).await.expect("migration");
            let version: String =
                migration.chars().take_while(|it| *it != '_').filter(|it| *it != '-').collect();
            let noted = "insert into __diesel_schema_migrations (version) values ($1)";
            client.execute(noted, &[&version]).await.expect("note the migration");
        }
    }

    /// A pool of `size` connections to it.
    pub async fn pool(&self, size: u32) -> Db {
        Db::connect(&self.url, size).await.expect("connect")
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let name = std::mem::take(&mut self.name);
        let _joined = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = cluster::admin().await;
                let _gone =
                    admin.batch_execute(&format!("drop database if exists {name} with (force)")).await;
            });
        })
        .join();
    }
}

/// Names the template by what the migrations say, so that a long-lived server never serves an old
/// one.
fn template(schemas: &[Schema]) -> String {
    let mut hash = DefaultHasher::new();
    for schema in std::iter::once(&omgservers_core::SCHEMA).chain(schemas) {
        schema.name.hash(&mut hash);
        let migrations =
            MigrationSource::<diesel::pg::Pg>::migrations(&(schema.migrations)()).expect("migrations");
        for migration in migrations {
            migration.name().to_string().hash(&mut hash);
            read_sql(schema.name, &migration.name().to_string()).hash(&mut hash);
        }
    }
    format!("tmpl_{:016x}", hash.finish())
}

/// The embedded migration doesn't give its text; the folder that it was made of does.
fn read_sql(schema: &str, migration: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
    std::fs::read_to_string(format!("{folder}/{schema}/{migration}/up.sql")).unwrap_or_default()
}

fn nonce() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(0)
}
