//! Messages that don't fit.

use std::time::Duration;

use omgservers_api::{
    Kind,
    interchange::{command, message},
    roles::Delivery,
};
use omgservers_messaging::{
    Bounds, ClientMessage, MOST_BYTES_OF_OPS, Mailbox, Messaging as _, Op, To, problems,
};

use crate::fixture::{Fixture, bodies, eventually, handled, ids, push, raw, welcome};

fn small() -> Bounds {
    Bounds { most_entries: 3, pending: 2, ..Bounds::default() }
}

#[tokio::test]
async fn a_full_mailbox_refuses_the_whole_request_but_takes_the_consumption() {
    let mut fixture = Fixture::with(small()).await;
    let (client, runtime) = fixture.pair().await;
    fixture.apply(vec![welcome(client)]).await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    let waiting = ids(&fixture.fetch(client).await);
    let data = raw("3");
    let outgoing = [3, 4].map(|seq| omgservers_messaging::ClientMessage {
        seq: Some(omgservers_api::ids::SenderSeq(seq)),
        data: &data,
    });
    let problem = fixture.mailboxes.client_send(fixture.user, client, &outgoing, &waiting).unwrap_err();
    assert!(problem.is(problems::MAILBOX_FULL));
    assert_eq!((problem.kind(), problem.qualifier()), (Kind::Exhausted, "MAILBOX_FULL"));
    assert!(problem.pause().is_some() && problem.sentence().contains("3 messages"), "{problem}");
    assert!(fixture.fetch(client).await.is_empty(), "consumption counts");
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 2, "nothing was taken");
    // A repeated message needs no capacity, and one more fits.
    fixture.send(client, 1, &["2", "3"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    assert_eq!(bodies(&got), ["1", "2", "3"].map(|text| handled(client, text)));
    // The counters of refused messages can be used again.
    fixture.consume_runtime(runtime, &ids(&got)).await;
    fixture.send(client, 3, &["4"]).await.unwrap();
    fixture.crash().await;
    assert!(bodies(&fixture.fetch_runtime(runtime).await).contains(&&*handled(client, "4")));
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let fixture = Fixture::with(Bounds { most_bytes: 200, ..Bounds::default() }).await;
    let (client, runtime) = fixture.pair().await;
    let long = format!("\"{}\"", "x".repeat(300));
    assert!(fixture.send(client, 0, &[&long]).await.unwrap_err().is(problems::MAILBOX_FULL));
    fixture.send(client, 0, &["1"]).await.unwrap();
    assert_eq!(fixture.respond(runtime, To::All, &long).await, [client]);
    assert!(fixture.respond(runtime, To::All, "1").await.is_empty());
}

#[tokio::test]
async fn one_full_mailbox_disturbs_nobody_else() {
    let fixture = Fixture::with(small()).await;
    let (slow, runtime) = fixture.pair().await;
    let quick = fixture.client().await;
    fixture.apply(vec![Op::Route { client: quick, to: Some(runtime) }]).await;
    for number in 0..5 {
        let missed = fixture.respond(runtime, To::All, "1").await;
        assert_eq!(missed, if number < 3 { vec![] } else { vec![slow] });
        let got = fixture.fetch(quick).await;
        assert_eq!(got.len(), 1);
        fixture.consume(quick, &ids(&got)).await;
    }
}

#[tokio::test]
async fn messages_of_the_backend_itself_always_fit() {
    let fixture = Fixture::with(small()).await;
    let client = fixture.client().await;
    for _ in 0..6 {
        fixture.apply(vec![welcome(client)]).await;
    }
    assert_eq!(fixture.fetch(client).await.len(), 6);
}

#[tokio::test]
async fn messages_that_wait_for_a_runtime_are_bounded_and_move_whatever_the_runtimes_bounds() {
    let fixture = Fixture::with(Bounds { most_entries: 1, pending: 2, ..Bounds::default() }).await;
    let (client, runtime) = (fixture.client().await, fixture.runtime().await);
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    let problem = fixture.send(client, 2, &["3"]).await.unwrap_err();
    assert!(problem.is(problems::MAILBOX_FULL) && problem.sentence().contains("2 messages"), "{problem}");
    fixture.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 2);
    assert!(fixture.send(client, 2, &["3"]).await.unwrap_err().is(problems::MAILBOX_FULL));
}

#[tokio::test]
async fn an_answer_is_bounded_and_the_rest_comes_when_it_is_consumed() {
    let bounds = Bounds { most_entries_per_answer: 4, most_bytes_per_answer: 12, ..Bounds::default() };
    let fixture = Fixture::with(bounds).await;
    let client = fixture.client().await;
    let sizes = [1_usize, 1, 1, 1, 1, 20, 6, 6, 1];
    let ops = sizes.map(|size| push(Mailbox::Client(client), message::SERVER_WELCOME, &"1".repeat(size)));
    fixture.apply(ops.into()).await;
    let mut seen = Vec::new();
    let mut got = fixture.fetch(client).await;
    while !got.is_empty() {
        seen.push(got.iter().map(|it| it.body.len()).collect::<Vec<_>>());
        got = fixture.consume(client, &ids(&got)).await;
    }
    assert_eq!(seen, [vec![1, 1, 1, 1], vec![1], vec![20], vec![6, 6], vec![1]]);
}

