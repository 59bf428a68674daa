//! PostgreSQL of our own: a child process in the data directory, for installations that bring no
//! database.
//!
//! The server makes it once, never as root, and starts it again when it falls. It is reachable over
//! a Unix socket in a directory that nobody else can enter, and stops with the server.

mod account;
mod cluster;
mod programs;
mod stale_postmaster;
mod supervisor;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;
use tokio_postgres::NoTls;

use self::{
    cluster::{Cluster, NAME},
    supervisor::{State, Supervisor},
};

/// Recovery after a crash reads up to `max_wal_size` of log.
const START: Duration = Duration::from_secs(300);

/// Why there is no PostgreSQL. Each is a sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No program was found.
    #[error("PostgreSQL is not installed: run `apt-get install postgresql`, or set database.url")]
    NotInstalled,
    /// The configured folder is wrong.
    #[error("database.bin_dir: {} has no programs `initdb` and `postgres`", folder.display())]
    NotInFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// Only older ones are there.
    #[error(
        "PostgreSQL {found} is too old: version {oldest} or newer is needed (`apt-get install postgresql`)"
    )]
    TooOld {
        /// What is there.
        found: u32,
        /// What is needed.
        oldest: u32,
    },
    /// The programs that made the cluster are gone.
    #[error(
        "the database was made by PostgreSQL {made_by}, and installed is {installed}: run \
         `apt-get install postgresql-{made_by}`, or move the database to another version with pg_upgrade"
    )]
    WrongVersion {
        /// What made it.
        made_by: u32,
        /// What is there.
        installed: String,
    },
    /// We are root, and PostgreSQL refuses to be.
    #[error(
        "PostgreSQL doesn't run as root and there is no account `postgres`: run `apt-get install postgresql`, \
         start the server as another user, or set database.url"
    )]
    NoAccount,
    /// The account can't get at the data.
    #[error(
        "the account `postgres` can't reach {}, because a directory above it is closed: use a data_dir such as \
         /var/lib/omgservers, or start the server as another user than root",
        folder.display()
    )]
    NotReachable {
        /// Where the cluster is.
        folder: PathBuf,
    },
    /// A directory or file can't be used.
    #[error("{}: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program can't be run.
    #[error("the programs of PostgreSQL in {} can't be run: {source}", program.display())]
    Spawn {
        /// Their folder.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cluster can't be made.
    #[error("initdb failed: {log}")]
    Initdb {
        /// Its last words.
        log: String,
    },
    /// What an earlier server left doesn't stop.
    #[error("PostgreSQL of an earlier server doesn't stop: end the processes {pids} and start again")]
    StillRunning {
        /// Their ids.
        pids: String,
    },
    /// It doesn't come up.
    #[error("PostgreSQL doesn't start: {0}")]
    Start(String),
}

impl PostgresError {
    fn folder(path: &Path, source: io::Error) -> Self {
        Self::Folder { path: path.to_owned(), source }
    }
}

/// A PostgreSQL of our own that runs.
pub struct Postgres {
    supervisor: Supervisor,
    url: String,
}

impl Postgres {
    /// Makes the cluster below `folder` unless it is there, starts it, and waits until it answers.
    /// `sessions` is what it must have room for.
    pub async fn start(folder: &Path, bin_dir: Option<&Path>, sessions: u32) -> Result<Self, PostgresError> {
        let (folder, bin_dir) = (folder.to_owned(), bin_dir.map(Path::to_owned));
        // Some are kept for an operator's `psql` and for what PostgreSQL reserves.
        let room = sessions.saturating_add(20);
        let prepare = move || Cluster::prepare(&folder, bin_dir.as_deref(), room);
        let cluster = tokio::task::spawn_blocking(prepare)
            .await
            .map_err(|it| PostgresError::Start(it.to_string()))??;
        let (url, admin) = (cluster.url(NAME), cluster.url("postgres"));
        let (version, log) = (cluster.major(), cluster.log());
        let supervisor = Supervisor::start(cluster).map_err(|it| PostgresError::Start(it.to_string()))?;
        let this = Self { supervisor, url };
        match tokio::time::timeout(START, this.opened(&admin)).await {
            Ok(Ok(())) => {
                tracing::info!(version, log = %log.display(), "PostgreSQL runs");
                Ok(this)
            }
            Ok(Err(error)) => {
                this.stop(Duration::from_secs(10)).await;
                Err(error)
            }
            Err(_) => {
                this.stop(Duration::from_secs(10)).await;
                Err(PostgresError::Start(format!("no answer for {START:?}; see {}", log.display())))
            }
        }
    }

    /// Where to connect to.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The id of its process while it runs.
    pub fn pid(&self) -> Option<i32> {
        match *self.supervisor.state().borrow() {
            State::Spawned(pid) => Some(pid),
            _ => None,
        }
    }

    /// Stops it: open transactions are rolled back, everything is written. After `timeout` it is
    /// cut off, and the next start recovers.
    pub async fn stop(&self, timeout: Duration) {
        for signal in [Signal::INT, Signal::QUIT, Signal::KILL] {
            self.supervisor.stop(signal);
            let mut state = self.supervisor.state();
            let stopped = state.wait_for(|it| *it == State::Stopped);
            if tokio::time::timeout(timeout, stopped).await.is_ok() {
                return;
            }
            tracing::warn!(?signal, "PostgreSQL has not stopped within {timeout:?}");
        }
    }

    /// Waits until it answers, and makes the database unless it is there.
    async fn opened(&self, admin: &str) -> Result<(), PostgresError> {
        let failed = |it: tokio_postgres::Error| PostgresError::Start(it.to_string());
        let mut states = self.supervisor.state();
        let client = loop {
            match &*states.borrow_and_update() {
                // A second attempt would end alike.
                State::Failed(reason) | State::Down(reason) => {
                    return Err(PostgresError::Start(reason.clone()));
                }
                State::New | State::Spawned(_) | State::Stopped => {}
            }
            if let Ok((client, connection)) = tokio_postgres::connect(admin, NoTls).await {
                tokio::spawn(connection);
                break client;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        let there = client.query_opt("select 1 from pg_database where datname = $1", &[&NAME]).await;
        if there.map_err(failed)?.is_none() {
            client.batch_execute(&format!("create database {NAME}")).await.map_err(failed)?;
        }
        Ok(())
    }
}

impl Drop for Postgres {
    /// Who forgets to stop it doesn't leave it behind.
    fn drop(&mut self) {
        self.supervisor.stop(Signal::INT);
    }
}
