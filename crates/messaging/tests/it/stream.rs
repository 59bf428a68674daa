//! What a stream receives from a mailbox.

use std::time::{Duration, Instant};

use omgservers_api::{UserId, ids::Id as _, interchange::message};
use omgservers_messaging::{Bounds, Mailbox, Messaging as _, Op, To, problems};

use crate::fixture::{Fixture, NOW, bodies, handled, push, raw};

const LONG: Duration = Duration::from_secs(20);

/// A message of a client with its own counter.
fn numbered(seq: u64, data: &serde_json::value::RawValue) -> omgservers_messaging::ClientMessage<'_> {
    omgservers_messaging::ClientMessage { seq: Some(omgservers_api::ids::SenderSeq(seq)), data }
}

#[tokio::test]
async fn who_follows_gets_each_entry_once_and_in_order() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let follow = |after, wait| fixture.mailboxes.client_receive(fixture.user, client, after, &[], wait);
    assert!(follow(None, NOW).await.unwrap().unwrap().is_empty());
    fixture.respond(runtime, To::One(client), "1").await;
    fixture.respond(runtime, To::One(client), "2").await;
    let first = follow(None, NOW).await.unwrap().unwrap();
    assert_eq!(bodies(&first), [r#"{"message":1}"#, r#"{"message":2}"#]);
    let last = Some(first[1].id);
    assert!(follow(last, NOW).await.unwrap().unwrap().is_empty(), "it was shown");
    assert_eq!(bodies(&follow(Some(first[0].id), NOW).await.unwrap().unwrap()), [r#"{"message":2}"#]);
    let begun = Instant::now();
    let (next, _) = tokio::join!(follow(last, LONG), fixture.respond(runtime, To::One(client), "3"));
    assert_eq!(bodies(&next.unwrap().unwrap()), [r#"{"message":3}"#]);
    assert!(begun.elapsed() < LONG / 2, "it didn't wait for the end of its time");
    assert_eq!(fixture.fetch(client).await.len(), 3, "nothing is consumed by being shown");
}

#[tokio::test]
async fn who_does_not_consume_gets_no_more_than_an_answer() {
    let fixture = Fixture::with(Bounds { most_entries_per_answer: 2, ..Bounds::default() }).await;
    let (client, runtime) = fixture.pair().await;
    for text in ["1", "2", "3"] {
        fixture.respond(runtime, To::One(client), text).await;
    }
    let follow = |after| fixture.mailboxes.client_receive(fixture.user, client, after, &[], NOW);
    let first = follow(None).await.unwrap().unwrap();
    assert_eq!(first.len(), 2);
    let last = Some(first[1].id);
    assert!(follow(last).await.unwrap().unwrap().is_empty());
    fixture
        .mailboxes
        .client_send(fixture.user, client, &[], &[first[0].id])
        .unwrap()
        .unwrap()
        .wait()
        .await
        .unwrap();
    assert_eq!(bodies(&follow(last).await.unwrap().unwrap()), [r#"{"message":3}"#]);
}

#[tokio::test]
async fn what_is_sent_is_accepted_in_the_order_of_the_calls_and_repetitions_once() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let (one, two, three) = (raw("1"), raw("2"), raw("3"));
    let send = |what: &[_]| fixture.mailboxes.client_send(fixture.user, client, what, &[]).unwrap().unwrap();
    let commits = [
        send(&[numbered(0, &one)]),
        send(&[numbered(1, &two)]),
        send(&[numbered(0, &one), numbered(2, &three)]),
    ];
    for commit in commits {
        commit.wait().await.unwrap();
    }
    let expected: Vec<String> = ["1", "2", "3"].map(|text| handled(client, text)).into();
    assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), expected);
}

#[tokio::test]
async fn a_closed_mailbox_shows_what_it_has_and_then_that_it_is_over() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    let follow = |after, wait| fixture.mailboxes.client_receive(fixture.user, client, after, &[], wait);
    let reason = push(Mailbox::Client(client), message::DISCONNECTION_REASON, "{}");
    fixture.apply(vec![reason, Op::Close(Mailbox::Client(client))]).await;
    let last = follow(None, LONG).await.unwrap().unwrap().last().map(|it| it.id);
    assert!(follow(last, LONG).await.unwrap().is_none());
    let one = raw("1");
    assert!(
        fixture.mailboxes.client_send(fixture.user, client, &[numbered(0, &one)], &[]).unwrap().is_none()
    );
    let (over, ()) =
        tokio::join!(follow(last, LONG), fixture.apply(vec![Op::Remove(Mailbox::Client(client))]));
    assert!(over.unwrap().is_none());
    assert!(follow(None, NOW).await.unwrap_err().is(problems::CLIENT_NOT_FOUND));
}

#[tokio::test]
async fn a_close_ends_the_wait() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    let begun = Instant::now();
    let waiting = fixture.mailboxes.client_receive(fixture.user, client, None, &[], LONG);
    let (over, ()) = tokio::join!(waiting, fixture.apply(vec![Op::Close(Mailbox::Client(client))]));
    assert!(over.unwrap().is_none() && begun.elapsed() < LONG / 2);
}

#[tokio::test]
async fn a_mailbox_is_followed_by_its_owner_only_and_a_call_is_a_sign_of_life() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    let stranger = UserId::from_i64(77).unwrap();
    let refused = fixture.mailboxes.client_receive(stranger, client, None, &[], NOW).await.unwrap_err();
    assert!(refused.is(problems::FOREIGN_CLIENT));
    assert!(
        fixture.mailboxes.client_send(stranger, client, &[], &[]).unwrap_err().is(problems::FOREIGN_CLIENT)
    );
    let seen = || fixture.mailboxes.client(client).unwrap().last_seen;
    let before = seen();
    fixture.foundation.clock.advance(Duration::from_secs(5));
    fixture.mailboxes.client_receive(fixture.user, client, None, &[], NOW).await.unwrap();
    assert!(seen() > before);
}
