//! A run: the real server, players and game servers, one fault after the other, and the judge.

mod entries;
mod faults;
mod options;
mod report;
mod rest;
mod server;
mod set_up;

pub use self::{
    options::Options,
    report::{Outcome, Recovery},
};

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use self::{report::Report, server::Server};
use crate::{
    cluster::{Cluster, Sql},
    history::{Judge, Record, file},
    proxy::Proxy,
    schedule::{Fault, Round, schedule},
    workload::{Mode, Workload},
};

/// Everything that a run owns. The server goes first, its database last.
struct Run {
    options: Options,
    workload: Arc<Workload>,
    tasks: JoinSet<()>,
    server: Server,
    proxy: Option<Proxy>,
    sql: Sql,
    cluster: Option<Cluster>,
    judge: Judge,
    history: Vec<Record>,
    report: Report,
}

/// Runs the schedule of the seed, and prints what happens, line by line.
///
/// Fails when something outside of the server doesn't work (no PostgreSQL, no Docker); what the
/// server does wrong is in the [`Outcome`].
pub async fn run(options: Options, print: impl Fn(&str) + Send + Sync + 'static) -> anyhow::Result<Outcome> {
    let begun = Instant::now();
    let rounds = schedule(options.seed, options.rounds, options.database);
    let mut run = set_up::open(options, Box::new(print)).await?;
    run.report.print(&format!(
        "{} players are in lobbies after {:.1?}",
        run.options.players,
        begun.elapsed()
    ));
    if let Err(error) = run.all(&rounds).await {
        run.report.findings.push(format!("{error:#}"));
    }
    run.finish(begun).await
}

impl Run {
    async fn all(&mut self, rounds: &[Round]) -> anyhow::Result<()> {
        for (index, round) in rounds.iter().enumerate() {
            if self.is_wrong() {
                return Ok(());
            }
            self.workload.set_mode(Mode::Play);
            tokio::time::sleep(round.play).await;
            let from = Instant::now();
            for fault in &round.faults {
                self.strike(*fault)
                    .await
                    .with_context(|| format!("round {}: {fault}", index.saturating_add(1)))?;
            }
            let recovery = self.recover(from, Instant::now()).await?;
            self.rest().await?;
            self.report.round(index.saturating_add(1), &round.faults, recovery, &self.judge);
        }
        if self.options.entries > 0 && !self.is_wrong() {
            self.fill_and_kill().await?;
        }
        Ok(())
    }

    /// Hands what was noted to the judge.
    fn feed(&mut self) {
        for record in self.workload.log.take() {
            self.judge.add(record.clone());
            self.history.push(record);
        }
    }

    fn is_wrong(&self) -> bool {
        !self.report.findings.is_empty() || !self.judge.verdict().is_empty()
    }

    /// Waits until the server is ready and everybody was served since then, after faults that began
    /// and ended then.
    async fn recover(&mut self, from: Instant, until: Instant) -> anyhow::Result<Recovery> {
        self.calm();
        let ready = self.server.ready(&self.workload).await?;
        let served = self.all_served(Instant::now()).await;
        let begun = self.server.launched().filter(|it| *it > from).unwrap_or(until);
        Ok(Recovery {
            ready: ready.saturating_duration_since(begun),
            served: served.saturating_duration_since(begun),
        })
    }

    async fn finish(mut self, begun: Instant) -> anyhow::Result<Outcome> {
        self.workload.set_mode(Mode::Over);
        while self.tasks.join_next().await.is_some() {}
        self.feed();
        let relaunches = self.server.relaunches;
        match self.server.stop().await {
            Ok(status) if status.success() => {}
            Ok(status) => self.report.findings.push(format!("the server's last stop: {status}")),
            Err(error) => self.report.findings.push(error.to_string()),
        }
        let violations = self.judge.verdict();
        let mut saved = None;
        if !violations.is_empty() || !self.report.findings.is_empty() {
            let path = self.options.folder.join(format!("torture-{}.jsonl", self.options.seed));
            file::write(&path, &self.history).with_context(|| path.display().to_string())?;
            std::fs::write(path.with_extension("log"), self.server.log())?;
            saved = Some(path);
        }
        Ok(self.report.close(violations, self.judge.counts(), relaunches, saved, begun.elapsed()))
    }

    /// The proxy does what a good network does.
    fn calm(&self) {
        self.workload.drops.store(0, std::sync::atomic::Ordering::Relaxed);
        if let Some(proxy) = &self.proxy {
            proxy.control().disarm();
            proxy.control().delay(std::time::Duration::ZERO);
        }
    }
}

/// Whether a fault needs the proxy.
fn needs_proxy(fault: Fault) -> bool {
    matches!(
        fault,
        Fault::CutDatabase
            | Fault::CutStatements(_)
            | Fault::SlowDatabase { .. }
            | Fault::LoseCommitAnswers(_)
            | Fault::LoseCommits(_)
    )
}
