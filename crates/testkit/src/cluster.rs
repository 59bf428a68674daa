//! One throw-away PostgreSQL for all processes of a test run.

use std::{
    fs, io,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, NoTls};

const NOBODY: u32 = 65534;

/// The URL of a database of the cluster.
pub(crate) fn url_of(database: &str) -> String {
    let admin = admin_url();
    let at = admin.rfind('/').expect("a path in the URL");
    format!("{}/{database}", admin.get(..at).expect("a boundary"))
}

/// A connection to the database `postgres`.
pub(crate) async fn admin() -> Client {
    let url = admin_url();
    let start = Instant::now();
    loop {
        match tokio_postgres::connect(&url, NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                return client;
            }
            // The socket is there a little before the server takes sessions.
            Err(error) if start.elapsed() > Duration::from_secs(30) => {
                panic!("no connection to {url}: {error}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn admin_url() -> String {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        std::env::var("TEST_DATABASE_URL").unwrap_or_else(|_| start().expect("start PostgreSQL"))
    })
    .clone()
}

fn start() -> io::Result<String> {
    // The parent (cargo or nextest) is the same for all processes of a run.
    let runner = std::os::unix::process::parent_id();
    let root = base_dir().join(format!("omgpg-{}-{runner}", rustix::process::getuid().as_raw()));
    fs::create_dir_all(&root)?;
    fs::set_permissions(&root, fs::Permissions::from_mode(0o755))?;
    give(&root)?;
    let lock = fs::File::create(root.join("lock"))?;
    lock.lock()?;
    let socket = root.join("s");
    let url = format!("postgres://postgres@{}/postgres", socket.to_string_lossy().replace('/', "%2F"));
    if root.join("ready").exists() && UnixStream::connect(socket.join(".s.PGSQL.5432")).is_ok() {
        return Ok(url);
    }
    let bin = bin_dir().ok_or_else(|| {
        io::Error::other("no PostgreSQL programs: apt-get install postgresql, or set TEST_DATABASE_URL")
    })?;
    let (data, log) = (root.join("d"), root.join("log"));
    for folder in [&data, &socket] {
        let _old = fs::remove_dir_all(folder);
        fs::create_dir(folder)?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))?;
        give(folder)?;
    }
    let mut initdb = Command::new(bin.join("initdb"));
    initdb.args(["-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C", "-D"]).arg(&data);
    let made = unprivileged(initdb.current_dir("/")).output()?;
    if !made.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&made.stderr).into_owned()));
    }
    spawn_with_watchdog(&bin, &data, &socket, runner, &root)?;
    let begin = Instant::now();
    while UnixStream::connect(socket.join(".s.PGSQL.5432")).is_err() {
        if begin.elapsed() > Duration::from_secs(30) {
            return Err(io::Error::other(fs::read_to_string(&log).unwrap_or_default()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    fs::write(root.join("ready"), b"")?;
    Ok(url)
}

/// The watchdog is PostgreSQL's parent: it ends it when the runner is gone, and cleans up.
fn spawn_with_watchdog(bin: &Path, data: &Path, socket: &Path, runner: u32, root: &Path) -> io::Result<()> {
    let script = r#"
        "$1/postgres" -D "$2" -c listen_addresses= -c unix_socket_directories="$3" -c fsync=off \
          -c full_page_writes=off -c synchronous_commit=off -c max_connections=400 -c shared_buffers=64MB \
          -c autovacuum=off -c wal_level=minimal -c max_wal_senders=0 &
        PG=$!
        while [ -d /proc/$4 ] && kill -0 $PG 2>/dev/null; do sleep 1; done
        kill -QUIT $PG; wait $PG; rm -rf "$5"/*; rmdir "$5" 2>/dev/null || true
    "#;
    let log = fs::File::create(root.join("log"))?;
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", script, "pg-watchdog"])
        .arg(bin)
        .arg(data)
        .arg(socket)
        .arg(runner.to_string())
        .arg(root)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    unprivileged(&mut command).spawn().map(drop)
}

/// The programs of the newest PostgreSQL, where distributions put them, else on the path.
#[expect(clippy::disallowed_methods, reason = "a test has no configuration")]
fn bin_dir() -> Option<PathBuf> {
    if let Ok(folder) = std::env::var("PG_BIN_DIR") {
        return Some(folder.into());
    }
    let complete = |it: &PathBuf| it.join("initdb").exists() && it.join("postgres").exists();
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|it| Some((it.file_name().to_str()?.parse().ok()?, it.path().join("bin"))))
        .filter(|it| complete(&it.1))
        .collect();
    found.sort();
    found.pop().map(|it| it.1).or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(complete))
}

/// A clone takes 10 ms in memory and up to 200 ms on a busy disk.
fn base_dir() -> PathBuf {
    let shm = Path::new("/dev/shm");
    match rustix::fs::statvfs(shm) {
        Ok(stat) if stat.f_bavail.saturating_mul(stat.f_frsize) > 1 << 30 => shm.into(),
        _ => std::env::temp_dir(),
    }
}

/// PostgreSQL refuses to run as root.
fn unprivileged(command: &mut Command) -> &mut Command {
    if rustix::process::getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn give(folder: &Path) -> io::Result<()> {
    if rustix::process::getuid().is_root() { chown(folder, Some(NOBODY), Some(NOBODY)) } else { Ok(()) }
}
