//! A player that polls, with requests of its own.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use omgservers_api::{
    Role,
    entrypoint::{Endpoint as _, player},
    interchange::{PlayerInterchangeRequest, PlayerInterchangeResponse},
};

use super::{
    Mode, Workload,
    call::Answer,
    card::Card,
    inbox::Inbox,
    lock,
    outbox::{Outbox, Words},
};
use crate::rng::Rng;

struct Polling {
    workload: Arc<Workload>,
    card: Arc<Card>,
    rng: Rng,
    inbox: Inbox,
    outbox: Outbox,
    /// What wasn't answered, and how often it was sent.
    words: Words,
    attempts: u32,
}

/// Plays until it is over.
pub(crate) async fn play(workload: Arc<Workload>, card: Arc<Card>, rng: Rng) {
    let words = Outbox::default().send(&workload, &card, 0);
    let mut player = Polling {
        workload,
        card,
        rng,
        inbox: Inbox::default(),
        outbox: Outbox::default(),
        words,
        attempts: 0,
    };
    while player.workload.mode() != Mode::Over && !player.card.over.load(Ordering::Acquire) {
        let mode = player.workload.mode();
        let filled = player.card.filled.load(Ordering::Acquire);
        if matches!(mode, Mode::Still | Mode::FillPlayers) || (mode == Mode::FillGames && filled) {
            player.workload.other_than(mode).await;
            continue;
        }
        let pause = player.exchange(mode).await;
        tokio::time::sleep(pause).await;
    }
}

impl Polling {
    /// One exchange; answers how long to pause after it.
    async fn exchange(&mut self, mode: Mode) -> std::time::Duration {
        if self.words.is_empty() {
            let count = Outbox::appetite(&self.workload, &self.card, &mut self.rng);
            self.words = self.outbox.send(&self.workload, &self.card, count);
            self.attempts = 0;
        }
        self.attempts = self.attempts.saturating_add(1);
        let filling = mode == Mode::FillGames;
        let consumed = if filling { Vec::new() } else { self.inbox.consumed().to_vec() };
        let count = consumed.len();
        let long = !filling && self.rng.percent(20);
        let request = PlayerInterchangeRequest {
            client_id: self.card.client_id,
            outgoing_messages: self.words.outgoing(),
            consumed_messages: consumed,
            wait: long.then_some(150),
        };
        let token = self.card.token();
        let begun = Instant::now();
        let call = self.workload.client.send(&player::Interchange::DESCRIPTOR, Some(&token), &request);
        let answer: Answer<PlayerInterchangeResponse> = self.workload.call(&mut self.rng, call).await;
        let pace = u64::try_from(self.workload.pace.as_millis()).unwrap_or(100);
        if let Answer::Good(answer) = answer {
            Outbox::taken(&self.workload, &self.card, &self.words);
            self.words = self.outbox.send(&self.workload, &self.card, 0);
            self.inbox.acknowledged(count);
            self.inbox.receive(&self.workload, &self.card, &answer.incoming_messages);
            self.card.serve(begun);
            if filling {
                self.card.filled.store(true, Ordering::Release);
            }
            return self.rng.millis(pace / 3, pace.saturating_mul(5) / 3);
        }
        self.failed(answer).await;
        self.rng.millis(50, 250)
    }

    async fn failed<T>(&mut self, answer: Answer<T>) {
        match answer {
            Answer::Good(_) | Answer::Later => {}
            // Some games go on without repeating what wasn't answered.
            Answer::Unknown => {
                if self.rng.percent(3) && self.workload.mode() == Mode::Play {
                    Outbox::given_up(&self.card, &self.words);
                    self.words = self.outbox.send(&self.workload, &self.card, 0);
                }
            }
            Answer::Token => renew(&self.workload, &self.card).await,
            Answer::Gone(problem) => self.workload.log.add(self.card.ended(problem.to_string())),
            Answer::Refused(problem) => {
                self.workload.odd(format!("client {} was refused: {problem}", self.card.client));
                Outbox::refused(&self.workload, &self.card, &self.words, self.attempts == 1);
                self.words = self.outbox.send(&self.workload, &self.card, 0);
            }
        }
    }
}

/// Fetches another token; the old one stays when that fails.
pub(crate) async fn renew(workload: &Workload, card: &Card) {
    if let Ok(token) = workload.client.create_token(Role::Player, &card.user_id, &card.password).await {
        *lock(&card.token) = token;
    }
}
