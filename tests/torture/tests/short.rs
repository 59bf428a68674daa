//! A few rounds of fixed seeds: the whole torture, in the time that `make test` has for it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that can't go on must fail at once, and say what went before"
)]

use std::time::Duration;

use omgservers_torture::{
    run::{Options, Outcome, run},
    schedule::Database,
};

async fn torture(seed: u64, rounds: usize, database: Database, entries: u64) -> Outcome {
    let options = Options {
        rounds,
        seed,
        players: 24,
        entries,
        database,
        pace: Duration::from_millis(200),
        folder: std::env::temp_dir(),
    };
    run(options, |line| println!("{line}")).await.unwrap()
}

#[track_caller]
fn good(outcome: &Outcome) {
    println!("{}", outcome.summary);
    let Outcome { violations, findings, history, .. } = outcome;
    assert!(violations.is_empty() && findings.is_empty(), "{violations:#?}\n{findings:#?}\n{history:?}");
    let counts = outcome.counts;
    let answered = counts.deliveries > counts.taken;
    assert!(answered && counts.profiles > 0 && counts.tickets > 0, "too little was tried: {counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_and_lost_commits_behind_the_proxy() {
    good(&torture(12, 3, Database::Proxied, 3_000).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_of_the_servers_own_postgresql() {
    good(&torture(2, 2, Database::Embedded, 0).await);
}
