//! Whom PostgreSQL runs as: it refuses to run as root.

use std::{
    fs::{self, File},
    io,
    os::fd::AsRawFd as _,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use rustix::io::{FdFlags, fcntl_setfd};

use super::PostgresError;

/// The account `postgres` when we are root, else ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnixAccount(Option<(u32, u32)>);

impl UnixAccount {
    pub(super) fn find() -> Result<Self, PostgresError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ids_of(&passwd, "postgres").map(|it| Self(Some(it))).ok_or(PostgresError::NoAccount)
    }

    /// The user id that it has.
    pub(super) fn uid(self) -> u32 {
        self.0.map_or_else(|| rustix::process::geteuid().as_raw(), |it| it.0)
    }

    /// A program that runs as it, with nothing of our environment, in `folder`.
    pub(super) fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("LC_ALL", "C").env("PATH", "/usr/bin:/bin").current_dir(folder);
        command.stdin(Stdio::null());
        if let Some((uid, gid)) = self.0 {
            // The standard library drops the supplementary groups with it.
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes `folder` and gives it to the account, for nobody else to look into.
    pub(super) fn own(self, folder: &Path) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        let found = fs::symlink_metadata(folder)?;
        if !found.is_dir() {
            return Err(io::Error::other("it is there and no directory"));
        }
        if let Some((uid, gid)) = self.0 {
            chown(folder, Some(uid), Some(gid))?;
        } else if found.uid() != self.uid() {
            return Err(io::Error::other("it belongs to another user"));
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
    }
}

/// How an account gets to a folder.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// The folder, as the account's processes name it.
    pub(super) path: PathBuf,
    /// An open folder needs no way to it: processes that inherit it find it below `/proc/self/fd`.
    _open: Option<Arc<File>>,
}

impl Reach {
    /// By its name. Where a directory above it is closed (a clone below `/root`), by a handle that
    /// we open and the account's processes inherit.
    pub(super) fn find(folder: &Path, account: UnixAccount) -> io::Result<Self> {
        match account.command(Path::new("/bin/true"), folder).status() {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            _ => return Ok(Self { path: folder.to_owned(), _open: None }),
        }
        let open = File::open(folder)?;
        // Inherited by every program that we start; only PostgreSQL's are ever started.
        fcntl_setfd(&open, FdFlags::empty())?;
        let path = format!("/proc/self/fd/{}", open.as_raw_fd()).into();
        Ok(Self { path, _open: Some(Arc::new(open)) })
    }
}

fn ids_of(passwd: &str, name: &str) -> Option<(u32, u32)> {
    let line = passwd.lines().find(|it| it.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accounts_ids_are_found_by_its_whole_name() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\npostgres2:x:7:7::/:/bin/sh\npostgres:x:104:109:,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(ids_of(passwd, "postgres"), Some((104, 109)));
        assert_eq!(ids_of(passwd, "nobody"), None);
    }
}
