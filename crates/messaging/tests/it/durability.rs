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
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let waiting = fixture.client().await;
    fixture.apply(vec![welcome(client)]).await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    fixture.send(waiting, 7, &["3"]).await.unwrap();
    fixture.respond(runtime, To::All, "4").await;
    let before = (fixture.fetch(client).await, fixture.fetch_runtime(runtime).await);
    fixture.crash().await;
    let after = (fixture.fetch(client).await, fixture.fetch_runtime(runtime).await);
    assert_eq!((ids(&before.0), bodies(&before.0)), (ids(&after.0), bodies(&after.0)));
    assert_eq!((ids(&before.1), bodies(&before.1)), (ids(&after.1), bodies(&after.1)));
    // Counters too, and ids go on growing.
    fixture.send(client, 1, &["2", "5"]).await.unwrap();
    fixture.apply(vec![Op::Route { client: waiting, to: Some(runtime) }]).await;
    fixture.send(waiting, 7, &["3"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    let expected = [handled(client, "1"), handled(client, "2"), handled(client, "5"), handled(waiting, "3")];
    assert_eq!(bodies(&got), expected);
    assert!(ids(&got).is_sorted_by(|one, two| one < two));
}

#[tokio::test]
async fn consumption_is_recorded_soon_without_anybody_waiting() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    fixture.consume_runtime(runtime, &ids(&got)[..1]).await;
    let sql = fixture.sql().await;
    eventually("the row goes", async || fixture.count(&sql, "entry").await == 1).await;
    fixture.crash().await;
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, "2")]);
}

#[tokio::test]
async fn a_flush_writes_everything() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    fixture.consume_runtime(runtime, &ids(&got)).await;
    fixture.mailboxes.flush().await.unwrap();
    assert_eq!(fixture.count(&fixture.sql().await, "entry").await, 0);
    fixture.mailboxes.flush().await.unwrap();
}

#[tokio::test]
async fn ephemeral_mailboxes_keep_messages_in_memory_and_the_rest_in_the_database() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) =
        (fixture.client_with(Delivery::Ephemeral).await, fixture.runtime_with(Delivery::Ephemeral).await);
    let sql = fixture.sql().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    fixture.apply(vec![welcome(client), Op::Route { client, to: Some(runtime) }]).await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    let (commit, missed) = fixture.mailboxes.runtime_send(runtime, None, To::All, &raw("3")).unwrap();
    assert!(commit.is_safe() && missed.is_empty());
    let (commit, fresh) = fixture.mailboxes.runtime_accept(runtime, SenderSeq(1)).unwrap();
    assert!(commit.is_safe() && fresh);
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, "1"), handled(client, "2")]);
    assert_eq!(fixture.fetch(client).await.len(), 2);
    fixture.mailboxes.flush().await.unwrap();
    assert_eq!(fixture.count(&sql, "entry").await, 1, "the welcome only");
    fixture.crash().await;
    assert_eq!(bodies(&fixture.fetch(client).await), ["{\"hello\":1}"]);
    assert!(fixture.fetch_runtime(runtime).await.is_empty());
    assert_eq!(fixture.mailboxes.clients_of(runtime), [client]);
}

#[tokio::test]
async fn an_exchange_that_sends_nothing_needs_no_database() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.apply(vec![welcome(client)]).await;
    let sql = fixture.sql().await;
    cut_off(&fixture, &sql).await;
    let got = fixture.fetch(client).await;
    assert_eq!(got.len(), 1);
    assert!(fixture.consume(client, &ids(&got)).await.is_empty());
    for _ in 0..100 {
        assert!(fixture.fetch(client).await.is_empty());
        assert!(fixture.fetch_runtime(runtime).await.is_empty());
    }
    set_open(&fixture, true).await;
    fixture.mailboxes.flush().await.unwrap();
    assert_eq!(fixture.count(&sql, "entry").await, 0);
}

