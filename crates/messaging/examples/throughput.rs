//! How many messages a second become durable, and how many empty exchanges a second are answered.
//!
//! `cargo run --release -p omgservers-messaging --example throughput -- URL [TASKS] [SECONDS]`: the
//! URL is a PostgreSQL database that may be filled. Each task is a player that sends its next
//! message when the last one is durable.
#![expect(clippy::print_stdout, clippy::expect_used, reason = "a program to look at")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use omgservers_api::{ClientId, DeploymentId, RuntimeId, UserId, ids::SenderSeq, roles::Delivery};
use omgservers_core::{Clock, Db, Mint, Ownership, SystemClock};
use omgservers_messaging::{Bounds, ClientMessage, Mailboxes, Messaging, Op, SCHEMA, To};
use serde_json::value::RawValue;
use tokio::task::JoinSet;

const PLAYERS_PER_RUNTIME: usize = 20;

struct Player {
    client: ClientId,
    user: UserId,
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().expect("the URL of a database");
    let tasks: usize = arguments.next().map_or(256, |it| it.parse().expect("a number of tasks"));
    let seconds: u64 = arguments.next().map_or(5, |it| it.parse().expect("a number of seconds"));
    let window = Duration::from_secs(seconds);

    let migrations = Db::migrate(&url, &[SCHEMA]).await.expect("migrate");
    let db = Db::connect(&url, 1).await.expect("connect");
    let ownership = Ownership::take(&db, "throughput").await.expect("slots");
    let mint = Mint::take(&db).await.expect("ids");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let start = Instant::now();
    let mailboxes =
        Mailboxes::open(&db, clock, mint.clone(), ownership, Bounds::default()).await.expect("mailboxes");
    println!("{} migrations, opened in {:?}", migrations.len(), start.elapsed());

    let (players, runtimes) = populate(&mailboxes, &mint, tasks).await;
    println!("{} players with {} runtimes", players.len(), runtimes.len());
    let players = Arc::new(players);
    let stop = Arc::<AtomicBool>::default();
    let mut readers = JoinSet::new();
    for runtime in runtimes.clone() {
        let (mailboxes, stop) = (Arc::clone(&mailboxes), Arc::clone(&stop));
        readers.spawn(async move { read(&*mailboxes, runtime, &stop).await });
    }

    let mut spent = durable_messages(&mailboxes, &players, window).await;
    spent.sort_unstable();
    let at = |share: usize| spent.get(spent.len().saturating_mul(share) / 1_000).copied().unwrap_or_default();
    let rate = rate(spent.len(), window);
    println!("durable messages: {rate} per s; p50 {:?}, p99 {:?}, p99.9 {:?}", at(500), at(990), at(999));

    empty_exchanges(&mailboxes, &players, window).await;
    broadcasts(&mailboxes, &players, &runtimes, window).await;
    stop.store(true, Ordering::Relaxed);
    readers.shutdown().await;
    mailboxes.flush().await.expect("flush");
}

fn rate(count: usize, window: Duration) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).checked_div(window.as_secs()).unwrap_or_default()
}

async fn populate(mailboxes: &Mailboxes, mint: &Mint, tasks: usize) -> (Vec<Player>, Vec<RuntimeId>) {
    let deployment: DeploymentId = mint.root().expect("an id");
    let delivery = Delivery::Durable;
    let (mut players, mut runtimes, mut ops) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..tasks {
        if number % PLAYERS_PER_RUNTIME == 0 {
            let runtime = mint.root().expect("an id");
            runtimes.push(runtime);
            ops.push(Op::OpenRuntime { runtime, deployment, delivery });
        }
        let user: UserId = mint.root().expect("an id");
        let client = mint.child(user).expect("an id");
        ops.push(Op::OpenClient { client, user, deployment, delivery });
        ops.push(Op::Route { client, to: runtimes.last().copied() });
        players.push(Player { client, user });
    }
    mailboxes.apply(ops).expect("apply").wait().await.expect("commit");
    (players, runtimes)
}

