//! Uploads: from the first byte to a blob. What has come is on disk, so an upload outlives the
//! process.

mod session;

use std::{error::Error, ops::Range, time::Duration};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use omgservers_api::Problem;
use omgservers_core::context::inherit;
use omgservers_versions::Repository;
use tokio::sync::OwnedMutexGuard;

pub(crate) use self::session::Sessions;
use self::session::{UploadSession, UploadWriter};
use crate::{Algorithm, Digest, Registry, problems, store};

/// How long a request waits for another one that still writes to the same upload: one whose client
/// is gone ends in less.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The upload.
    pub id: String,
    /// How many bytes have come.
    pub size: u64,
}

/// What became of a part of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It was taken.
    Taken(Progress),
    /// It doesn't follow what has come so far, and was not taken: 416.
    Gap(Progress),
}

impl Registry {
    /// Starts an upload.
    pub async fn start_upload(&self, repository: &Repository) -> Result<Progress, Problem> {
        let inner = &self.inner;
        let (id, now) = (format!("{:032x}", rand::random::<u128>()), inner.clock.now());
        // The row first: a folder without a row is garbage.
        inner
            .db
            .write(async |conn| {
                store::ensure_repository(conn, repository, now).await?;
                store::insert_upload(conn, repository, &id, now).await
            })
            .await?;
        inner.disk.start_upload(&id).await?;
        inner.sessions.start(&id);
        Ok(Progress { id, size: 0 })
    }

    /// How far an upload is. Problems: `registry.upload_unknown`, `registry.upload_busy`.
    pub async fn upload(&self, repository: &Repository, id: &str) -> Result<Progress, Problem> {
        let _session = self.enter(repository, id).await?;
        let size = self.inner.disk.settle_upload(id).await?;
        Ok(Progress { id: id.to_owned(), size })
    }

