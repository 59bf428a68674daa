//! Carries faults out.

use std::{
    path::Path,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use super::{Run, needs_proxy};
use crate::{
    cluster::sessions_of,
    process::pid_of,
    proxy::{Control, Trap},
    rng::Rng,
    schedule::Fault,
    workload::hosts,
};

/// A trap into which nobody runs is taken away after this.
const TRAP: Duration = Duration::from_secs(5);

impl Run {
    /// Lets it go wrong. What lasts a while is over when this returns, but for what slows a later
    /// fault down.
    pub(super) async fn strike(&mut self, fault: Fault) -> anyhow::Result<()> {
        if needs_proxy(fault) {
            return self.disturb(fault).await;
        }
        match fault {
            Fault::KillServer => self.server.kill(&self.workload),
            Fault::RestartServer => self.server.restart(&self.workload).await?,
            Fault::PauseServer(time) => {
                self.server.backend.signal("-STOP");
                tokio::time::sleep(time).await;
                self.server.backend.signal("-CONT");
            }
            Fault::KillPostgres(away) => self.end_postgres(Signal::KILL, away).await?,
            Fault::StopPostgres(away) => self.end_postgres(Signal::INT, away).await?,
            Fault::KillSession => {
                if let Some(pid) = self.session() {
                    let _gone = kill_process(pid, Signal::KILL);
                }
            }
            Fault::PauseSession(time) => {
                if let Some(pid) = self.session() {
                    let _gone = kill_process(pid, Signal::STOP);
                    tokio::time::sleep(time).await;
                    let _gone = kill_process(pid, Signal::CONT);
                }
            }
            Fault::DropRequests { percent, lasts } => {
                self.workload.drops.store(percent, Ordering::Relaxed);
                tokio::time::sleep(lasts).await;
            }
            Fault::PauseContainer(time) => self.pause_container(time).await,
            Fault::StepClock(seconds) => match &self.server.clock {
                Some(clock) => clock.step(seconds).context("the clock")?,
                None => self.report.print("  skipped: there is no libfaketime"),
            },
            Fault::CutDatabase
            | Fault::CutStatements(_)
            | Fault::SlowDatabase { .. }
            | Fault::LoseCommitAnswers(_)
            | Fault::LoseCommits(_) => {}
        }
        Ok(())
    }

    /// What the proxy does.
    async fn disturb(&mut self, fault: Fault) -> anyhow::Result<()> {
        let control = std::sync::Arc::clone(self.proxy.as_ref().context("there is no proxy")?.control());
        match fault {
            Fault::CutDatabase => control.cut(),
            Fault::CutStatements(count) => self.trap(&control, Trap::Statement, count).await,
            Fault::LoseCommitAnswers(count) => self.trap(&control, Trap::CommitAnswer, count).await,
            Fault::LoseCommits(count) => self.trap(&control, Trap::Commit, count).await,
            Fault::SlowDatabase { delay, lasts } => {
                control.delay(delay);
                tokio::time::sleep(lasts).await;
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits until somebody has run into the trap for the first time; the rest of it goes on.
    async fn trap(&mut self, control: &Control, trap: Trap, times: u32) {
        control.set(trap, times);
        let begun = Instant::now();
        while control.armed() == times && begun.elapsed() < TRAP {
            self.server.keep(&self.workload);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Our own is started again here, the embedded one by the server.
    async fn end_postgres(&mut self, signal: Signal, away: Duration) -> anyhow::Result<()> {
        match &mut self.cluster {
            Some(cluster) => {
                cluster.end(signal).context("PostgreSQL")?;
                tokio::time::sleep(away).await;
                cluster.start().await
            }
            None => {
                if let Some(pid) = postmaster(&self.server.backend.data_dir()).and_then(pid_of) {
                    let _gone = kill_process(pid, signal);
                }
                Ok(())
            }
        }
    }

    /// A process that serves the server.
    fn session(&self) -> Option<Pid> {
        let all = match &self.cluster {
            Some(cluster) => cluster.sessions(),
            None => postmaster(&self.server.backend.data_dir()).map(sessions_of).unwrap_or_default(),
        };
        Rng::new(self.judge.counts().records).pick(&all).copied()
    }

    async fn pause_container(&mut self, time: Duration) {
        let seats = self.workload.seats();
        let Some(seat) = Rng::new(self.judge.counts().records).pick(&seats).cloned() else { return };
        seat.frozen.store(true, Ordering::Release);
        let paused = hosts::pause(&seat.container, true).await;
        tokio::time::sleep(time).await;
        if paused {
            hosts::pause(&seat.container, false).await;
        }
        seat.frozen.store(false, Ordering::Release);
    }
}

/// The embedded PostgreSQL's first process.
fn postmaster(data_dir: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(data_dir.join("pg/data/postmaster.pid")).ok()?;
    text.lines().next()?.trim().parse().ok()
}
