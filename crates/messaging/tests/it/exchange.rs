//! What players and runtimes send and receive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use omgservers_api::{
    ClientId, Kind, RuntimeId, UserId,
    ids::{Id as _, SenderSeq},
    interchange::{command, message},
};
use omgservers_messaging::{Bounds, ClientMessage, Mailbox, Messaging as _, Op, To, problems};

use crate::fixture::{Fixture, NOW, bodies, handled, ids, init, push, raw, welcome};

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_a_player_sends_reaches_its_runtime_in_order_and_the_answer_comes_back() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["\"a\"", "\"b\""]).await.unwrap();
    fixture.send(client, 2, &["\"c\""]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    assert_eq!(bodies(&got), ["\"a\"", "\"b\"", "\"c\""].map(|text| handled(client, text)));
    assert!(got.iter().all(|it| it.qualifier == command::HANDLE_MESSAGE));
    assert!(ids(&got).is_sorted_by(|one, two| one < two));

    assert!(fixture.respond(runtime, To::One(client), "{\"hi\":1}").await.is_empty());
    let got = fixture.fetch(client).await;
    assert_eq!(
        (got[0].qualifier, bodies(&got)),
        (message::SERVER_OUTGOING, vec!["{\"message\":{\"hi\":1}}"])
    );
}

#[tokio::test]
async fn json_passes_byte_for_byte() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let text = "{ \"z\":123456789012345678901234567890, \"a\" : 1.10, \"\\u0000\":\"\\u00e4ä🎮\\ud83c\\udfae\",\"a\":[ ] }";
    fixture.send(client, 0, &[text]).await.unwrap();
    fixture.respond(runtime, To::One(client), text).await;
    for crashed in [false, true] {
        if crashed {
            fixture.crash().await;
        }
        assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, text)]);
        assert_eq!(bodies(&fixture.fetch(client).await), [format!("{{\"message\":{text}}}")]);
    }
}

#[tokio::test]
async fn what_is_not_consumed_is_answered_again_and_what_is_consumed_is_not() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    for body in ["1", "2", "3", "4"] {
        fixture.apply(vec![push(Mailbox::Client(client), message::SERVER_WELCOME, body)]).await;
    }
    let first = fixture.fetch(client).await;
    assert_eq!(ids(&fixture.fetch(client).await), ids(&first));
    assert_eq!(bodies(&fixture.consume(client, &[first[2].id, first[0].id]).await), ["2", "4"]);
    let strange = "1234567".parse().unwrap();
    assert_eq!(bodies(&fixture.consume(client, &[strange, first[0].id, first[3].id]).await), ["2"]);
    assert!(fixture.consume(client, &ids(&first)).await.is_empty());
}

#[tokio::test]
async fn a_repeated_message_is_answered_and_delivered_once() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.apply(vec![welcome(client)]).await;
    for _ in 0..3 {
        assert_eq!(fixture.send(client, 0, &["1", "2"]).await.unwrap().len(), 1);
    }
    // A request that repeats a part.
    fixture.send(client, 1, &["2", "3"]).await.unwrap();
    let expected: Vec<String> = ["1", "2", "3"].map(|text| handled(client, text)).into();
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), expected);
}

#[tokio::test]
async fn counters_are_those_of_each_client() {
    let fixture = Fixture::new().await;
    let (one, runtime) = fixture.pair().await;
    let two = fixture.client().await;
    fixture.apply(vec![Op::Route { client: two, to: Some(runtime) }]).await;
    fixture.send(one, 5, &["1"]).await.unwrap();
    fixture.send(two, 0, &["2"]).await.unwrap();
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(one, "1"), handled(two, "2")]);
}

#[tokio::test]
async fn messages_without_a_counter_are_never_duplicates() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let data = raw("1");
    for _ in 0..2 {
        let outgoing = [ClientMessage { seq: None, data: &data }];
        let ack = fixture.mailboxes.client_send(fixture.user, client, &outgoing, &[]).unwrap().unwrap();
        ack.wait().await.unwrap();
    }
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 2);
}

