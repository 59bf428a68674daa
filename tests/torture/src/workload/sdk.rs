//! A player that plays with the SDK. It sees no ids: what the SDK hands on twice is noted as two
//! messages.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use omgservers_client::{Event, Session};

use super::{
    Mode, Workload,
    bodies::{FromGame, number},
    card::Card,
};
use crate::{
    history::{Actor, Record, To},
    rng::Rng,
};

/// Plays until it is over. Nothing is given up: the SDK repeats what wasn't acknowledged.
pub(crate) async fn play(workload: Arc<Workload>, card: Arc<Card>, mut session: Session, mut rng: Rng) {
    let (mut next, mut entry) = (0, 0);
    let from = Actor::Client(card.client);
    while workload.mode() != Mode::Over && !card.over.load(Ordering::Acquire) {
        let mode = workload.mode();
        if matches!(mode, Mode::Still | Mode::FillPlayers | Mode::FillGames) {
            card.filled.store(true, Ordering::Release);
            workload.other_than(mode).await;
            continue;
        }
        // What wasn't acknowledged by the last call goes on with this one.
        let talks = mode == Mode::Play && !card.mute.load(Ordering::Acquire);
        if talks && card.unacknowledged.load(Ordering::Acquire) < 20 {
            for _ in 0..rng.between(0, 3) {
                workload.log.add(Record::Sent { from, number: next, to: To::Runtime });
                card.sent(next);
                card.unacknowledged.fetch_add(1, Ordering::AcqRel);
                if session.send(&serde_json::json!({"n": next})).is_err() {
                    workload.odd(format!("client {} can't say {next}", card.client));
                }
                next += 1;
            }
        }
        let (begun, downs) = (Instant::now(), workload.down_count());
        match session.exchange(Duration::from_millis(50)).await {
            Ok(events) => {
                let pending = card.unacknowledged.swap(0, Ordering::AcqRel);
                let taken = next.saturating_sub(pending)..next;
                workload.log.add_all(taken.map(|number| Record::Taken { from, number, surely: Vec::new() }));
                // What the SDK had received before a kill it hands on together with what came again
                // after it.
                let mut again = (workload.down_count() != downs).then(HashSet::new);
                for event in events {
                    entry += 1;
                    let record = read(&workload, &card, event, entry);
                    if let (Some(Record::Received { from, number, .. }), Some(again)) = (&record, &mut again)
                        && !again.insert((*from, *number))
                    {
                        continue;
                    }
                    workload.log.add_all(record);
                }
                card.serve(begun);
            }
            Err(problem) => gave_up(&workload, &card, &problem.to_string(), &mut rng).await,
        }
        tokio::time::sleep(rng.millis(20, 150)).await;
    }
}

/// The SDK has repeated it for a minute, or it was refused.
async fn gave_up(workload: &Workload, card: &Card, problem: &str, rng: &mut Rng) {
    workload.odd(format!("the SDK gave up for client {}: {problem}", card.client));
    tokio::time::sleep(rng.millis(200, 500)).await;
}

fn read(workload: &Workload, card: &Card, event: Event, entry: u64) -> Option<Record> {
    match event {
        Event::Message(raw) => match serde_json::from_str(raw.get()) {
            Ok(FromGame { r, n }) => Some(Record::Received {
                by: Actor::Client(card.client),
                entry,
                from: Actor::Runtime(r),
                number: n,
            }),
            Err(error) => {
                workload.odd(format!("client {} got {raw}: {error}", card.client));
                None
            }
        },
        Event::Assigned { runtime_id, qualifier, .. } => {
            Some(card.assigned(entry, number(runtime_id), qualifier))
        }
        Event::MatchmakingFailed(_) => {
            card.has_ticket.store(false, Ordering::Release);
            Some(Record::TicketFailed { client: card.client, entry })
        }
        Event::Disconnected { reason } => Some(card.ended(format!("{reason:?}"))),
        _ => None,
    }
}
