//! The data directory: who may look into it, and that only one server uses it.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// Why the data directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another server has it.
    #[error("another server uses the data directory {} (process {pid}): stop it, or give this one a data_dir of its own", path.display())]
    InUse {
        /// Which.
        path: PathBuf,
        /// Its process, if it says so.
        pid: String,
    },
    /// It can't be made, read or written.
    #[error("data directory: {}: {source}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A data directory that is ours until this is dropped.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    installation: String,
    /// The kernel releases the lock when the process ends, also after a crash.
    _lock: File,
}

impl DataDir {
    /// Makes it unless it is there, locks it, and reads the installation's id, which is made at the
    /// first start.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| DataDirError::Io { path, source }
        };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))?;
        let root = fs::canonicalize(path).map_err(at(path))?;
        fs::set_permissions(&root, Permissions::from_mode(mode())).map_err(at(&root))?;
        let lock = lock(&root)?;
        let file = root.join("installation");
        let installation = installation(&file).map_err(at(&file))?;
        Ok(Self { root, installation, _lock: lock })
    }

    /// What the installation is called where it meets others: on Docker hosts and in the database.
    pub fn installation(&self) -> &str {
        &self.installation
    }

    /// A place in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }
}

/// PostgreSQL, which isn't root, must be able to pass through to its own directory. Everything else
/// in here is closed by itself.
fn mode() -> u32 {
    if rustix::process::geteuid().is_root() { 0o711 } else { 0o700 }
}

fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("lock");
    let io = |source| DataDirError::Io { path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _unknown = file.read_to_string(&mut pid);
            return Err(DataDirError::InUse { path: root.to_owned(), pid: pid.trim().to_owned() });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    file.set_len(0).map_err(io)?;
    file.rewind().map_err(io)?;
    writeln!(file, "{}", std::process::id()).map_err(io)?;
    Ok(file)
}

fn installation(path: &Path) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if !text.trim().is_empty() => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let id = format!("{:016x}", rand::random::<u64>());
    write_private(path, &format!("{id}\n"))?;
    Ok(id)
}

/// Replaces a file that only its owner may read, as a whole: after a power cut it is the old one or
/// the new.
pub fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_server_is_refused_by_a_sentence_with_the_first_ones_process() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        let first = DataDir::open(&path).unwrap();
        let refused = DataDir::open(&path).unwrap_err().to_string();
        assert!(refused.contains("another server uses"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        let id = first.installation().to_owned();
        drop(first);
        assert_eq!(DataDir::open(&path).unwrap().installation(), id, "an installation keeps its id");
    }

    #[test]
    fn nobody_else_may_list_it_or_read_what_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let data = DataDir::open(&parent.path().join("data")).unwrap();
        let mode = |it: &Path| fs::metadata(it).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data.root) & 0o066, 0);
        assert_eq!(mode(&data.join("installation")), 0o600);
    }
}
