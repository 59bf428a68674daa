//! Crashes, lost connections, and other processes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use omgservers_api::{
    ClientId, Problem, RuntimeId,
    ids::{Id as _, SenderSeq},
    problem::UNAVAILABLE,
    roles::Delivery,
};
use omgservers_core::{Ownership, ownership::NOT_OWNER};
use omgservers_messaging::{Bounds, ClientMessage, Mailbox, Messaging as _, Op, To};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

use crate::fixture::{Fixture, NOW, bodies, eventually, handled, ids, init, raw, send, welcome};

#[tokio::test]
async fn what_was_acknowledged_survives_a_crash() {
    let mut it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    let waiting = it.client().await;
    it.apply(vec![welcome(client)]).await;
    it.send(client, 0, &["1", "2"]).await.unwrap();
    it.send(waiting, 7, &["3"]).await.unwrap();
    it.respond(runtime, To::All, "4").await;
    let before = (it.fetch(client).await, it.fetch_runtime(runtime).await);
    it.crash().await;
    let after = (it.fetch(client).await, it.fetch_runtime(runtime).await);
    assert_eq!((ids(&before.0), bodies(&before.0)), (ids(&after.0), bodies(&after.0)));
    assert_eq!((ids(&before.1), bodies(&before.1)), (ids(&after.1), bodies(&after.1)));
    // Counters too, and ids go on growing.
    it.send(client, 1, &["2", "5"]).await.unwrap();
    it.apply(vec![Op::Route { client: waiting, to: Some(runtime) }]).await;
    it.send(waiting, 7, &["3"]).await.unwrap();
    let got = it.fetch_runtime(runtime).await;
    let expected = [handled(client, "1"), handled(client, "2"), handled(client, "5"), handled(waiting, "3")];
    assert_eq!(bodies(&got), expected);
    assert!(ids(&got).is_sorted_by(|one, two| one < two));
}

#[tokio::test]
async fn consumption_is_recorded_soon_without_anybody_waiting() {
    let mut it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.send(client, 0, &["1", "2"]).await.unwrap();
    let got = it.fetch_runtime(runtime).await;
    it.consume_runtime(runtime, &ids(&got)[..1]).await;
    let sql = it.sql().await;
    eventually("the row goes", async || it.count(&sql, "entry").await == 1).await;
    it.crash().await;
    assert_eq!(bodies(&it.fetch_runtime(runtime).await), [handled(client, "2")]);
}

#[tokio::test]
async fn a_flush_writes_everything() {
    let it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.send(client, 0, &["1"]).await.unwrap();
    let got = it.fetch_runtime(runtime).await;
    it.consume_runtime(runtime, &ids(&got)).await;
    it.mailboxes.flush().await.unwrap();
    assert_eq!(it.count(&it.sql().await, "entry").await, 0);
    it.mailboxes.flush().await.unwrap();
}

#[tokio::test]
async fn ephemeral_mailboxes_keep_messages_in_memory_and_the_rest_in_the_database() {
    let mut it = Fixture::new().await;
    let (client, runtime) =
        (it.client_with(Delivery::Ephemeral).await, it.runtime_with(Delivery::Ephemeral).await);
    let sql = it.sql().await;
    it.send(client, 0, &["1"]).await.unwrap();
    it.apply(vec![welcome(client), Op::Route { client, to: Some(runtime) }]).await;
    it.send(client, 0, &["1", "2"]).await.unwrap();
    let (commit, missed) = it.mailboxes.runtime_send(runtime, None, To::All, &raw("3")).unwrap();
    assert!(commit.is_safe() && missed.is_empty());
    let (commit, fresh) = it.mailboxes.runtime_accept(runtime, SenderSeq(1)).unwrap();
    assert!(commit.is_safe() && fresh);
    assert_eq!(bodies(&it.fetch_runtime(runtime).await), [handled(client, "1"), handled(client, "2")]);
    assert_eq!(it.fetch(client).await.len(), 2);
    it.mailboxes.flush().await.unwrap();
    assert_eq!(it.count(&sql, "entry").await, 1, "the welcome only");
    it.crash().await;
    assert_eq!(bodies(&it.fetch(client).await), ["{\"hello\":1}"]);
    assert!(it.fetch_runtime(runtime).await.is_empty());
    assert_eq!(it.mailboxes.clients_of(runtime), [client]);
}