#[tokio::test]
async fn while_the_database_is_away_senders_get_a_problem_and_repeat_later() {
    let bounds = Bounds { commit_timeout: Duration::from_millis(80), ..Bounds::default() };
    let mut fixture = Fixture::with(bounds).await;
    let (client, runtime) = fixture.pair().await;
    let sql = fixture.sql().await;
    cut_off(&fixture, &sql).await;
    for _ in 0..2 {
        assert!(fixture.send(client, 0, &["1"]).await.unwrap_err().is(UNAVAILABLE));
    }
    assert!(fixture.mailboxes.flush().await.unwrap_err().is(UNAVAILABLE));
    set_open(&fixture, true).await;
    eventually("it is acknowledged", async || fixture.send(client, 0, &["1"]).await.is_ok()).await;
    for crashed in [false, true] {
        if crashed {
            fixture.crash().await;
        }
        assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, "1")]);
    }
}

#[tokio::test]
async fn what_all_have_consumed_is_acknowledged_though_the_database_is_away() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let other = fixture.client().await;
    fixture.apply(vec![Op::Route { client: other, to: Some(runtime) }]).await;
    let sql = fixture.sql().await;
    cut_off(&fixture, &sql).await;
    let (mailboxes, user) = (Arc::clone(&fixture.mailboxes), fixture.user);
    let sent = tokio::spawn(async move { send(&mailboxes, user, client, 0, &["1", "2"]).await });
    eventually("it is taken", async || fixture.fetch_runtime(runtime).await.len() == 2).await;
    let (answer, missed) = fixture.mailboxes.runtime_send(runtime, None, To::All, &raw("3")).unwrap();
    assert!(missed.is_empty());
    let got = ids(&fixture.fetch_runtime(runtime).await);
    fixture.mailboxes.runtime_ack(runtime, &got[..1]).unwrap();
    let mine = ids(&fixture.fetch(client).await);
    fixture.consume(client, &mine).await;
    // One message of the client's and one client are left.
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!sent.is_finished() && !answer.is_safe());
    fixture.mailboxes.runtime_ack(runtime, &got).unwrap();
    assert!(sent.await.unwrap().unwrap().is_empty());
    let others = ids(&fixture.fetch(other).await);
    fixture.consume(other, &others).await;
    assert!(answer.is_safe());
    // Nothing of it needs to be written but the client's counter.
    set_open(&fixture, true).await;
    fixture.mailboxes.flush().await.unwrap();
    assert_eq!(fixture.count(&sql, "entry").await, 0);
    assert!(fixture.send(client, 0, &["1", "2"]).await.unwrap().is_empty());
    assert!(fixture.fetch_runtime(runtime).await.is_empty());
}

#[tokio::test]
async fn a_consumed_message_is_not_acknowledged_before_what_its_sender_received_is_durable() {
    let fixture = Fixture::new().await;
    let (client, runtime) = (fixture.client().await, fixture.runtime().await);
    let sql = fixture.sql().await;
    cut_off(&fixture, &sql).await;
    // The client and the runtime receive their route, which a crash would undo.
    let ops = vec![init(runtime), Op::Route { client, to: Some(runtime) }, welcome(client)];
    let routed = fixture.mailboxes.apply(ops).unwrap();
    let text = raw("1");
    let outgoing = [ClientMessage { seq: None, data: &text }];
    let sent = fixture.mailboxes.client_send(fixture.user, client, &outgoing, &[]).unwrap().unwrap();
    let (answered, _) = fixture.mailboxes.runtime_send(runtime, None, To::All, &raw("2")).unwrap();
    fixture.mailboxes.runtime_ack(runtime, &ids(&fixture.fetch_runtime(runtime).await)).unwrap();
    let got = ids(&fixture.fetch(client).await);
    assert!(fixture.consume(client, &got).await.is_empty());
    assert!(!routed.is_safe() && !sent.is_safe() && !answered.is_safe());
    set_open(&fixture, true).await;
    for commit in [routed, sent, answered] {
        commit.wait().await.unwrap();
    }
}