#[tokio::test]
async fn a_strange_client_is_not_found_and_a_foreign_one_is_refused() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    fixture.apply(vec![welcome(client)]).await;
    let mine = fixture.fetch(client).await;
    let other: UserId = fixture.foundation.mint.root().unwrap();
    let problem = fixture.mailboxes.client_receive(other, client, None, &ids(&mine), NOW).await.unwrap_err();
    assert!(problem.is(problems::FOREIGN_CLIENT));
    assert_eq!((problem.qualifier(), problem.kind()), ("WRONG_CLIENT_ID", Kind::Invalid));
    assert_eq!(fixture.fetch(client).await.len(), 1, "a foreigner consumed nothing");

    let strange = ClientId::from_i64(77).unwrap();
    let problem = fixture.mailboxes.client_receive(fixture.user, strange, None, &[], NOW).await.unwrap_err();
    assert_eq!((problem.qualifier(), problem.kind()), ("OBJECT_NOT_FOUND", Kind::NotFound));
    let strange = RuntimeId::from_i64(78).unwrap();
    let problem = fixture.mailboxes.runtime_receive(strange, NOW).await.unwrap_err();
    assert_eq!((problem.qualifier(), problem.kind()), ("RUNTIME_NOT_FOUND", Kind::NotFound));
}

#[tokio::test]
async fn a_long_poll_ends_when_something_arrives_and_wakes_everybody() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let mut polls = Vec::new();
    for _ in 0..3 {
        let (mailboxes, user) = (Arc::clone(&fixture.mailboxes), fixture.user);
        polls.push(tokio::spawn(async move {
            mailboxes.client_receive(user, client, None, &[], LONG).await.map(|it| it.unwrap().len())
        }));
        let mailboxes = Arc::clone(&fixture.mailboxes);
        polls.push(tokio::spawn(
            async move { mailboxes.runtime_receive(runtime, LONG).await.map(|it| it.len()) },
        ));
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(polls.iter().all(|it| !it.is_finished()));
    let start = Instant::now();
    fixture.respond(runtime, To::All, "1").await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    for poll in polls {
        assert_eq!(poll.await.unwrap().unwrap(), 1);
    }
    assert!(start.elapsed() < LONG / 4);
}

#[tokio::test]
async fn a_long_poll_ends_with_nothing_after_its_wait_and_not_before() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let wait = Duration::from_millis(60);
    let start = Instant::now();
    let received = fixture.mailboxes.client_receive(fixture.user, client, None, &[], wait).await.unwrap();
    assert!(received.unwrap().is_empty());
    assert!(start.elapsed() >= wait);
    let start = Instant::now();
    assert!(fixture.mailboxes.runtime_receive(runtime, wait).await.unwrap().is_empty());
    assert!(start.elapsed() >= wait);
    // What waits already is answered at once.
    fixture.apply(vec![welcome(client)]).await;
    let start = Instant::now();
    let received = fixture.mailboxes.client_receive(fixture.user, client, None, &[], LONG).await.unwrap();
    assert_eq!(received.unwrap().len(), 1);
    assert!(start.elapsed() < LONG / 4);
}

