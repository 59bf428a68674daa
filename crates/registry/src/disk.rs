//! Where bytes are: `blobs/<algorithm>/<first two digits>/<digits>`, and `uploads/<id>/data`
//! before.
//!
//! A file below `blobs` is complete and never changes: it is synced before it gets its name.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use omgservers_api::Problem;

use crate::rules::digest::{Algorithm, Digest};

/// The folder of one registry.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    root: PathBuf,
}

impl Disk {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.folder(digest.algorithm()).join(hex.get(..2).unwrap_or_default()).join(hex)
    }

    fn folder(&self, algorithm: Algorithm) -> PathBuf {
        self.root.join("blobs").join(algorithm.name())
    }

    pub(crate) fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// The bytes of an upload that have come so far.
    pub(crate) fn upload(&self, id: &str) -> PathBuf {
        self.uploads().join(id).join("data")
    }

    /// Makes the folder and the empty file of an upload.
    pub(crate) async fn start_upload(&self, id: &str) -> Result<(), Problem> {
        let file = self.upload(id);
        blocking(move || {
            make_parent(&file)?;
            fs::OpenOptions::new().append(true).create(true).open(&file).map(drop)
        })
        .await
    }

    /// Removes what is left of an upload; nothing left is fine.
    pub(crate) async fn remove_upload(&self, id: &str) -> Result<(), Problem> {
        let folder = self.uploads().join(id);
        blocking(move || absent_is_fine(fs::remove_dir_all(folder))).await
    }

    /// Syncs the bytes of an upload to the disk and says how many they are.
    pub(crate) async fn settle_upload(&self, id: &str) -> Result<u64, Problem> {
        let file = self.upload(id);
        blocking(move || {
            make_parent(&file)?;
            let file = fs::OpenOptions::new().append(true).create(true).open(&file)?;
            file.sync_all()?;
            Ok(file.metadata()?.len())
        })
        .await
    }

    /// Reads an upload from its beginning to know its digest.
    pub(crate) async fn hash_upload(&self, id: &str, algorithm: Algorithm) -> Result<Digest, Problem> {
        let file = self.upload(id);
        blocking(move || algorithm.read(fs::File::open(file)?)).await
    }

    /// Makes a settled upload the blob of this digest.
    pub(crate) async fn keep_upload(&self, id: &str, digest: &Digest) -> Result<(), Problem> {
        let (from, to) = (self.upload(id), self.blob(digest));
        blocking(move || publish(&from, &to)).await
    }

    /// Writes a small blob.
    pub(crate) async fn write_blob(&self, digest: &Digest, content: &[u8]) -> Result<(), Problem> {
        let (to, content) = (self.blob(digest), content.to_vec());
        let from = to.with_extension(format!("{:016x}{PART}", rand::random::<u64>()));
        blocking(move || {
            make_parent(&to)?;
            let mut file = fs::File::create_new(&from)?;
            io::Write::write_all(&mut file, &content)?;
            file.sync_all()?;
            publish(&from, &to)
        })
        .await
    }

    /// The file of a blob; `None` when there is none.
    pub(crate) async fn open_blob(&self, digest: &Digest) -> Result<Option<tokio::fs::File>, Problem> {
        match tokio::fs::File::open(self.blob(digest)).await {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Problem::internal(error)),
        }
    }

    /// Removes a blob, and what was written of it by a process that was killed.
    pub(crate) async fn remove_blob(&self, digest: &Digest) -> Result<(), Problem> {
        let file = self.blob(digest);
        let digits = digest.hex().to_owned();
        blocking(move || {
            absent_is_fine(fs::remove_file(&file))?;
            for name in file.parent().map(names).transpose()?.unwrap_or_default() {
                if name.starts_with(&digits) && name.ends_with(PART) {
                    absent_is_fine(fs::remove_file(file.with_file_name(name)))?;
                }
            }
            Ok(())
        })
        .await
    }

    /// All digests that there is a file for, whole or in part, folder by folder.
    pub(crate) async fn blobs(&self) -> Result<Vec<Digest>, Problem> {
        let disk = self.clone();
        blocking(move || {
            let mut found = Vec::new();
            for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
                let folder = disk.folder(algorithm);
                for part in names(&folder)? {
                    let digits = names(&folder.join(part))?.into_iter();
                    found.extend(digits.filter_map(|file| {
                        let digits = file.split_once('.').map_or(file.as_str(), |(digits, _part)| digits);
                        format!("{}:{digits}", algorithm.name()).parse::<Digest>().ok()
                    }));
                }
            }
            Ok(found)
        })
        .await
    }

    /// The ids of all uploads that have a folder.
    pub(crate) async fn upload_ids(&self) -> Result<Vec<String>, Problem> {
        let folder = self.uploads();
        blocking(move || names(&folder)).await
    }
}

/// The end of the name of a blob that isn't written completely.
const PART: &str = "-part";

/// Gives a synced file its name among the blobs.
fn publish(from: &Path, to: &Path) -> io::Result<()> {
    make_parent(to)?;
    fs::rename(from, to)?;
    // Without this the name may be lost in a power failure although the database knows it.
    to.parent().map_or(Ok(()), |it| fs::File::open(it)?.sync_all())
}

fn make_parent(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), fs::create_dir_all)
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|it| Ok(it?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?.map_err(Problem::internal)
}