#[tokio::test]
async fn when_the_database_is_far_behind_players_are_refused_and_ephemeral_ones_are_not() {
    let bounds = Bounds { most_unwritten: 0, ..Bounds::default() };
    let fixture = Fixture::with(bounds).await;
    let (client, runtime) = fixture.pair().await;
    let problem = fixture.send(client, 0, &["1"]).await.unwrap_err();
    assert!(problem.is(problems::BACKLOG) && problem.kind() == Kind::Unavailable);
    assert!(
        fixture.mailboxes.runtime_send(runtime, None, To::All, &raw("1")).unwrap_err().is(problems::BACKLOG)
    );
    let (quick, arena) =
        (fixture.client_with(Delivery::Ephemeral).await, fixture.runtime_with(Delivery::Ephemeral).await);
    fixture.apply(vec![Op::Route { client: quick, to: Some(arena) }]).await;
    fixture.send(quick, 0, &["1"]).await.unwrap();
    assert!(fixture.fetch_runtime(runtime).await.is_empty());
    assert_eq!(fixture.fetch_runtime(arena).await.len(), 1);
}

#[tokio::test]
async fn a_commit_of_many_bytes_is_written_in_pieces_and_whole() {
    let mut fixture = Fixture::new().await;
    let runtime = fixture.runtime().await;
    let large = |marker: &str| format!("\"{}\"", marker.repeat(12 << 20));
    let markers = ["a", "b", "c", "d"];
    let ops = markers.map(|it| push(Mailbox::Runtime(runtime), command::INIT_RUNTIME, &large(it)));
    fixture.apply(ops.into()).await;
    fixture.crash().await;
    for marker in markers {
        let got = fixture.fetch_runtime(runtime).await;
        assert_eq!((got.len(), got[0].body.len()), (1, (12 << 20) + 2));
        assert_eq!(&got[0].body[1..2], marker);
        fixture.consume_runtime(runtime, &ids(&got)).await;
    }
}

#[tokio::test]
async fn ops_with_more_bytes_than_a_commit_takes_change_nothing() {
    let fixture = Fixture::new().await;
    let runtime = fixture.runtime().await;
    let body = "1".repeat(MOST_BYTES_OF_OPS / 4);
    let ops = (0..5).map(|_| push(Mailbox::Runtime(runtime), command::INIT_RUNTIME, &body)).collect();
    let problem = fixture.mailboxes.apply(ops).unwrap_err();
    assert!(problem.kind() == Kind::Internal, "{problem}");
    assert!(fixture.fetch_runtime(runtime).await.is_empty());
}

#[tokio::test]
async fn messages_that_wait_for_a_runtime_are_bounded_in_bytes() {
    let fixture = Fixture::with(Bounds { most_pending_bytes: 200, ..Bounds::default() }).await;
    let client = fixture.client().await;
    let long = format!("\"{}\"", "x".repeat(100));
    fixture.send(client, 0, &[&long]).await.unwrap();
    let problem = fixture.send(client, 1, &[&long]).await.unwrap_err();
    assert!(problem.is(problems::MAILBOX_FULL) && problem.sentence().contains("200 bytes"), "{problem}");
    let runtime = fixture.runtime().await;
    fixture.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
    fixture.send(client, 1, &[&long, &long]).await.unwrap();
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 3, "a runtime's mailbox has its own bound");
}

#[tokio::test]
async fn a_full_mailbox_refuses_upgrades_and_leaves_information_out() {
    let fixture = Fixture::with(small()).await;
    let (client, _runtime) = fixture.pair().await;
    let assignment = fixture.mailboxes.client(client).unwrap().assignment;
    let upgrade =
        || Op::PushAssigned { client, assignment, qualifier: message::CONNECTION_UPGRADE, body: "{}".into() };
    let inform = || Op::Inform { client, qualifier: message::MATCHMAKING_FAILURE, body: "{}".into() };
    // Of those that come together only the fitting ones are accepted.
    fixture.apply((0..5).map(|_| inform()).collect()).await;
    assert_eq!(fixture.fetch(client).await.len(), 3);
    let problem = fixture.mailboxes.apply(vec![upgrade()]).unwrap_err();
    assert!(problem.is(problems::MAILBOX_FULL) && problem.sentence().contains("consumed"), "{problem}");
    let got = fixture.fetch(client).await;
    fixture.consume(client, &ids(&got)).await;
    fixture.apply(vec![upgrade()]).await;
    assert_eq!(fixture.fetch(client).await.len(), 1);
}

#[tokio::test]
async fn a_commit_that_hangs_is_seen_by_its_delay() {
    let fixture = Fixture::new().await;
    let (client, _runtime) = fixture.pair().await;
    assert_eq!(fixture.mailboxes.commit_delay(), Duration::ZERO);
    let sql = fixture.sql().await;
    sql.batch_execute("begin; lock table messaging.entry in access exclusive mode").await.unwrap();
    let (data, mailboxes) = (raw("1"), &fixture.mailboxes);
    let message = ClientMessage { seq: None, data: &data };
    let ack = mailboxes.client_send(fixture.user, client, &[message], &[]).unwrap().unwrap();
    eventually("the delay grows", || async { mailboxes.commit_delay() > Duration::from_millis(50) }).await;
    sql.batch_execute("commit").await.unwrap();
    ack.wait().await.unwrap();
    assert_eq!(mailboxes.commit_delay(), Duration::ZERO);
}