#[tokio::test]
async fn a_long_poll_ends_when_the_mailbox_is_closed_or_removed() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let gone = fixture.client().await;
    let poll = |client| {
        let (mailboxes, user) = (Arc::clone(&fixture.mailboxes), fixture.user);
        tokio::spawn(async move { mailboxes.client_receive(user, client, None, &[], LONG).await })
    };
    let (closed, removed) = (poll(client), poll(gone));
    let mailboxes = Arc::clone(&fixture.mailboxes);
    let of_runtime = tokio::spawn(async move { mailboxes.runtime_receive(runtime, LONG).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    fixture
        .apply(vec![
            Op::Close(Mailbox::Client(client)),
            Op::Remove(Mailbox::Client(gone)),
            Op::Close(Mailbox::Runtime(runtime)),
        ])
        .await;
    assert!(closed.await.unwrap().unwrap().is_none());
    assert!(removed.await.unwrap().unwrap_err().is(problems::CLIENT_NOT_FOUND));
    assert!(of_runtime.await.unwrap().unwrap_err().is(problems::RUNTIME_NOT_FOUND));
}

#[tokio::test]
async fn a_broadcast_reaches_everybody_with_one_payload() {
    let fixture = Fixture::new().await;
    let runtime = fixture.runtime().await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let client = fixture.client().await;
        fixture.apply(vec![Op::Route { client, to: Some(runtime) }]).await;
        clients.push(client);
    }
    let outsider = fixture.client().await;
    assert!(fixture.respond(runtime, To::All, "\"all\"").await.is_empty());
    let mut payloads = Vec::new();
    for client in &clients {
        let got = fixture.fetch(*client).await;
        assert_eq!(bodies(&got), ["{\"message\":\"all\"}"]);
        payloads.push(got[0].body.as_ptr());
    }
    assert!(payloads.iter().all(|it| *it == payloads[0]), "one payload for all");
    assert!(fixture.fetch(outsider).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broadcast_misses_nobody_who_leaves_meanwhile() {
    let fixture =
        Fixture::with(Bounds { most_entries: 100_000, most_unwritten: usize::MAX, ..Bounds::default() })
            .await;
    let (here, there) = (fixture.runtime().await, fixture.runtime().await);
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(fixture.client().await);
    }
    let mailboxes = Arc::clone(&fixture.mailboxes);
    let moves = tokio::task::spawn_blocking(move || {
        for (round, client) in (0..6_000).zip(clients.iter().cycle()) {
            let to = if (round / clients.len()).is_multiple_of(2) { here } else { there };
            let _commit = mailboxes.apply(vec![Op::Route { client: *client, to: Some(to) }]).unwrap();
        }
    });
    while !moves.is_finished() {
        let (_commit, missed) = fixture.mailboxes.runtime_send(here, None, To::All, &raw("1")).unwrap();
        assert!(missed.is_empty(), "{missed:?}");
    }
    moves.await.unwrap();
}

#[tokio::test]
async fn a_multicast_reaches_those_who_are_there_once_and_names_the_others() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let (elsewhere, other) = fixture.pair().await;
    let unknown = ClientId::from_i64(99).unwrap();
    let missed = fixture.respond(runtime, To::Some(&[unknown, client, elsewhere, client]), "1").await;
    let mut expected = vec![unknown, elsewhere];
    expected.sort();
    assert_eq!(missed, expected);
    assert_eq!(fixture.fetch(client).await.len(), 1);
    assert!(fixture.fetch(elsewhere).await.is_empty());
    assert_eq!(fixture.respond(other, To::One(client), "1").await, [client]);

    let stranger = RuntimeId::from_i64(98).unwrap();
    for to in [To::One(client), To::All] {
        assert!(
            fixture
                .mailboxes
                .runtime_send(stranger, None, to, &raw("1"))
                .unwrap_err()
                .is(problems::RUNTIME_NOT_FOUND)
        );
    }
}

#[tokio::test]
async fn a_runtimes_command_is_accepted_once() {
    let mut fixture = Fixture::new().await;
    let runtime = fixture.runtime().await;
    for (seq, fresh) in [(0, true), (0, false), (3, true), (2, false), (3, false), (4, true)] {
        let (commit, accepted) = fixture.mailboxes.runtime_accept(runtime, SenderSeq(seq)).unwrap();
        commit.wait().await.unwrap();
        assert_eq!(accepted, fresh, "{seq}");
    }
    fixture.crash().await;
    assert!(!fixture.mailboxes.runtime_accept(runtime, SenderSeq(4)).unwrap().1);
    assert!(fixture.mailboxes.runtime_accept(runtime, SenderSeq(5)).unwrap().1);
    fixture.apply(vec![Op::Close(Mailbox::Runtime(runtime))]).await;
    assert!(
        fixture.mailboxes.runtime_accept(runtime, SenderSeq(6)).unwrap_err().is(problems::RUNTIME_NOT_FOUND)
    );
}

