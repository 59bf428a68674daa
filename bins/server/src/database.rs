//! The database: the configured one, or one of our own in the data directory.

use std::{sync::Arc, time::Duration};

use omgservers_core::Db;

use crate::{
    config::{Config, Secret},
    data_dir::DataDir,
    http::Check,
    postgres::{Postgres, PostgresError},
};

/// Connections besides the pool's: migrations, the group commit, an operator.
const BESIDES: u32 = 20;

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

/// Whether the database answers.
pub fn check(db: &Db) -> Check {
    let db = db.clone();
    Arc::new(move || {
        let db = db.clone();
        Box::pin(async move {
            db.ping().await.map_err(|problem| {
                tracing::warn!(?problem, "the database doesn't answer");
                "the database doesn't answer".to_owned()
            })
        })
    })
}