/// A runtime that receives and consumes all messages of its players.
async fn read(mailboxes: &dyn Messaging, runtime: RuntimeId, stop: &AtomicBool) {
    let mut consumed = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        mailboxes.runtime_ack(runtime, &consumed).expect("acknowledge");
        let got = mailboxes.runtime_receive(runtime, Duration::from_secs(1)).await.expect("receive");
        consumed = got.iter().map(|it| it.id).collect();
        // As fast as a game: twenty times a second; faster only when it is behind.
        if consumed.len() < 500 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn durable_messages(
    mailboxes: &Arc<Mailboxes>,
    players: &Arc<Vec<Player>>,
    window: Duration,
) -> Vec<Duration> {
    let text = format!("{{\"move\":\"{}\"}}", "x".repeat(100));
    let data: Arc<RawValue> = RawValue::from_string(text).expect("JSON").into();
    let mut tasks = JoinSet::new();
    let until = Instant::now() + window;
    for number in 0..players.len() {
        let (mailboxes, players, data) = (Arc::clone(mailboxes), Arc::clone(players), Arc::clone(&data));
        tasks.spawn(async move {
            let Some(Player { client, user }) = players.get(number) else { return Vec::new() };
            let mut spent = Vec::new();
            let mut start = Instant::now();
            while start < until {
                let seq = u64::try_from(spent.len()).ok().map(SenderSeq);
                let messages = [ClientMessage { seq, data: &data }];
                let done = match mailboxes.client_send(*user, *client, &messages, &[]) {
                    Ok(Some(ack)) => ack.wait().await,
                    Ok(None) => return spent,
                    Err(problem) => Err(problem),
                };
                let end = Instant::now();
                match done {
                    Ok(()) => spent.push(end.duration_since(start)),
                    // The mailbox is full: the runtime doesn't keep up.
                    Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                }
                start = end;
            }
            spent
        });
    }
    tasks.join_all().await.concat()
}

async fn empty_exchanges(mailboxes: &Arc<Mailboxes>, players: &Arc<Vec<Player>>, window: Duration) {
    let count = Arc::<AtomicU64>::default();
    let mut tasks = JoinSet::new();
    let until = Instant::now() + window;
    for _ in 0..8 {
        let (mailboxes, players, count) = (Arc::clone(mailboxes), Arc::clone(players), Arc::clone(&count));
        tasks.spawn(async move {
            while Instant::now() < until {
                for Player { client, user } in players.iter() {
                    let got = mailboxes.client_receive(*user, *client, None, &[], Duration::ZERO).await;
                    assert!(got.expect("an answer").is_some_and(|it| it.is_empty()));
                }
                count.fetch_add(u64::try_from(players.len()).unwrap_or(0), Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
    let count = usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    println!("empty exchanges: {} per s", rate(count, window));
}

/// Each runtime sends to all its players, which consume, and goes on when the message is durable.
async fn broadcasts(
    mailboxes: &Arc<Mailboxes>,
    players: &Arc<Vec<Player>>,
    runtimes: &[RuntimeId],
    window: Duration,
) {
    let stop = Arc::<AtomicBool>::default();
    let mut readers = JoinSet::new();
    for number in 0..players.len() {
        let (mailboxes, players, stop) = (Arc::clone(mailboxes), Arc::clone(players), Arc::clone(&stop));
        readers.spawn(async move {
            let Some(Player { client, user }) = players.get(number) else { return };
            let mut consumed = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let wait = Duration::from_secs(1);
                let got = mailboxes.client_receive(*user, *client, None, &consumed, wait).await;
                consumed = got.expect("receive").iter().flatten().map(|it| it.id).collect();
            }
        });
    }
    let message: Arc<RawValue> =
        RawValue::from_string(format!("\"{}\"", "x".repeat(100))).expect("JSON").into();
    let count = Arc::<AtomicU64>::default();
    let mut senders = JoinSet::new();
    let until = Instant::now() + window;
    for runtime in runtimes.iter().copied() {
        let (mailboxes, message, count) = (Arc::clone(mailboxes), Arc::clone(&message), Arc::clone(&count));
        senders.spawn(async move {
            while Instant::now() < until {
                let receivers = mailboxes.clients_of(runtime).len();
                let (ack, missed) = mailboxes.runtime_send(runtime, None, To::All, &message).expect("send");
                ack.wait().await.expect("commit");
                let reached = receivers.saturating_sub(missed.len());
                count.fetch_add(u64::try_from(reached).unwrap_or(0), Ordering::Relaxed);
            }
        });
    }
    while senders.join_next().await.is_some() {}
    let count = usize::try_from(count.load(Ordering::Relaxed)).unwrap_or(usize::MAX);
    println!("durable messages by broadcast: {} per s", rate(count, window));
    stop.store(true, Ordering::Relaxed);
    readers.shutdown().await;
}
