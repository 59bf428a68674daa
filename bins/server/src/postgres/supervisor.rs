//! The thread that starts PostgreSQL, waits for its end, and starts it again.
//!
//! One thread for all of it, because the kernel tells the child of its parent's death when the
//! *thread* that spawned it ends.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getpid, getppid, kill_process, set_parent_process_death_signal,
    waitid,
};
use tokio::sync::watch;

use super::{cluster::Cluster, stale_postmaster};

/// How the child is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It was not spawned yet.
    New,
    /// It ended and will be started again; its last words.
    Down(String),
    /// It was spawned as the process of this id; whether it answers is another question.
    Spawned(i32),
    /// It can't be started; the reason.
    Failed(String),
    /// It has stopped because the server requested it.
    Stopped,
}

/// Longest pause before it is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After this much time up, a fall counts as the first one again.
const STABLE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Shared {
    stopping: bool,
    child: Option<Pid>,
}

/// Controls the thread.
#[derive(Clone)]
pub(super) struct Supervisor {
    shared: Arc<(Mutex<Shared>, Condvar)>,
    state: watch::Receiver<State>,
}

impl Supervisor {
    /// Starts the thread. It starts the child at once, and again whenever it ends, until told to
    /// stop.
    pub(super) fn start(cluster: Cluster) -> io::Result<Self> {
        let shared: Arc<(Mutex<Shared>, Condvar)> = Arc::default();
        let (sender, state) = watch::channel(State::New);
        let theirs = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("postgres".into())
            .spawn(move || keep(&cluster, &theirs, &sender))?;
        Ok(Self { shared, state })
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Tells the child to stop, and the thread not to start it again.
    pub(super) fn stop(&self, signal: Signal) {
        let mut shared = lock(&self.shared.0);
        shared.stopping = true;
        // The thread reaps the child only under this lock, so the id is still the child's.
        if let Some(pid) = shared.child {
            let _gone = kill_process(pid, signal);
        }
        self.shared.1.notify_all();
    }
}

fn lock(mutex: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn keep(cluster: &Cluster, shared: &(Mutex<Shared>, Condvar), state: &watch::Sender<State>) {
    let mut falls = 0_u32;
    loop {
        let started = Instant::now();
        match run_once(cluster, shared, state) {
            Ok(log) => {
                if lock(&shared.0).stopping {
                    break;
                }
                tracing::error!(reason = %log, "PostgreSQL ended; starting it again");
                state.send_replace(State::Down(log));
            }
            Err(reason) => {
                tracing::error!(reason, "PostgreSQL can't be started");
                state.send_replace(State::Failed(reason));
            }
        }
        falls = if started.elapsed() > STABLE { 0 } else { falls.saturating_add(1) };
        let pause = Duration::from_millis(50).saturating_mul(1 << falls.min(8)).min(LONGEST_PAUSE);
        let waited = shared.1.wait_timeout_while(lock(&shared.0), pause, |it| !it.stopping);
        if waited.unwrap_or_else(PoisonError::into_inner).0.stopping {
            break;
        }
    }
    cluster.clear();
    state.send_replace(State::Stopped);
}

/// Spawns it and waits for its end. Answers what can be log about the end.
fn run_once(
    cluster: &Cluster,
    shared: &(Mutex<Shared>, Condvar),
    state: &watch::Sender<State>,
) -> Result<String, String> {
    // Sessions of a postmaster that was killed may still hold its shared memory.
    stale_postmaster::stop(cluster.data()).map_err(|it| it.to_string())?;
    let mut command = cluster.command().map_err(|it| it.to_string())?;
    // A group of its own: a terminal's ^C is for us alone, and we stop PostgreSQL when we are done
    // with it.
    command.process_group(0);
    tie_to_this_thread(&mut command);
    let (pid, mut child) = {
        let mut shared = lock(&shared.0);
        if shared.stopping {
            return Ok("told to stop".into());
        }
        let child = command.spawn().map_err(|it| cluster.refused(it).to_string())?;
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        shared.child = pid;
        (pid, child)
    };
    state.send_replace(State::Spawned(pid.map_or(0, |it| it.as_raw_nonzero().get())));
    if let Some(pid) = pid {
        // Waits without reaping: the id must stay the child's for as long as somebody may signal
        // it.
        while waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
            .is_err_and(|it| it == rustix::io::Errno::INTR)
        {}
    }
    let ended = reap(shared, &mut child);
    let log = std::fs::read_to_string(cluster.start_log()).unwrap_or_default();
    Ok(format!("{ended}; {}", super::cluster::last_lines(&log)))
}

fn reap(shared: &(Mutex<Shared>, Condvar), child: &mut Child) -> String {
    let mut shared = lock(&shared.0);
    shared.child = None;
    child.wait().map_or_else(|it| it.to_string(), |it| it.to_string())
}

/// Lets the kernel stop the child (fast and clean: SIGINT) when we are killed.
#[expect(unsafe_code, reason = "the standard library has no safe way to run anything between fork and exec")]
fn tie_to_this_thread(command: &mut Command) {
    let parent = getpid();
    let tie = move || {
        set_parent_process_death_signal(Some(Signal::INT))?;
        // We may have been killed before the line above.
        if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: the closure runs between fork and exec, where only async-signal-safe functions are
    // allowed. It makes the system calls prctl and getppid, allocates nothing and takes no lock.
    unsafe {
        command.pre_exec(tie);
    }
}
