//! The cluster on disk: made once, and the arguments that it is started with.

use std::{
    fs, io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    PostgresError,
    account::{Reach, UnixAccount},
    programs::{self, Programs},
    stale_postmaster,
};
use crate::settings::memory_mb;

/// The database, the role and the name in `ps` of our cluster.
pub(super) const NAME: &str = "omgservers";

/// The longest path of a Unix socket is 107 bytes; this is the name of PostgreSQL's in its folder.
const SOCKET: &str = "/.s.PGSQL.5432";
const LONGEST: usize = 107;

/// Only our role, only over the socket, whose folder nobody else can enter.
const HBA: &str = "local all omgservers trust\nlocal all all reject\nhost all all all reject\n";

/// A cluster that is ready to be started.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    programs: Programs,
    account: UnixAccount,
    base: PathBuf,
    data: PathBuf,
    /// How its account gets to `base`.
    reach: Reach,
    socket: PathBuf,
    sessions: u32,
}

impl Cluster {
    /// Makes the cluster below `base` unless it is there, and stops what an earlier server left
    /// running. Blocks.
    pub(super) fn prepare(base: &Path, bin_dir: Option<&Path>, sessions: u32) -> Result<Self, PostgresError> {
        let data = base.join("data");
        let pinned = pinned(&data)?;
        let programs = programs::find(bin_dir, pinned)?;
        let account = UnixAccount::find()?;
        account.own(base).map_err(|it| PostgresError::folder(base, it))?;
        let base = fs::canonicalize(base).map_err(|it| PostgresError::folder(base, it))?;
        let data = base.join("data");
        let reach = Reach::find(&base, account).map_err(|it| PostgresError::folder(&base, it))?;
        let socket = socket_folder(&base, account)?;
        let cluster = Self { programs, account, base, data, reach, socket, sessions };
        if pinned.is_none() {
            cluster.make()?;
        } else {
            stale_postmaster::stop(&cluster.data)?;
        }
        Ok(cluster)
    }

    /// Where to connect to.
    pub(super) fn url(&self, database: &str) -> String {
        let encoded: String = self.socket.as_os_str().as_bytes().iter().map(|it| percent(*it)).collect();
        format!("postgres://{NAME}@{encoded}/{database}")
    }

    /// The cluster itself.
    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    /// The version that made it.
    pub(super) fn major(&self) -> u32 {
        self.programs.major
    }

    /// The folder of its log files.
    pub(super) fn log(&self) -> PathBuf {
        self.base.join("log")
    }

    /// What it says before its log is open.
    pub(super) fn start_log(&self) -> PathBuf {
        self.base.join("start.log")
    }

    /// In a directory of its own, renamed when all is done: a half-made cluster is never taken for
    /// one.
    fn make(&self) -> Result<(), PostgresError> {
        let new = self.base.join("data.new");
        if new.exists() {
            fs::remove_dir_all(&new).map_err(|it| PostgresError::folder(&new, it))?;
        }
        let mut initdb = self.account.command(&self.programs.folder.join("initdb"), &self.reach.path);
        initdb.args(["-U", NAME, "--auth=trust", "--encoding=UTF8", "--locale=C", "--data-checksums"]);
        let made = initdb
            .args(["--no-instructions", "-D"])
            .arg(self.seen("data.new"))
            .output()
            .map_err(|it| self.refused(it))?;
        if !made.status.success() {
            return Err(PostgresError::Initdb { log: last_lines(&String::from_utf8_lossy(&made.stderr)) });
        }
        let hba = new.join("pg_hba.conf");
        fs::write(&hba, HBA).map_err(|it| PostgresError::folder(&hba, it))?;
        fs::rename(&new, &self.data).map_err(|it| PostgresError::folder(&self.data, it))?;
        let synced = fs::File::open(&self.base).and_then(|it| it.sync_all());
        synced.map_err(|it| PostgresError::folder(&self.base, it))?;
        tracing::info!(version = self.programs.major, folder = %self.data.display(), "made a database cluster");
        Ok(())
    }