#[tokio::test]
async fn a_duplicate_is_not_acknowledged_before_the_original_is_durable() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut sql = fixture.sql().await;
    let lock = sql.transaction().await.unwrap();
    lock.batch_execute("lock table messaging.entry in access exclusive mode").await.unwrap();
    let start_send = |texts: &'static [&'static str]| {
        let (mailboxes, user) = (Arc::clone(&fixture.mailboxes), fixture.user);
        tokio::spawn(async move { send(&mailboxes, user, client, 0, texts).await })
    };
    let original = start_send(&["1"]);
    eventually("it is taken", async || !fixture.fetch_runtime(runtime).await.is_empty()).await;
    let duplicate = start_send(&["1"]);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!original.is_finished() && !duplicate.is_finished());
    lock.commit().await.unwrap();
    original.await.unwrap().unwrap();
    duplicate.await.unwrap().unwrap();
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 1);
}

#[tokio::test]
async fn a_process_that_lost_its_slots_is_silent() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    let _other = Ownership::take(&fixture.foundation.db, "other").await.unwrap();
    let commit = fixture.mailboxes.apply(vec![welcome(client)]).unwrap();
    assert!(fixture.send(client, 1, &["2"]).await.unwrap_err().is(NOT_OWNER));
    assert!(commit.wait().await.unwrap_err().is(NOT_OWNER));
    assert!(fixture.foundation.ownership.lost().is_cancelled());
    eventually("it knows", async || fixture.mailboxes.apply(Vec::new()).is_err()).await;
    let refusals: Vec<Option<Problem>> = vec![
        fixture.mailboxes.client_receive(fixture.user, client, None, &[], NOW).await.err(),
        fixture.mailboxes.runtime_receive(runtime, NOW).await.err(),
        fixture.mailboxes.runtime_send(runtime, None, To::All, &raw("1")).err(),
        fixture.mailboxes.runtime_accept(runtime, SenderSeq(1)).err(),
        fixture.mailboxes.apply(vec![welcome(client)]).err(),
        fixture.mailboxes.flush().await.err(),
    ];
    assert!(refusals.iter().all(|it| it.as_ref().is_some_and(|it| it.is(NOT_OWNER))), "{refusals:?}");
    assert_eq!(fixture.count(&fixture.sql().await, "entry").await, 1, "nothing was written");
}

#[tokio::test]
async fn a_process_that_another_crate_found_to_be_stale_is_silent_too() {
    let fixture = Fixture::new().await;
    let (client, _runtime) = fixture.pair().await;
    fixture.foundation.ownership.lost().cancel();
    eventually("it knows", async || {
        let answer = fixture.mailboxes.client_receive(fixture.user, client, None, &[], NOW).await;
        answer.is_err_and(|it| it.is(NOT_OWNER))
    })
    .await;
    assert!(fixture.send(client, 0, &["1"]).await.unwrap_err().is(NOT_OWNER));
}

