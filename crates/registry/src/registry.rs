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

/// The largest blob of a server: 10 GiB.
pub const MAX_BLOB_BYTES: u64 = 10 << 30;
/// How many tags can be pushed to at the same time, at most.
const TAG_LOCKS: usize = 64;

/// An OCI registry for the images of versions. Who may do what is decided by who calls: a token
/// says it. Cheap to clone.
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
    pub(crate) max_blob_bytes: u64,
    tag_locks: Vec<Mutex<()>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("disk", &self.inner.disk).finish_non_exhaustive()
    }
}

/// What [`Registry`] is made of.
pub struct RegistryParts {
    /// The database with the schema `registry`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The folder of the blobs. The registry makes it when the first blob comes.
    pub dir: PathBuf,
    /// Pushed tags are attached to these versions.
    pub versions: Arc<dyn Versions>,
    /// Images that these deployments run are kept.
    pub deployments: Arc<dyn Deployments>,
    /// The largest blob, [`MAX_BLOB_BYTES`] in a server.
    pub max_blob_bytes: u64,
}

impl Registry {
    /// Makes the service.
    pub fn new(parts: RegistryParts) -> Self {
        let RegistryParts { db, clock, dir, versions, deployments, max_blob_bytes } = parts;
        let inner = Inner {
            db,
            clock,
            disk: Disk::new(dir),
            versions,
            deployments,
            sessions: Sessions::default(),
            max_blob_bytes,
            tag_locks: (0..TAG_LOCKS).map(|_| Mutex::default()).collect(),
        };
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    /// Lets one push of a tag end before the next, so that the version and the tag have the same
    /// image.
    pub(crate) async fn lock_tag(&self, repository: &Repository, tag: &str) -> Option<MutexGuard<'_, ()>> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((repository, tag));
        let count = u64::try_from(self.tag_locks.len()).ok()?;
        let index = usize::try_from(hash.checked_rem(count)?).ok()?;
        Some(self.tag_locks.get(index)?.lock().await)
    }
}