#[tokio::test]
async fn an_exchange_that_says_nothing_needs_no_database() {
    let it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.apply(vec![welcome(client)]).await;
    let sql = it.sql().await;
    cut_off(&it, &sql).await;
    let got = it.fetch(client).await;
    assert_eq!(got.len(), 1);
    assert!(it.consume(client, &ids(&got)).await.is_empty());
    for _ in 0..100 {
        assert!(it.fetch(client).await.is_empty());
        assert!(it.fetch_runtime(runtime).await.is_empty());
    }
    set_open(&it, true).await;
    it.mailboxes.flush().await.unwrap();
    assert_eq!(it.count(&sql, "entry").await, 0);
}

#[tokio::test]
async fn while_the_database_is_away_senders_are_told_so_and_repeat_later() {
    let bounds = Bounds { commit_timeout: Duration::from_millis(80), ..Bounds::default() };
    let mut it = Fixture::with(bounds).await;
    let (client, runtime) = it.pair().await;
    let sql = it.sql().await;
    cut_off(&it, &sql).await;
    for _ in 0..2 {
        assert!(it.send(client, 0, &["1"]).await.unwrap_err().is(UNAVAILABLE));
    }
    assert!(it.mailboxes.flush().await.unwrap_err().is(UNAVAILABLE));
    set_open(&it, true).await;
    eventually("it is acknowledged", async || it.send(client, 0, &["1"]).await.is_ok()).await;
    for crashed in [false, true] {
        if crashed {
            it.crash().await;
        }
        assert_eq!(bodies(&it.fetch_runtime(runtime).await), [handled(client, "1")]);
    }
}

#[tokio::test]
async fn what_all_have_consumed_is_acknowledged_though_the_database_is_away() {
    let it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    let other = it.client().await;
    it.apply(vec![Op::Route { client: other, to: Some(runtime) }]).await;
    let sql = it.sql().await;
    cut_off(&it, &sql).await;
    let (mailboxes, user) = (Arc::clone(&it.mailboxes), it.user);
    let said = tokio::spawn(async move { send(&mailboxes, user, client, 0, &["1", "2"]).await });
    eventually("it is taken", async || it.fetch_runtime(runtime).await.len() == 2).await;
    let (answer, missed) = it.mailboxes.runtime_send(runtime, None, To::All, &raw("3")).unwrap();
    assert!(missed.is_empty());
    let got = ids(&it.fetch_runtime(runtime).await);
    it.mailboxes.runtime_ack(runtime, &got[..1]).unwrap();
    let mine = ids(&it.fetch(client).await);
    it.consume(client, &mine).await;
    // One message of the client's and one client are left.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!said.is_finished() && !answer.is_safe());
    it.mailboxes.runtime_ack(runtime, &got).unwrap();
    assert!(said.await.unwrap().unwrap().is_empty());
    let others = ids(&it.fetch(other).await);
    it.consume(other, &others).await;
    assert!(answer.is_safe());
    // Nothing of it needs to be written but the client's counter.
    set_open(&it, true).await;
    it.mailboxes.flush().await.unwrap();
    assert_eq!(it.count(&sql, "entry").await, 0);
    assert!(it.send(client, 0, &["1", "2"]).await.unwrap().is_empty());
    assert!(it.fetch_runtime(runtime).await.is_empty());
}

