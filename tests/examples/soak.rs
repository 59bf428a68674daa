//! Hours of ordinary load, and whether memory, descriptors and tables stay as they are: `make soak
//! MINUTES=60`.
//!
//! Players come to a lobby in a real container, half of them by streams and half by polling. They
//! send numbered messages, receive their echo, leave and are followed by others. A line a minute
//! shows what the server takes. In the end the last quarter of the time is compared with the second
//! one: what grew has a leak.
#![expect(clippy::print_stdout, reason = "a program for the command line")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use clap::Parser;
use omgservers_client::{Client, Event, Player, Session, Transport};
use omgservers_tests::{Backend, Studio};
use tokio::task::JoinSet;

/// Hours of ordinary load.
#[derive(Parser, Clone)]
struct Cli {
    /// How long, in minutes.
    #[arg(long, default_value_t = 60)]
    minutes: u32,
    /// Players at a time.
    #[arg(long, default_value_t = 200)]
    players: u32,
    /// Messages a second, of all players together.
    #[arg(long, default_value_t = 400)]
    rate: u32,
    /// Messages after which a player leaves and another one comes.
    #[arg(long, default_value_t = 300)]
    stay: u32,
}

/// How much a figure may grow from the second quarter to the last one, in parts, and in its own
/// unit.
const GROWTH: (f64, f64) = (0.15, 4.0);

/// What the players have done.
#[derive(Default)]
struct Counts {
    echoed: AtomicU64,
    sessions: AtomicU64,
}

/// What a minute has shown.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// MiB.
    memory: f64,
    descriptors: f64,
    /// MiB of the table of waiting entries with its indexes and its bodies.
    entries: f64,
    /// MiB of all tables of mailboxes.
    mailboxes: f64,
    /// Rows of entries that vacuum hasn't taken yet.
    dead: f64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let backend =
        Backend::with(&[("OMGSERVERS__LIMITS__ENABLED", "false"), ("OMGSERVERS__LOG__FILTER", "warn")]).await;
    let studio = Arc::new(Studio::open(&backend).await);
    let version =
        studio.push(&backend, r#"{"modes":[],"deployment":{"lobby":{"max_assignments":100}}}"#).await;
    studio.deploy(version).await;
    let counts = Arc::new(Counts::default());
    let mut players = JoinSet::new();
    for number in 0..cli.players {
        let (client, studio) = (backend.client(), Arc::clone(&studio));
        players.spawn(play(client, studio, Arc::clone(&counts), cli.clone(), number));
    }
    let sampled = tokio::select! {
        ended = players.join_next() => Err(anyhow::anyhow!("a player gave up: {ended:?}")),
        samples = watch(&backend, &counts, cli.minutes) => samples,
    };
    players.shutdown().await;
    studio.close().await;
    judge(&sampled?)
}

/// One player after another.
async fn play(
    client: Client,
    studio: Arc<Studio>,
    counts: Arc<Counts>,
    cli: Cli,
    number: u32,
) -> anyhow::Result<()> {
    let pause = Duration::from_secs(1) * cli.players / cli.rate.max(1);
    let transport = if number.is_multiple_of(2) { Transport::Stream } else { Transport::Polling };
    // Not all at once, at the start and when they leave.
    tokio::time::sleep(pause * number / cli.players.max(1)).await;
    let mut stay = cli.stay * (number + 1) / cli.players.max(1) + 1;
    loop {
        let made = Player::sign_up(&client).await?;
        let player = Player::sign_in(&client, made.user_id, &made.password).await?;
        let session = player.create_client(studio.tenant, studio.project, studio.stage).await?;
        counts.sessions.fetch_add(1, Ordering::Relaxed);
        let mut session = session.with_transport(transport);
        talk(&mut session, stay, pause, &counts).await?;
        stay = cli.stay;
    }
}

async fn talk(session: &mut Session, stay: u32, pause: Duration, counts: &Counts) -> anyhow::Result<()> {
    // Before there is a lobby it waits for the first one.
    for message in 1..=stay {
        let next = Instant::now() + pause;
        let text = format!("{message}: {}", "all quiet in the lobby, ".repeat(4));
        let echo = serde_json::to_string(&text)?;
        session.send(&text)?;
        loop {
            let event = tokio::time::timeout(Duration::from_secs(60), session.next()).await;
            let event = event.context("no echo in a minute")??;
            let Some(event) = event else { anyhow::bail!("the session has ended") };
            if let Event::Message(body) = event
                && body.get().contains("\"echo\"")
                && body.get().contains(&echo)
            {
                break;
            }
        }
        counts.echoed.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep_until(next.into()).await;
    }
    Ok(())
}

async fn watch(backend: &Backend, counts: &Counts, minutes: u32) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    println!("minute  messages  sessions  memory MiB  descriptors  entries MiB  dead rows  mailboxes MiB");
    for minute in 1..=minutes {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let now = sample(backend).await?;
        println!(
            "{minute:6}  {:8}  {:8}  {:10.1}  {:11}  {:11.2}  {:9}  {:13.2}",
            counts.echoed.load(Ordering::Relaxed),
            counts.sessions.load(Ordering::Relaxed),
            now.memory,
            now.descriptors,
            now.entries,
            now.dead,
            now.mailboxes,
        );
        samples.push(now);
    }
    Ok(samples)
}

async fn sample(backend: &Backend) -> anyhow::Result<Sample> {
    let process = backend.process();
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u32 = line.split_whitespace().next().context("no figure")?.parse()?;
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd"))?.count();
    let sizes = "select pg_total_relation_size('messaging.entry')::float8 / 1048576, \
                 (select sum(pg_total_relation_size(relid))::float8 / 1048576 from pg_stat_user_tables \
                  where schemaname = 'messaging'), \
                 (select n_dead_tup::float8 from pg_stat_user_tables \
                  where schemaname = 'messaging' and relname = 'entry')";
    let row = backend.sql().await.query_one(sizes, &[]).await?;
    Ok(Sample {
        memory: f64::from(kilobytes) / 1024.0,
        descriptors: f64::from(u32::try_from(descriptors)?),
        entries: row.try_get(0)?,
        mailboxes: row.try_get(1)?,
        dead: row.try_get(2)?,
    })
}

/// Compares the last quarter with the second one.
fn judge(samples: &[Sample]) -> anyhow::Result<()> {
    let quarter = samples.len() / 4;
    if quarter == 0 {
        println!("too short to judge");
        return Ok(());
    }
    type Read = fn(&Sample) -> f64;
    let measurements: [(&str, Read); 4] = [
        ("memory", |it| it.memory),
        ("descriptors", |it| it.descriptors),
        ("entries", |it| it.entries),
        ("mailboxes", |it| it.mailboxes),
    ];
    let mut grown = Vec::new();
    for (name, read) in measurements {
        let mean = |samples: &[Sample]| {
            samples.iter().map(read).sum::<f64>() / f64::from(u32::try_from(samples.len()).unwrap_or(1))
        };
        let early = mean(samples.get(quarter..2 * quarter).unwrap_or_default());
        let late = mean(samples.get(samples.len() - quarter..).unwrap_or_default());
        println!("{name}: {early:.2} in the second quarter, {late:.2} in the last");
        if late > early * (1.0 + GROWTH.0) + GROWTH.1 {
            grown.push(name);
        }
    }
    ensure!(grown.is_empty(), "these have grown: {}", grown.join(", "));
    Ok(())
}
