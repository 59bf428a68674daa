//! Rest: what is under way comes to its end, and everything is compared.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use omgservers_api::Kind;
use omgservers_client::Player;

use super::Run;
use crate::{
    history::Record,
    workload::{Mode, bodies::Profile, card::Card},
};

/// What hasn't arrived after so long is lost.
const TIMEOUT: Duration = Duration::from_secs(90);
const TICK: Duration = Duration::from_millis(20);

impl Run {
    /// Brings everything to its end and judges it.
    pub(super) async fn rest(&mut self) -> anyhow::Result<()> {
        self.workload.set_mode(Mode::Rest);
        let begun = Instant::now();
        loop {
            self.server.keep(&self.workload);
            self.feed();
            if self.is_quiet() {
                break;
            }
            if begun.elapsed() > TIMEOUT {
                let busy = self.busy();
                self.report.findings.push(format!("not at rest after {TIMEOUT:?}: {busy}"));
                break;
            }
            tokio::time::sleep(TICK).await;
        }
        // A second delivery of anything would have come by now.
        self.all_served(Instant::now()).await;
        self.close_tickets().await;
        self.compare_stored().await?;
        self.feed();
        self.report.findings.extend(self.workload.take_oddities());
        Ok(())
    }

    fn is_quiet(&self) -> bool {
        let silent = |card: &Arc<Card>| {
            card.unacknowledged.load(Ordering::Acquire) == 0 && card.runtime.load(Ordering::Acquire) != 0
        };
        self.judge.missing() == 0
            && self.workload.cards().iter().all(silent)
            && self.workload.seats().iter().all(|it| it.queued.load(Ordering::Acquire) == 0)
    }

    fn busy(&self) -> String {
        let cards = self.workload.cards();
        let talking = cards.iter().filter(|it| it.unacknowledged.load(Ordering::Acquire) > 0);
        let homeless = cards.iter().filter(|it| it.runtime.load(Ordering::Acquire) == 0).count();
        let queued: u64 = self.workload.seats().iter().map(|it| it.queued.load(Ordering::Acquire)).sum();
        format!(
            "{} messages haven't arrived, {} players have unacknowledged ones, {homeless} have no game server, {queued} \
             commands are unanswered",
            self.judge.missing(),
            talking.count(),
        )
    }

    /// Waits until everybody was answered since then; answers when that was so.
    pub(super) async fn all_served(&mut self, since: Instant) -> Instant {
        let begun = Instant::now();
        loop {
            self.server.keep(&self.workload);
            let cards = self.workload.cards();
            let waiting =
                cards.iter().filter(|it| !it.served_since(since)).map(|it| format!("client {}", it.client));
            let seats = self.workload.seats();
            let silent =
                seats.iter().filter(|it| !it.served_since(since)).map(|it| format!("runtime {}", it.runtime));
            let waiting: Vec<String> = waiting.chain(silent).collect();
            if waiting.is_empty() {
                return Instant::now();
            }
            if begun.elapsed() > TIMEOUT {
                let names = waiting.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
                self.report.findings.push(format!("{} are not served: {names} …", waiting.len()));
                return Instant::now();
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// Tickets that have not ended are open.
    async fn close_tickets(&mut self) {
        for card in self.workload.cards() {
            let begun = Instant::now();
            while card.has_ticket.load(Ordering::Acquire) && begun.elapsed() < TIMEOUT {
                match Player::with_token(&self.workload.client, &card.token()).ticket(card.client_id).await {
                    Ok(_open) => break,
                    Err(problem) if problem.kind() == Kind::NotFound => {
                        // Its next exchange brings what came meanwhile.
                        self.all_served(Instant::now()).await;
                        if card.has_ticket.swap(false, Ordering::AcqRel) {
                            self.workload.log.add(Record::TicketVoid { client: card.client });
                        }
                    }
                    Err(_later) => {
                        self.server.keep(&self.workload);
                        tokio::time::sleep(TICK).await;
                    }
                }
            }
        }
    }

    /// Profiles and routes as the database has them.
    async fn compare_stored(&mut self) -> anyhow::Result<()> {
        let cards = self.workload.cards();
        let users: HashMap<u64, Arc<Card>> = cards.iter().map(|it| (it.user, Arc::clone(it))).collect();
        for row in self.sql.query("select user_id, body from players.profile").await? {
            let [user, body] = row.as_slice() else { continue };
            let Some(card) = user.parse().ok().and_then(|it| users.get(&it)) else { continue };
            let value = serde_json::from_str(body).map_or(0, |it: Profile| it.v);
            self.workload.log.add(Record::ProfileStored { user: card.user, value });
        }
        let begun = Instant::now();
        loop {
            // Matches end also while others rest, so some may be on their way.
            let rows = self.sql.query("select id, coalesce(runtime_id, 0) from messaging.client_box").await?;
            let astray: Vec<String> = rows.iter().filter_map(|it| self.astray(it)).collect();
            if astray.is_empty() {
                return Ok(());
            }
            if begun.elapsed() > TIMEOUT {
                self.report.findings.extend(astray);
                return Ok(());
            }
            tokio::time::sleep(TICK).await;
        }
    }

    /// A client whose stored runtime isn't its assigned one.
    fn astray(&self, row: &[String]) -> Option<String> {
        let [client, stored] = row else { return None };
        let card = self.workload.card(client.parse().ok()?)?;
        let assigned = card.runtime.load(Ordering::Acquire);
        (stored.parse() != Ok(assigned)).then(|| {
            format!("client {client} was assigned to runtime {assigned}, and runtime {stored} is stored")
        })
    }
}
