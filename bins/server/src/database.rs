//! The database: the configured one, or one of our own in the data directory.

use std::{sync::Arc, time::Duration};

use omgservers_core::Db;
use omgservers_messaging::Mailboxes;

use crate::{
    config::{Config, Secret},
    data_dir::DataDir,
    http::Check,
    postgres::{Postgres, PostgresError},
};

/// Connections besides the pool's: migrations, the group commit, an operator.
const BESIDES: u32 = 20;

/// A message that waits longer for its commit shows that the writer is stuck.
const MAX_COMMIT_DELAY: Duration = Duration::from_secs(5);

/// Where the data is.
pub struct Database {
    url: Secret,
    own: Option<Postgres>,
}

impl Database {
    /// Starts our own PostgreSQL unless a URL is configured.
    pub async fn open(config: &Config, data: &DataDir) -> Result<Self, PostgresError> {
        if let Some(url) = &config.database.url {
            return Ok(Self { url: url.clone(), own: None });
        }
        let sessions = config.database.pool_size.saturating_add(BESIDES);
        let own = Postgres::start(&data.join("pg"), config.database.bin_dir.as_deref(), sessions).await?;
        Ok(Self { url: Secret::new(own.url().to_owned()), own: Some(own) })
    }

    /// Where to connect to.
    pub fn url(&self) -> &str {
        self.url.expose()
    }

    /// Stops it if it is our own.
    pub async fn close(self, timeout: Duration) {
        if let Some(own) = self.own {
            own.stop(timeout).await;
        }
    }
}

/// Whether the database answers and can be written.
pub fn check(db: &Db) -> Check {
    let db = db.clone();
    Arc::new(move || {
        let db = db.clone();
        Box::pin(async move {
            match db.is_read_only().await {
                Ok(false) => Ok(()),
                Ok(true) => Err("the database is read-only".to_owned()),
                Err(problem) => {
                    tracing::warn!(?problem, "the database doesn't answer");
                    Err("the database doesn't answer".to_owned())
                }
            }
        })
    })
}

/// Whether messages become durable in time. Without this check a server whose writer is stuck would
/// get the traffic of a healthy one.
pub fn check_writer(mailboxes: &Arc<Mailboxes>) -> Check {
    let mailboxes = Arc::clone(mailboxes);
    Arc::new(move || {
        let delay = mailboxes.commit_delay();
        let answer = if delay < MAX_COMMIT_DELAY {
            Ok(())
        } else {
            Err(format!("a message waits for its commit since {} s", delay.as_secs()))
        };
        Box::pin(std::future::ready(answer))
    })
}
