//! The registry of one data directory and one database.

use std::{
    fmt,
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    path::PathBuf,
    sync::Arc,
};

use omgservers_core::{Clock, Db};
use omgservers_deployments::Deployments;
use omgservers_versions::{Repository, Versions};
use tokio::sync::{Mutex, MutexGuard};

use crate::{disk::Disk, uploads::Sessions};

/// Largest blob unless told otherwise: 10 GiB.
const MOST_BLOB_BYTES: u64 = 10 << 30;
/// How many tags can be pushed to at the same time, at most.
const TAG_LOCKS: usize = 64;

/// An OCI registry for the images of versions. Who may do what is decided by who calls: a token says it.
/// Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Disk,
    pub(crate) versions: Arc<dyn Versions>,
    pub(crate) deployments: Arc<dyn Deployments>,
    pub(crate) sessions: Sessions,
    pub(crate) most_blob_bytes: u64,
    tag_locks: Vec<Mutex<()>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("disk", &self.inner.disk).finish_non_exhaustive()
    }
}

impl Registry {
    /// Serves the blobs below `dir`, which is made when the first one comes, and what `db` knows of them. Pushed
    /// tags are attached to `versions`; what `deployments` run is kept.
    pub fn new(
        db: Db,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        versions: Arc<dyn Versions>,
        deployments: Arc<dyn Deployments>,
    ) -> Self {
        Self::with_blob_limit(db, clock, dir, versions, deployments, MOST_BLOB_BYTES)
    }

    /// Like [`new`](Self::new), with another bound for the bytes of one blob than 10 GiB.
    pub fn with_blob_limit(
        db: Db,
        clock: Arc<dyn Clock>,
        dir: PathBuf,
        versions: Arc<dyn Versions>,
        deployments: Arc<dyn Deployments>,
        most_blob_bytes: u64,
    ) -> Self {
        let inner = Inner {
            db,
            clock,
            disk: Disk::new(dir),
            versions,
            deployments,
            sessions: Sessions::default(),
            most_blob_bytes,
            tag_locks: (0..TAG_LOCKS).map(|_| Mutex::default()).collect(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    /// Lets one push of a tag end before the next, so that the version and the tag have the same image.
    pub(crate) async fn lock_tag(&self, repository: &Repository, tag: &str) -> Option<MutexGuard<'_, ()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((repository, tag));
        let count = u64::try_from(self.tag_locks.len()).ok()?;
        let index = usize::try_from(hash.checked_rem(count)?).ok()?;
        Some(self.tag_locks.get(index)?.lock().await)
    }
}