#[tokio::test]
async fn what_is_consumed_is_not_acknowledged_before_that_is_durable_which_its_sender_was_told() {
    let it = Fixture::new().await;
    let (client, runtime) = (it.client().await, it.runtime().await);
    let sql = it.sql().await;
    cut_off(&it, &sql).await;
    // Both hear of each other, and nobody would know after a crash.
    let ops = vec![init(runtime), Op::Route { client, to: Some(runtime) }, welcome(client)];
    let routed = it.mailboxes.apply(ops).unwrap();
    let text = raw("1");
    let outgoing = [ClientMessage { seq: None, data: &text }];
    let asked = it.mailboxes.client_send(it.user, client, &outgoing, &[]).unwrap().unwrap();
    let (answered, _) = it.mailboxes.runtime_send(runtime, None, To::All, &raw("2")).unwrap();
    it.mailboxes.runtime_ack(runtime, &ids(&it.fetch_runtime(runtime).await)).unwrap();
    let got = ids(&it.fetch(client).await);
    assert!(it.consume(client, &got).await.is_empty());
    assert!(!routed.is_safe() && !asked.is_safe() && !answered.is_safe());
    set_open(&it, true).await;
    for commit in [routed, asked, answered] {
        commit.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_duplicate_is_not_acknowledged_before_the_original_is_durable() {
    let it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    let mut sql = it.sql().await;
    let lock = sql.transaction().await.unwrap();
    lock.batch_execute("lock table messaging.entry in access exclusive mode").await.unwrap();
    let say = |texts: &'static [&'static str]| {
        let (mailboxes, user) = (Arc::clone(&it.mailboxes), it.user);
        tokio::spawn(async move { send(&mailboxes, user, client, 0, texts).await })
    };
    let original = say(&["1"]);
    eventually("it is taken", async || !it.fetch_runtime(runtime).await.is_empty()).await;
    let duplicate = say(&["1"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!original.is_finished() && !duplicate.is_finished());
    lock.commit().await.unwrap();
    original.await.unwrap().unwrap();
    duplicate.await.unwrap().unwrap();
    assert_eq!(it.fetch_runtime(runtime).await.len(), 1);
}

#[tokio::test]
async fn a_process_that_lost_its_slots_is_silent() {
    let it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.send(client, 0, &["1"]).await.unwrap();
    let _other = Ownership::take(&it.foundation.db, "other").await.unwrap();
    let commit = it.mailboxes.apply(vec![welcome(client)]).unwrap();
    assert!(it.send(client, 1, &["2"]).await.unwrap_err().is(NOT_OWNER));
    assert!(commit.wait().await.unwrap_err().is(NOT_OWNER));
    assert!(it.foundation.ownership.lost().is_cancelled());
    eventually("it knows", async || it.mailboxes.apply(Vec::new()).is_err()).await;
    let refusals: Vec<Option<Problem>> = vec![
        it.mailboxes.client_receive(it.user, client, None, &[], NOW).await.err(),
        it.mailboxes.runtime_receive(runtime, NOW).await.err(),
        it.mailboxes.runtime_send(runtime, None, To::All, &raw("1")).err(),
        it.mailboxes.runtime_accept(runtime, SenderSeq(1)).err(),
        it.mailboxes.apply(vec![welcome(client)]).err(),
        it.mailboxes.flush().await.err(),
    ];
    assert!(refusals.iter().all(|it| it.as_ref().is_some_and(|it| it.is(NOT_OWNER))), "{refusals:?}");
    assert_eq!(it.count(&it.sql().await, "entry").await, 1, "nothing was written");
}

#[tokio::test]
async fn a_process_that_another_crate_found_to_be_stale_is_silent_too() {
    let it = Fixture::new().await;
    let (client, _runtime) = it.pair().await;
    it.foundation.ownership.lost().cancel();
    eventually("it knows", async || {
        let answer = it.mailboxes.client_receive(it.user, client, None, &[], NOW).await;
        answer.is_err_and(|it| it.is(NOT_OWNER))
    })
    .await;
    assert!(it.send(client, 0, &["1"]).await.unwrap_err().is(NOT_OWNER));
}

#[tokio::test]
async fn entries_without_a_mailbox_and_entries_of_a_newer_version_do_no_harm() {
    let mut it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.send(client, 0, &["1"]).await.unwrap();
    let sql = it.sql().await;
    let insert =
        "insert into messaging.entry (mailbox_id, id, kind, qualifier, body) values ($1, $2, 0, $3, '{}')";
    sql.execute(insert, &[&77_i64, &1_i64, &1_i16]).await.unwrap();
    sql.execute(insert, &[&runtime.get(), &2_i64, &999_i16]).await.unwrap();
    it.crash().await;
    assert_eq!(bodies(&it.fetch_runtime(runtime).await), [handled(client, "1")]);
    it.mailboxes.flush().await.unwrap();
    let left: i64 = sql
        .query_one("select count(*) from messaging.entry where qualifier = 999", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        (it.count(&sql, "entry").await, left),
        (2, 1),
        "the newer version may come back for its entry"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_connection_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let mut it = Fixture::with(large()).await;
    let load = Load::start(&it, 16, 4).await;
    let sql = it.sql().await;
    for _ in 0..8 {
        let said = load.said();
        eventually("messages are acknowledged", async || load.said() > said + 100).await;
        assert!(kill(&sql).await >= 1);
    }
    let acknowledged = load.stop().await;
    acknowledged.check(&it, true).await;
    it.crash().await;
    acknowledged.check(&it, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_in_the_middle_loses_nothing_that_was_acknowledged() {
    let mut it = Fixture::with(large()).await;
    for _ in 0..3 {
        let load = Load::start(&it, 16, 4).await;
        eventually("messages are acknowledged", async || load.said() > 500).await;
        let acknowledged = load.abort().await;
        it.crash().await;
        acknowledged.check(&it, false).await;
    }
}

/// Nobody gets into the database any more, and the writer is put out.
async fn cut_off(it: &Fixture, sql: &Client) {
    set_open(it, false).await;
    kill(sql).await;
}

/// Whether anybody gets in. It has to be said from another database.
async fn set_open(it: &Fixture, open: bool) {
    let (server, database) = it.foundation.test_db.url().rsplit_once('/').unwrap();
    let (admin, connection) = tokio_postgres::connect(&format!("{server}/postgres"), NoTls).await.unwrap();
    tokio::spawn(connection);
    admin.batch_execute(&format!("alter database {database} allow_connections {open}")).await.unwrap();
}

/// Ends the writer's backend.
async fn kill(sql: &Client) -> usize {
    let ended = sql
        .query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where application_name = 'omgservers messaging' and datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    ended.len()
}

/// Players who say numbered messages, each the next one when the last is acknowledged.
struct Load {
    players: JoinSet<()>,
    stop: Arc<AtomicBool>,
    pairs: Vec<(ClientId, RuntimeId, Arc<AtomicU64>)>,
}

/// What each player knows to be taken.
struct Acknowledged(Vec<(ClientId, RuntimeId, u64)>);

impl Load {
    async fn start(it: &Fixture, players: usize, per_runtime: usize) -> Self {
        let mut load = Self { players: JoinSet::new(), stop: Arc::default(), pairs: Vec::new() };
        let mut runtime = it.runtime().await;
        for player in 0..players {
            if player % per_runtime == 0 {
                runtime = it.runtime().await;
            }
            let client = it.client().await;
            it.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
            let said = Arc::<AtomicU64>::default();
            load.pairs.push((client, runtime, Arc::clone(&said)));
            let (mailboxes, user, stop) = (Arc::clone(&it.mailboxes), it.user, Arc::clone(&load.stop));
            load.players.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = said.load(Ordering::Relaxed);
                    match send(&mailboxes, user, client, number, &[&number.to_string()]).await {
                        Ok(_) => said.store(number + 1, Ordering::Relaxed),
                        Err(problem) => assert!(problem.is(UNAVAILABLE), "{problem:?}"),
                    }
                }
            });
        }
        load
    }

    fn said(&self) -> u64 {
        self.pairs.iter().map(|it| it.2.load(Ordering::Relaxed)).sum()
    }

    async fn stop(mut self) -> Acknowledged {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(player) = self.players.join_next().await {
            player.unwrap();
        }
        self.acknowledged()
    }

    async fn abort(mut self) -> Acknowledged {
        self.players.shutdown().await;
        self.acknowledged()
    }

    fn acknowledged(&self) -> Acknowledged {
        Acknowledged(self.pairs.iter().map(|it| (it.0, it.1, it.2.load(Ordering::Relaxed))).collect())
    }
}

impl Acknowledged {
    /// Each message once and in order; `exactly` what is acknowledged, or one more that was on its way.
    async fn check(&self, it: &Fixture, exactly: bool) {
        for (client, runtime, said) in &self.0 {
            let mine = format!("{{\"client_id\":\"{client}\",");
            let got: Vec<String> =
                drain(it, *runtime).await.into_iter().filter(|it| it.starts_with(&mine)).collect();
            let expected: Vec<String> =
                (0..*said).map(|number| handled(*client, &number.to_string())).collect();
            let got_count = u64::try_from(got.len()).unwrap();
            assert!(got_count == *said || (!exactly && got_count == *said + 1), "{got_count} of {said}");
            assert_eq!(got[..expected.len()], expected);
        }
    }
}

/// Bounds that the load of a test doesn't reach.
fn large() -> Bounds {
    let most = usize::MAX;
    Bounds {
        most_entries: most,
        most_bytes: most,
        most_entries_per_answer: most,
        most_bytes_per_answer: most,
        ..Bounds::default()
    }
}

/// Everything that waits, without consuming it.
async fn drain(it: &Fixture, runtime: RuntimeId) -> Vec<String> {
    it.fetch_runtime(runtime).await.iter().map(|it| it.body.to_string()).collect()
}

#[tokio::test]
async fn closing_is_durable_and_so_is_removing() {
    let mut it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    it.apply(vec![Op::Close(Mailbox::Client(client)), Op::Close(Mailbox::Runtime(runtime))]).await;
    it.crash().await;
    assert!(it.mailboxes.client(client).unwrap().closed);
    assert!(it.mailboxes.runtime(runtime).is_none());
    it.apply(vec![Op::Remove(Mailbox::Client(client)), Op::Remove(Mailbox::Runtime(runtime))]).await;
    it.crash().await;
    assert!(it.mailboxes.client(client).is_none());
}