    /// Writes what comes to the end of an upload. `at` says where its first byte belongs and how
    /// many there are; without it everything is taken. When the body breaks off, what came before
    /// stays. Problems: `registry.upload_unknown`, `registry.upload_busy`,
    /// `registry.upload_invalid`, `registry.size_invalid`, `registry.too_large`.
    pub async fn append<S, E>(
        &self,
        repository: &Repository,
        id: &str,
        at: Option<Range<u64>>,
        body: S,
    ) -> Result<Appended, Problem>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let most = self.inner.max_blob_bytes;
        if at.as_ref().is_some_and(|it| it.end > most) {
            return Err(too_large(most));
        }
        let session = self.enter(repository, id).await?;
        let writer = UploadWriter::open(session, self.inner.disk.upload(id)).await?;
        let start = writer.size();
        if at.as_ref().is_some_and(|it| it.start != start) {
            return Ok(Appended::Gap(Progress { id: id.to_owned(), size: start }));
        }
        let end = at.map(|it| it.end);
        let (written, fed) = feed(writer, body, end.unwrap_or(most)).await?;
        let size = written.size();
        match (fed, end) {
            (Fed::TooMuch, Some(_)) => {
                written.cut(start).await?;
                Err(problems::SIZE_INVALID.detail("the body is longer than its `Content-Range`"))
            }
            (Fed::TooMuch, None) => {
                written.cut(start).await?;
                Err(too_large(most))
            }
            (Fed::Broken(error), _) => Err(problems::UPLOAD_INVALID
                .detail("the body broke off; go on behind what came")
                .because(error)),
            (Fed::All, Some(end)) if size != end => {
                written.cut(start).await?;
                Err(problems::SIZE_INVALID.detail("the body is shorter than its `Content-Range`"))
            }
            (Fed::All, _) => Ok(Appended::Taken(Progress { id: id.to_owned(), size })),
        }
    }

    /// Makes an upload a blob of the repository. When the content has another digest, the upload is
    /// over. It is cancel-safe: it completes when its caller goes away. Problems:
    /// `registry.digest_invalid`, `registry.upload_unknown`, `registry.upload_busy`.
    pub async fn finish_upload(
        &self,
        repository: &Repository,
        id: &str,
        digest: &Digest,
    ) -> Result<(), Problem> {
        let (registry, repository, id, digest) = (self.clone(), *repository, id.to_owned(), digest.clone());
        tokio::spawn(inherit(async move { registry.finish(&repository, &id, &digest).await }))
            .await
            .map_err(Problem::internal)?
    }

    async fn finish(&self, repository: &Repository, id: &str, digest: &Digest) -> Result<(), Problem> {
        let inner = &self.inner;
        let mut session = self.enter(repository, id).await?;
        let size = inner.disk.settle_upload(id).await?;
        let found = match session.digest(size).filter(|_| digest.algorithm() == Algorithm::Sha256) {
            Some(known) => known,
            None => inner.disk.hash_upload(id, digest.algorithm()).await?,
        };
        if &found != digest {
            self.forget(&mut session, repository, id).await?;
            return Err(
                problems::DIGEST_INVALID.detail(format!("the content has the digest {found}, not {digest}"))
            );
        }
        let (now, name, bytes) = (inner.clock.now(), digest.to_string(), in_row(size)?);
        inner
            .db
            .write(async |conn| {
                store::hold_bytes(conn, digest).await?;
                if !store::delete_upload(conn, repository, id).await? {
                    return Err(problems::UPLOAD_UNKNOWN.into());
                }
                store::ensure_repository(conn, repository, now).await?;
                store::put_link(conn, repository, &name, bytes, now).await?;
                // Before the commit: a name without a row is garbage, a row without a name would be
                // a lie.
                inner.disk.keep_upload(id, digest).await
            })
            .await?;
        session.end();
        inner.sessions.end(id);
        inner.disk.remove_upload(id).await
    }

    /// Ends an upload and forgets what has come. Problems: `registry.upload_unknown`,
    /// `registry.upload_busy`.
    pub async fn cancel_upload(&self, repository: &Repository, id: &str) -> Result<(), Problem> {
        let mut session = self.enter(repository, id).await?;
        self.forget(&mut session, repository, id).await
    }

    async fn forget(
        &self,
        session: &mut UploadSession,
        repository: &Repository,
        id: &str,
    ) -> Result<(), Problem> {
        self.inner.db.write(async |conn| store::delete_upload(conn, repository, id).await).await?;
        session.end();
        self.inner.sessions.end(id);
        self.inner.disk.remove_upload(id).await
    }

    /// Waits until the upload is ours alone.
    async fn enter(
        &self,
        repository: &Repository,
        id: &str,
    ) -> Result<OwnedMutexGuard<UploadSession>, Problem> {
        let (inner, now) = (&self.inner, self.inner.clock.now());
        if !is_upload_id(id) {
            return Err(problems::UPLOAD_UNKNOWN.into());
        }
        let known = inner.db.write(async |conn| store::touch_upload(conn, repository, id, now).await).await?;
        if !known {
            return Err(problems::UPLOAD_UNKNOWN.into());
        }
        let session = inner.sessions.of(id);
        let session = tokio::time::timeout(LOCK_TIMEOUT, session.lock_owned())
            .await
            .map_err(|_elapsed| Problem::from(problems::UPLOAD_BUSY))?;
        // Who had it before may have ended it.
        if session.has_ended() { Err(problems::UPLOAD_UNKNOWN.into()) } else { Ok(session) }
    }
}

/// Whether a text can be the id of an upload: what isn't never reaches the database or the disk.
fn is_upload_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|it| it.is_ascii_digit() || (b'a'..=b'f').contains(&it))
}

enum Fed {
    All,
    TooMuch,
    Broken(Box<dyn Error + Send + Sync>),
}

/// Gives the writer what comes, as long as it isn't more than up to `end`, and waits until all is
/// on disk.
async fn feed<S, E>(mut writer: UploadWriter, body: S, end: u64) -> Result<(session::Written, Fed), Problem>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let mut body = std::pin::pin!(body);
    let mut size = writer.size();
    let mut fed = Fed::All;
    while let Some(piece) = body.next().await {
        match piece {
            Err(error) => {
                fed = Fed::Broken(error.into());
                break;
            }
            Ok(piece) => {
                size = size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
                if size > end {
                    fed = Fed::TooMuch;
                    break;
                }
                if !writer.write(piece).await {
                    break;
                }
            }
        }
    }
    Ok((writer.close().await?, fed))
}

fn too_large(most: u64) -> Problem {
    problems::TOO_LARGE.detail(format!("a blob has at most {most} bytes"))
}

fn in_row(size: u64) -> Result<i64, Problem> {
    i64::try_from(size).map_err(Problem::internal)
}