#[tokio::test]
async fn entries_without_a_mailbox_and_entries_of_a_newer_version_do_no_harm() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    let sql = fixture.sql().await;
    let insert =
        "insert into messaging.entry (mailbox_id, id, kind, qualifier, body) values ($1, $2, 0, $3, '{}')";
    sql.execute(insert, &[&77_i64, &1_i64, &1_i16]).await.unwrap();
    sql.execute(insert, &[&runtime.get(), &2_i64, &999_i16]).await.unwrap();
    fixture.crash().await;
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, "1")]);
    fixture.mailboxes.flush().await.unwrap();
    let left: i64 = sql
        .query_one("select count(*) from messaging.entry where qualifier = 999", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(
        (fixture.count(&sql, "entry").await, left),
        (2, 1),
        "the newer version may come back for its entry"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_killed_connection_loses_nothing_doubles_nothing_and_keeps_the_order() {
    let mut fixture = Fixture::with(large()).await;
    let load = Load::start(&fixture, 16, 4).await;
    let sql = fixture.sql().await;
    for _ in 0..8 {
        let sent = load.sent();
        eventually("messages are acknowledged", async || load.sent() > sent + 100).await;
        assert!(kill(&sql).await >= 1);
    }
    let acknowledged = load.stop().await;
    acknowledged.check(&fixture, true).await;
    fixture.crash().await;
    acknowledged.check(&fixture, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_in_the_middle_loses_nothing_that_was_acknowledged() {
    let mut fixture = Fixture::with(large()).await;
    for _ in 0..3 {
        let load = Load::start(&fixture, 16, 4).await;
        eventually("messages are acknowledged", async || load.sent() > 500).await;
        let acknowledged = load.abort().await;
        fixture.crash().await;
        acknowledged.check(&fixture, false).await;
    }
}

/// Refuses new connections to the database, and ends that of the writer.
async fn cut_off(fixture: &Fixture, sql: &Client) {
    set_open(fixture, false).await;
    kill(sql).await;
}

/// Allows or refuses new connections. Only a session of another database can change that.
async fn set_open(fixture: &Fixture, open: bool) {
    let (server, database) = fixture.foundation.test_db.url().rsplit_once('/').unwrap();
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

/// Players that send numbered messages: each sends the next one after the acknowledgement of the
/// last.
struct Load {
    players: JoinSet<()>,
    stop: Arc<AtomicBool>,
    pairs: Vec<(ClientId, RuntimeId, Arc<AtomicU64>)>,
}

/// The messages that each player has an acknowledgement of.
struct Acknowledged(Vec<(ClientId, RuntimeId, u64)>);

impl Load {
    async fn start(fixture: &Fixture, players: usize, per_runtime: usize) -> Self {
        let mut load = Self { players: JoinSet::new(), stop: Arc::default(), pairs: Vec::new() };
        let mut runtime = fixture.runtime().await;
        for player in 0..players {
            if player % per_runtime == 0 {
                runtime = fixture.runtime().await;
            }
            let client = fixture.client().await;
            fixture.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
            let sent = Arc::<AtomicU64>::default();
            load.pairs.push((client, runtime, Arc::clone(&sent)));
            let (mailboxes, user, stop) =
                (Arc::clone(&fixture.mailboxes), fixture.user, Arc::clone(&load.stop));
            load.players.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let number = sent.load(Ordering::Relaxed);
                    match send(&mailboxes, user, client, number, &[&number.to_string()]).await {
                        Ok(_) => sent.store(number + 1, Ordering::Relaxed),
                        Err(problem) => assert!(problem.is(UNAVAILABLE), "{problem:?}"),
                    }
                }
            });
        }
        load
    }

    fn sent(&self) -> u64 {
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
    /// Each message is there once and in order. `exactly`: the acknowledged ones; otherwise there
    /// may be one more that was on its way.
    async fn check(&self, fixture: &Fixture, exactly: bool) {
        for (client, runtime, sent) in &self.0 {
            let mine = format!("{{\"client_id\":\"{client}\",");
            let got: Vec<String> =
                drain(fixture, *runtime).await.into_iter().filter(|it| it.starts_with(&mine)).collect();
            let expected: Vec<String> =
                (0..*sent).map(|number| handled(*client, &number.to_string())).collect();
            let got_count = u64::try_from(got.len()).unwrap();
            assert!(got_count == *sent || (!exactly && got_count == *sent + 1), "{got_count} of {sent}");
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

/// All entries that wait, without consuming them.
async fn drain(fixture: &Fixture, runtime: RuntimeId) -> Vec<String> {
    fixture.fetch_runtime(runtime).await.iter().map(|it| it.body.to_string()).collect()
}

#[tokio::test]
async fn closing_is_durable_and_so_is_removing() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.apply(vec![Op::Close(Mailbox::Client(client)), Op::Close(Mailbox::Runtime(runtime))]).await;
    fixture.crash().await;
    assert!(fixture.mailboxes.client(client).unwrap().closed);
    assert!(fixture.mailboxes.runtime(runtime).is_none());
    fixture.apply(vec![Op::Remove(Mailbox::Client(client)), Op::Remove(Mailbox::Runtime(runtime))]).await;
    fixture.crash().await;
    assert!(fixture.mailboxes.client(client).is_none());
}
