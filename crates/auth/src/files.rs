//! A private folder: files of mode 0600 that are whole or absent, and one process at a time.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use omgservers_api::Problem;

/// Files that are being written begin with this; one that stayed behind is removed.
const UNFINISHED: &str = ".unfinished-";

/// A folder of mode 0700, locked against other processes while this lives.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and closes it to other users.
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let open = || {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            fs::set_permissions(path, Permissions::from_mode(0o700))?;
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .mode(0o600)
                .open(path.join(".lock"))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = open().map_err(|it| at(path, &it))?;
        let folder = Self { path: path.to_owned(), _lock: lock };
        for name in folder.names()?.iter().filter(|it| it.starts_with(UNFINISHED)) {
            folder.remove(name)?;
        }
        Ok(folder)
    }

    /// The names of all files, sorted.
    pub(crate) fn names(&self) -> Result<Vec<String>, Problem> {
        let list = || -> io::Result<Vec<String>> {
            let mut names = Vec::new();
            for entry in fs::read_dir(&self.path)? {
                names.extend(entry?.file_name().into_string());
            }
            names.sort_unstable();
            Ok(names)
        };
        list().map_err(|it| at(&self.path, &it))
    }

    /// The text of a key file; `None` when it is absent. Closes it to other users.
    pub(crate) fn read(&self, name: &str) -> Result<Option<String>, Problem> {
        let path = self.path.join(name);
        let close = || -> io::Result<()> {
            if fs::metadata(&path)?.permissions().mode() & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "a key file was open to other users; closed it");
                fs::set_permissions(&path, Permissions::from_mode(0o600))?;
            }
            Ok(())
        };
        match close() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path, &error)),
            _ => self.read_public(name),
        }
    }

    /// The text of a file that other users may read; `None` when it is absent.
    pub(crate) fn read_public(&self, name: &str) -> Result<Option<String>, Problem> {
        let path = self.path.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(at(&path, &error)),
        }
    }

    /// Writes a file so that a crash leaves the old one or the new one.
    pub(crate) fn write(&self, name: &str, mode: u32, text: &str) -> Result<(), Problem> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{UNFINISHED}{name}"));
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
            // The process's umask may have taken bits away that others need.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|it| at(&path, &it))
    }

    /// Removes a file.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Problem> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(|it| at(&path, &it))
    }

    /// The problem of one file's content.
    pub(crate) fn broken(&self, name: &str, reason: impl std::fmt::Display) -> Problem {
        Problem::internal(format!("{}: {reason}", self.path.join(name).display()))
    }
}

fn at(path: &Path, error: &io::Error) -> Problem {
    Problem::internal(format!("{}: {error}", path.display()))
}