#[tokio::test]
async fn an_exchange_is_a_sign_of_life() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    assert_eq!(fixture.mailboxes.runtime(runtime).unwrap().last_seen, None);
    fixture.foundation.clock.advance(Duration::from_millis(700));
    fixture.fetch(client).await;
    fixture.fetch_runtime(runtime).await;
    let now = omgservers_core::Ticks(700);
    assert_eq!(fixture.mailboxes.client(client).unwrap().last_seen, now);
    assert_eq!(fixture.mailboxes.runtime(runtime).unwrap().last_seen, Some(now));
}

#[tokio::test]
async fn idle_clients_are_found_with_a_route_or_without_and_the_others_are_not() {
    let mut fixture = Fixture::new().await;
    let (routed, _runtime) = fixture.pair().await;
    let (unrouted, lively, closed) = (fixture.client().await, fixture.client().await, fixture.client().await);
    let before = |ms| omgservers_core::Ticks(ms);
    fixture.foundation.clock.advance(Duration::from_millis(1_000));
    fixture.fetch(lively).await;
    fixture.apply(vec![welcome(closed), Op::Close(Mailbox::Client(closed))]).await;
    let sorted = |mut list: Vec<ClientId>| {
        list.sort();
        list
    };
    assert!(fixture.mailboxes.idle_clients(before(0), 10).is_empty());
    assert_eq!(sorted(fixture.mailboxes.idle_clients(before(500), 10)), sorted(vec![routed, unrouted]));
    assert_eq!(fixture.mailboxes.idle_clients(before(500), 1).len(), 1);
    assert!(
        fixture.mailboxes.abandoned_clients(before(500), 10).is_empty(),
        "closing gives the time to fetch"
    );
    assert_eq!(fixture.mailboxes.abandoned_clients(before(1_500), 10), [closed]);
    fixture.foundation.clock.advance(Duration::from_millis(1_000));
    let got = fixture.fetch(closed).await;
    assert!(fixture.mailboxes.abandoned_clients(before(1_500), 10).is_empty());
    assert_eq!(
        sorted(fixture.mailboxes.idle_clients(before(1_500), 10)),
        sorted(vec![routed, unrouted, lively])
    );
    // What has received everything isn't kept by receiving again.
    fixture.foundation.clock.advance(Duration::from_millis(1_000));
    fixture.consume(closed, &ids(&got)).await;
    assert_eq!(fixture.mailboxes.abandoned_clients(before(2_500), 10), [closed]);
    fixture.apply(vec![Op::Remove(Mailbox::Client(closed)), Op::Remove(Mailbox::Client(routed))]).await;
    assert_eq!(sorted(fixture.mailboxes.idle_clients(before(1_500), 10)), sorted(vec![unrouted, lively]));
    assert!(fixture.mailboxes.abandoned_clients(before(9_000), 10).is_empty());

    // That the backend was away is no fault of the players.
    fixture.crash().await;
    assert!(fixture.mailboxes.idle_clients(before(3_000), 10).is_empty());
    assert_eq!(fixture.mailboxes.idle_clients(before(3_001), 10).len(), 2);
}

#[tokio::test]
async fn a_runtimes_first_command_is_the_first_that_was_pushed() {
    let fixture = Fixture::new().await;
    let runtime = fixture.runtime().await;
    let client = fixture.client().await;
    fixture
        .apply(vec![
            init(runtime),
            push(Mailbox::Runtime(runtime), command::ADD_CLIENT, "{}"),
            Op::Route { client, to: Some(runtime) },
        ])
        .await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    let qualifiers: Vec<&str> = got.iter().map(|it| it.qualifier).collect();
    assert_eq!(qualifiers, [command::INIT_RUNTIME, command::ADD_CLIENT, command::HANDLE_MESSAGE]);
}
