//! A kill with full mailboxes.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};

use super::{Recovery, Run};
use crate::workload::Mode;

const FILLED: Duration = Duration::from_secs(300);
/// How often what is missing is sent.
const TOP_UPS: usize = 3;

impl Run {
    /// Fills the mailboxes of players and of game servers, kills the server, and lets everybody go
    /// on.
    pub(super) async fn fill_and_kill(&mut self) -> anyhow::Result<()> {
        // Half of them wait for players, half for game servers; those who use the SDK don't take
        // part.
        let players = u64::try_from(self.options.players)?.max(1);
        let each = self.options.entries.saturating_mul(11).div_ceil(players.saturating_mul(20));
        self.workload.fill.store(each, Ordering::Relaxed);
        self.fill(Mode::FillPlayers).await?;
        self.fill(Mode::FillGames).await?;
        self.workload.set_mode(Mode::Still);
        let count = self.top_up(players).await?;
        ensure!(count >= self.options.entries, "only {count} entries are stored");
        self.server.kill(&self.workload);
        let launched = self.server.launched().unwrap_or_else(Instant::now);
        let ready = self.server.ready(&self.workload).await?;
        let after = self.stored().await?;
        self.workload.set_mode(Mode::Rest);
        let served = self.all_served(ready).await;
        let recovery = Recovery {
            ready: ready.saturating_duration_since(launched),
            served: served.saturating_duration_since(launched),
        };
        self.rest().await?;
        let name = format!("server killed with {count} entries in mailboxes ({after} afterwards)");
        self.report.step(name, true, recovery, &self.judge);
        Ok(())
    }

    /// Lets game servers send what is missing; answers how many entries are stored. A game server
    /// that was receiving when the mailboxes were filled consumes a part of what was meant to wait.
    async fn top_up(&mut self, players: u64) -> anyhow::Result<u64> {
        for _ in 0..TOP_UPS {
            let missing = self.options.entries.saturating_sub(self.stored().await?);
            if missing == 0 {
                break;
            }
            self.workload.fill.store(missing.saturating_mul(2).div_ceil(players), Ordering::Relaxed);
            self.workload.seats().iter().for_each(|it| it.filled.store(false, Ordering::Release));
            self.fill(Mode::FillPlayers).await?;
            self.workload.set_mode(Mode::Still);
        }
        self.stored().await
    }

    /// Lets one side say so much, and waits until it has been taken.
    async fn fill(&mut self, mode: Mode) -> anyhow::Result<()> {
        self.workload.set_mode(mode);
        let begun = Instant::now();
        loop {
            self.server.keep(&self.workload);
            self.feed();
            let full = match mode {
                Mode::FillPlayers => self.workload.seats().iter().all(|seat| {
                    seat.filled.load(Ordering::Acquire) && seat.queued.load(Ordering::Acquire) == 0
                }),
                _ => self.workload.cards().iter().all(|it| it.filled.load(Ordering::Acquire)),
            };
            if full {
                return Ok(());
            }
            ensure!(begun.elapsed() < FILLED, "mailboxes are not filled after {FILLED:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn stored(&self) -> anyhow::Result<u64> {
        let rows = self.sql.query("select count(*) from messaging.entry").await?;
        let count = rows.first().and_then(|it| it.first()).context("no count")?;
        Ok(count.parse()?)
    }
}
