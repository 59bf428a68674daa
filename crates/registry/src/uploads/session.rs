//! What is in memory of an upload: who writes to it, and the hash of what was written.

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use omgservers_api::Problem;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard, mpsc},
    task::JoinHandle,
};

use crate::Digest;

/// Bytes that are collected before they are written.
const BUFFER: usize = 256 * 1024;
/// Pieces of a body that wait for the disk; the network gives at most some 64 KiB each.
const WAITING: usize = 4;

/// The uploads that this process has seen.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Arc<AsyncMutex<UploadSession>>>>);

impl Sessions {
    /// A new upload: its hash is known from the first byte.
    pub(super) fn start(&self, id: &str) {
        let session = UploadSession { hash: Some((Sha256::new(), 0)), ended: false };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), Arc::new(session.into()));
    }

    /// An upload; its hash isn't known if it was begun by another process.
    pub(super) fn of(&self, id: &str) -> Arc<AsyncMutex<UploadSession>> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(
            sessions
                .entry(id.to_owned())
                .or_insert_with(|| Arc::new(UploadSession { hash: None, ended: false }.into())),
        )
    }

    pub(crate) fn end(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

/// Held by the one who writes.
#[derive(Debug)]
pub(crate) struct UploadSession {
    /// The hash so far, and of how many bytes.
    hash: Option<(Sha256, u64)>,
    ended: bool,
}

impl UploadSession {
    /// Wakes callers that wait for the session: there is nothing left to write to.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    /// The digest of an upload of this size, if it is known.
    pub(super) fn digest(&self, size: u64) -> Option<Digest> {
        self.hash.as_ref().filter(|it| it.1 == size).map(|it| Digest::sha256(it.0.clone()))
    }
}

/// Writes to an upload on a thread of its own, which ends what it was given also when nobody waits
/// for it any more. Until then nobody else gets the session.
#[derive(Debug)]
pub(super) struct UploadWriter {
    size: u64,
    pieces: mpsc::Sender<Bytes>,
    thread: JoinHandle<io::Result<Written>>,
}

impl UploadWriter {
    /// Opens the file of an upload at its end.
    pub(super) async fn open(
        mut session: OwnedMutexGuard<UploadSession>,
        path: PathBuf,
    ) -> Result<Self, Problem> {
        let (file, size) = tokio::task::spawn_blocking(move || -> io::Result<_> {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let file = fs::OpenOptions::new().append(true).create(true).open(path)?;
            let size = file.metadata()?.len();
            Ok((file, size))
        })
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)?;
        session.hash = session.hash.take().filter(|it| it.1 == size);
        let (pieces, waiting) = mpsc::channel(WAITING);
        let thread = tokio::task::spawn_blocking(move || write_all(session, file, size, waiting));
        Ok(Self { size, pieces, thread })
    }

    /// How many bytes there were before.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Takes a piece; `false` when the disk failed, which `close` tells of.
    pub(super) async fn write(&mut self, piece: Bytes) -> bool {
        self.pieces.send(piece).await.is_ok()
    }

    /// Waits until all is written.
    pub(super) async fn close(self) -> Result<Written, Problem> {
        drop(self.pieces);
        self.thread.await.map_err(Problem::internal)?.map_err(Problem::internal)
    }
}

fn write_all(
    mut session: OwnedMutexGuard<UploadSession>,
    file: fs::File,
    mut size: u64,
    mut pieces: mpsc::Receiver<Bytes>,
) -> io::Result<Written> {
    // Taken out, so that a failure leaves no hash of what isn't there.
    let mut hash = session.hash.take();
    let mut out = io::BufWriter::with_capacity(BUFFER, file);
    while let Some(piece) = pieces.blocking_recv() {
        out.write_all(&piece)?;
        size = size.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if let Some((hasher, hashed)) = &mut hash {
            hasher.update(&piece);
            *hashed = size;
        }
    }
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    session.hash = hash;
    Ok(Written { session, file, size })
}

/// An upload that was written to, and is still ours alone.
#[derive(Debug)]
pub(super) struct Written {
    session: OwnedMutexGuard<UploadSession>,
    file: fs::File,
    size: u64,
}

impl Written {
    /// How many bytes there are.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Truncates the upload to `size` bytes.
    pub(super) async fn cut(mut self, size: u64) -> Result<(), Problem> {
        self.session.hash = None;
        tokio::task::spawn_blocking(move || {
            let cut = self.file.set_len(size);
            drop(self.session);
            cut
        })
        .await
        .map_err(Problem::internal)?
        .map_err(Problem::internal)
    }
}
