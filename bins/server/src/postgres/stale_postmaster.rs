//! A PostgreSQL that a killed server left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::PostgresError;

/// How long a fast stop may take; a checkpoint of much data takes its time.
const FAST_STOP: Duration = Duration::from_secs(30);
/// How long its sessions may take to notice that it is gone.
const ORPHANS: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Stops what still runs on the cluster in `data`, so that nothing does when this returns. The
/// caller holds the lock of the data directory, so no other server uses it.
pub(super) fn stop(data: &Path) -> Result<(), PostgresError> {
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    let pid_file = data.join("postmaster.pid");
    if !pid_file.exists() {
        return Ok(());
    }
    if let Some(postmaster) = postmaster(&data) {
        let pid = postmaster.as_raw_nonzero().get();
        tracing::warn!(pid, "PostgreSQL of an earlier server still runs; stopping it");
        for (signal, timeout) in [(Signal::INT, FAST_STOP), (Signal::QUIT, FAST_STOP)] {
            let _gone = kill_process(postmaster, signal);
            if wait(timeout, || !is_ours(pid, &data)) {
                break;
            }
        }
    }
    // Sessions of a postmaster that was killed end by themselves as soon as they notice. One that
    // hangs may be cut off: without a postmaster nobody shares memory with it any more, and the
    // next start recovers.
    if !wait(ORPHANS, || processes(&data).is_empty()) {
        for orphan in processes(&data) {
            let _gone = kill_process(orphan, Signal::KILL);
        }
    }
    if !wait(ORPHANS, || processes(&data).is_empty()) {
        let pids: Vec<String> = processes(&data).iter().map(|it| it.as_raw_nonzero().to_string()).collect();
        return Err(PostgresError::StillRunning { pids: pids.join(" ") });
    }
    // A stale file names a process id that by now may be anybody's, which PostgreSQL takes for a
    // reason not to start. No process works in the directory any more, so the file says nothing.
    if pid_file.exists() {
        fs::remove_file(&pid_file).map_err(|it| PostgresError::folder(&pid_file, it))?;
    }
    Ok(())
}

/// The process that the pid file names, if it is a PostgreSQL of this directory.
fn postmaster(data: &Path) -> Option<Pid> {
    let text = fs::read_to_string(data.join("postmaster.pid")).ok()?;
    let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
    is_ours(pid.as_raw_nonzero().get(), data).then_some(pid)
}

/// All processes of PostgreSQL that work in `data`.
fn processes(data: &Path) -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|it| it.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|it| is_ours(*it, data)).filter_map(Pid::from_raw).collect()
}

/// PostgreSQL changes into its data directory.
fn is_ours(pid: i32, data: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    fs::read_link(process.join("cwd")).is_ok_and(|it| it == data)
        && fs::read_to_string(process.join("comm")).is_ok_and(|it| it.trim() == "postgres")
}

fn wait(timeout: Duration, done: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !done() {
        if start.elapsed() > timeout {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
    true
}
