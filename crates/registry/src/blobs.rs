//! Blobs of a repository: look, read, mount, delete.

use std::{io, ops::Range};

use bytes::Bytes;
use futures_util::Stream;
use omgservers_api::Problem;
use omgservers_versions::Repository;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio_util::io::ReaderStream;

use crate::{Digest, Registry, problems, store, worker};

/// How much of a blob is in memory at a time, bytes.
const PIECE: usize = 256 * 1024;

/// A blob that can be read.
#[derive(Debug)]
pub struct Blob {
    file: tokio::fs::File,
    size: u64,
}

impl Blob {
    /// Its bytes.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The bytes of `part`, which lies within the blob, in pieces of at most 256 KiB.
    pub async fn read(
        mut self,
        part: Range<u64>,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, Problem> {
        self.file.seek(io::SeekFrom::Start(part.start)).await.map_err(Problem::internal)?;
        let length = part.end.saturating_sub(part.start);
        Ok(ReaderStream::with_capacity(self.file.take(length), PIECE))
    }
}

impl Registry {
    /// The blob of a repository. To ask for it keeps it for as long as a push may need it.
    /// Problems: `registry.blob_unknown`.
    pub async fn blob(&self, repository: &Repository, digest: &Digest) -> Result<Blob, Problem> {
        let inner = &self.inner;
        let (now, name) = (inner.clock.now(), digest.to_string());
        let found = store::find_link(&mut *inner.db.read().await?, repository, &name).await?;
        let (_size, touched) = found.ok_or(problems::BLOB_UNKNOWN)?;
        // A client that finds a blob doesn't push it again, and names it in a manifest later.
        if worker::wants_touch(touched, now) {
            let names = [name];
            let kept =
                inner.db.write(async |conn| store::touch_links(conn, repository, &names, now).await).await?;
            if kept.is_empty() {
                return Err(problems::BLOB_UNKNOWN.into());
            }
        }
        let Some(file) = inner.disk.open_blob(digest).await? else {
            // To say so lets the next push bring the bytes back.
            tracing::error!(%digest, "the file of a blob is gone");
            return Err(problems::BLOB_UNKNOWN.into());
        };
        let size = file.metadata().await.map_err(Problem::internal)?.len();
        Ok(Blob { file, size })
    }

    /// Gives a repository the blob that another one has; `false` when that one doesn't have it.
    /// Whether the caller may read the other one is checked by who calls.
    pub async fn mount(&self, to: &Repository, from: &Repository, digest: &Digest) -> Result<bool, Problem> {
        let inner = &self.inner;
        let (now, name) = (inner.clock.now(), digest.to_string());
        if inner.disk.open_blob(digest).await?.is_none() {
            return Ok(false);
        }
        inner
            .db
            .write(async |conn| {
                // The link first, then the bytes: the collector of garbage lets go of them in this
                // order.
                store::hold_bytes(conn, digest).await?;
                let Some((size, _)) = store::find_link(conn, from, &name).await? else {
                    return Ok(false);
                };
                store::ensure_repository(conn, to, now).await?;
                store::put_link(conn, to, &name, size, now).await?;
                Ok(true)
            })
            .await
    }

    /// Takes a blob from a repository. Problems: `registry.blob_unknown`; `registry.unsupported`
    /// while a manifest of the repository uses it.
    pub async fn delete_blob(&self, repository: &Repository, digest: &Digest) -> Result<(), Problem> {
        let name = digest.to_string();
        self.inner
            .db
            .write(async |conn| match store::link_is_used(conn, repository, &name).await? {
                None => Err(problems::BLOB_UNKNOWN.into()),
                Some(true) => {
                    Err(problems::UNSUPPORTED.detail("a manifest uses this blob; delete the manifest first"))
                }
                Some(false) => store::delete_link(conn, repository, &name).await,
            })
            .await
    }
}