    /// The server process, ready to be spawned.
    pub(super) fn command(&self) -> io::Result<Command> {
        let log = fs::File::create(self.start_log())?;
        let mut command = self.account.command(&self.programs.folder.join("postgres"), &self.reach.path);
        let socket = match self.socket.strip_prefix(&self.base) {
            Ok(inside) => self.reach.path.join(inside),
            Err(_) => self.socket.clone(),
        };
        command.arg("-D").arg(self.seen("data")).arg("-k").arg(socket);
        let buffers = format!(
            "shared_buffers={}MB",
            shared_buffers_mb(memory_mb(Path::new("/proc/meminfo")).unwrap_or(1024))
        );
        let sessions = format!("max_connections={}", self.sessions);
        let log_folder = format!("log_directory={}", self.seen("log").display());
        for setting in [
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "cluster_name=omgservers",
            sessions.as_str(),
            buffers.as_str(),
            // Compiling costs more than our short queries take, and needs memory that is writable
            // and executable.
            "jit=off",
            "max_wal_size=2GB",
            "checkpoint_timeout=15min",
            "random_page_cost=1.1",
            // A week of logs, a file for each day of the week.
            "logging_collector=on",
            log_folder.as_str(),
            "log_filename=postgresql-%a.log",
            "log_truncate_on_rotation=on",
            "log_rotation_size=0",
        ] {
            command.arg("-c").arg(setting);
        }
        command.stdout(Stdio::from(log.try_clone()?)).stderr(Stdio::from(log));
        Ok(command)
    }

    /// A place below `base` as the account sees it.
    fn seen(&self, name: &str) -> PathBuf {
        self.reach.path.join(name)
    }

    /// Removes what would otherwise stay behind outside of its folder.
    pub(super) fn clear(&self) {
        if !self.socket.starts_with(&self.base) {
            let _still_used = fs::remove_dir(&self.socket);
        }
    }

    /// A program of PostgreSQL could not be run.
    pub(super) fn refused(&self, error: io::Error) -> PostgresError {
        if error.kind() == io::ErrorKind::PermissionDenied {
            PostgresError::NotReachable { folder: self.base.clone() }
        } else {
            PostgresError::Spawn { program: self.programs.folder.clone(), source: error }
        }
    }
}

/// The version that made the cluster in `data`, if there is one.
fn pinned(data: &Path) -> Result<Option<u32>, PostgresError> {
    let file = data.join("PG_VERSION");
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse() {
            Ok(major) => Ok(Some(major)),
            Err(_) => Err(PostgresError::folder(&file, io::Error::other("it holds no version"))),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound && !data.exists() => Ok(None),
        Err(error) => Err(PostgresError::folder(&file, error)),
    }
}

/// Beside the data, or in a short place when the path would be too long for a socket.
fn socket_folder(base: &Path, account: UnixAccount) -> Result<PathBuf, PostgresError> {
    let beside = base.join("run");
    let folder = if beside.as_os_str().len() + SOCKET.len() <= LONGEST {
        beside
    } else {
        let parent = ["/run", "/dev/shm", "/tmp"].iter().find(|it| writable(it)).unwrap_or(&"/tmp");
        Path::new(parent).join(format!("{NAME}-{:016x}", fingerprint(base)))
    };
    account.own(&folder).map_err(|it| PostgresError::folder(&folder, it))?;
    Ok(folder)
}

fn writable(folder: &str) -> bool {
    rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
}

/// FNV-1a: the same path gives the same name in every build.
fn fingerprint(path: &Path) -> u64 {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

fn percent(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// An eighth of the memory: it is shared with the game servers.
fn shared_buffers_mb(memory_mb: u32) -> u32 {
    (memory_mb / 8).clamp(32, 1024)
}

/// The end of what a program said, on one line.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|it| !it.is_empty()).collect();
    let start = lines.len().saturating_sub(4);
    lines.get(start..).unwrap_or_default().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_odd_characters_makes_a_url_that_parses() {
        let odd = "/srv/a b%/c:d@e/ü";
        let encoded: String = odd.bytes().map(percent).collect();
        let config: tokio_postgres::Config = format!("postgres://x@{encoded}/y").parse().unwrap();
        assert_eq!(config.get_hosts(), [tokio_postgres::config::Host::Unix(odd.into())]);
    }

    #[test]
    fn a_quarter_of_a_gigabyte_and_a_big_machine_both_get_sensible_buffers() {
        assert_eq!(shared_buffers_mb(200), 32);
        assert_eq!(shared_buffers_mb(8192), 1024);
        assert_eq!(shared_buffers_mb(262_144), 1024);
    }

    #[test]
    fn the_end_of_a_programs_words_fits_into_one_sentence() {
        assert_eq!(last_lines("a\nb\n\n c\nd\ne\n"), "b / c / d / e");
        assert_eq!(last_lines(""), "");
    }
}
