//! A client's assignments and upgrades, and the watchers of its assignment status.

use omgservers_api::{ClientId, RuntimeId, ids::Id as _, interchange::message};
use omgservers_messaging::{AssignmentStatus, Entry, Mailbox, Messaging as _, Op};
use proptest::prelude::*;

use crate::fixture::{Fixture, ids, push, welcome};

fn assign(client: ClientId) -> Op {
    push(Mailbox::Client(client), message::RUNTIME_ASSIGNMENT, "{}")
}

fn upgrade(client: ClientId) -> Op {
    push(Mailbox::Client(client), message::CONNECTION_UPGRADE, "{}")
}

fn to(client: ClientId, runtime: RuntimeId) -> Op {
    Op::Route { client, to: Some(runtime) }
}

fn qualifiers(entries: &[Entry]) -> Vec<&'static str> {
    entries.iter().map(|it| it.qualifier).collect()
}

fn assignment(fixture: &Fixture, client: ClientId) -> u64 {
    fixture.mailboxes.client(client).unwrap().assignment
}

#[tokio::test]
async fn an_upgrade_waits_until_the_assignment_before_it_was_consumed() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    fixture.apply(vec![welcome(client), assign(client), upgrade(client), upgrade(client)]).await;
    let first = fixture.fetch(client).await;
    let expected = [message::SERVER_WELCOME, message::RUNTIME_ASSIGNMENT];
    assert_eq!(qualifiers(&first), expected);
    assert_eq!(
        ids(&fixture.fetch(client).await),
        ids(&first),
        "what isn't consumed is answered again, and no more"
    );
    let rest = fixture.consume(client, &ids(&first)[..1]).await;
    assert_eq!(qualifiers(&rest), [message::RUNTIME_ASSIGNMENT]);
    let rest = fixture.consume(client, &ids(&first)).await;
    assert_eq!(qualifiers(&rest), [message::CONNECTION_UPGRADE; 2]);
}

#[tokio::test]
async fn an_assignment_waits_until_the_upgrade_before_it_was_consumed() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    // Without a change of the route, which would take the upgrade out.
    fixture.apply(vec![upgrade(client), assign(client), welcome(client)]).await;
    let first = fixture.fetch(client).await;
    assert_eq!(qualifiers(&first), [message::CONNECTION_UPGRADE]);
    let rest = fixture.consume(client, &ids(&first)).await;
    assert_eq!(qualifiers(&rest), [message::RUNTIME_ASSIGNMENT, message::SERVER_WELCOME]);
}

#[tokio::test]
async fn an_upgrade_is_void_when_the_client_is_moved_before_it_has_fetched_it() {
    let mut fixture = Fixture::new().await;
    let (client, lobby) = fixture.pair().await;
    let game = fixture.runtime().await;
    fixture.apply(vec![upgrade(client), welcome(client)]).await;
    fixture.apply(vec![to(client, lobby)]).await;
    assert_eq!(fixture.fetch(client).await.len(), 2, "it was there already");
    fixture.apply(vec![to(client, game), assign(client)]).await;
    let expected = [message::SERVER_WELCOME, message::RUNTIME_ASSIGNMENT];
    assert_eq!(qualifiers(&fixture.fetch(client).await), expected);
    fixture.crash().await;
    assert_eq!(qualifiers(&fixture.fetch(client).await), expected, "and it does not come back");
}

#[tokio::test]
async fn each_assignment_is_another_one() {
    let mut fixture = Fixture::new().await;
    let (client, lobby) = fixture.pair().await;
    let game = fixture.runtime().await;
    let mut seen = vec![assignment(&fixture, client)];
    fixture.apply(vec![to(client, lobby)]).await;
    assert_eq!(assignment(&fixture, client), seen[0], "nothing has changed");
    for ops in [
        vec![to(client, game)],
        vec![to(client, lobby)],
        vec![Op::Route { client, to: None }, to(client, lobby)],
        vec![Op::Close(Mailbox::Runtime(lobby))],
        vec![to(client, game)],
    ] {
        fixture.apply(ops).await;
        seen.push(assignment(&fixture, client));
    }
    let opened = fixture.mailboxes.runtime(game).unwrap().opened;
    fixture.crash().await;
    assert_eq!(assignment(&fixture, client), *seen.last().unwrap(), "a restart is no decision");
    fixture.apply(vec![Op::Close(Mailbox::Client(client))]).await;
    seen.push(assignment(&fixture, client));
    assert!(seen.is_sorted_by(|one, two| one < two), "{seen:?}");
    assert!(seen.iter().all(|it| *it < 1 << 53));
    assert_eq!(fixture.mailboxes.runtime(game).unwrap().opened, opened, "the game server's token stays good");
}

#[tokio::test]
async fn an_entry_about_an_assignment_goes_with_it() {
    let fixture = Fixture::new().await;
    let (client, lobby) = fixture.pair().await;
    let game = fixture.runtime().await;
    let push = |assignment| {
        let qualifier = message::CONNECTION_UPGRADE;
        Op::PushAssigned { client, assignment, qualifier, body: "{}".into() }
    };
    let old = assignment(&fixture, client);
    fixture.apply(vec![push(old)]).await;
    assert_eq!(fixture.fetch(client).await.len(), 1);
    fixture.apply(vec![to(client, game), to(client, lobby)]).await;
    fixture.apply(vec![push(old)]).await;
    assert_eq!(fixture.fetch(client).await.len(), 0);
    fixture.apply(vec![push(assignment(&fixture, client))]).await;
    assert_eq!(fixture.fetch(client).await.len(), 1);
    fixture.apply(vec![Op::Close(Mailbox::Client(client))]).await;
    fixture.apply(vec![push(assignment(&fixture, client))]).await;
    assert_eq!(fixture.fetch(client).await.len(), 0, "nothing is put into a closed mailbox");
}

#[tokio::test]
async fn a_follower_of_a_client_receives_its_moves_and_what_the_client_knows() {
    let fixture = Fixture::new().await;
    let (client, lobby) = fixture.pair().await;
    let game = fixture.runtime().await;
    assert!(fixture.mailboxes.client_watch(ClientId::from_i64(98).unwrap()).is_none());
    let mut follower = fixture.mailboxes.client_watch(client).unwrap();
    let first = assignment(&fixture, client);
    assert_eq!(*follower.borrow(), AssignmentStatus { assignment: first, acknowledged: true });

    fixture.apply(vec![Op::Close(Mailbox::Runtime(lobby))]).await;
    assert!(follower.has_changed().unwrap());
    assert_eq!(
        *follower.borrow_and_update(),
        AssignmentStatus { assignment: first + 1, acknowledged: false },
        "with nobody"
    );

    fixture.apply(vec![to(client, game), assign(client)]).await;
    let moved = AssignmentStatus { assignment: first + 2, acknowledged: false };
    assert_eq!(*follower.borrow_and_update(), moved);
    fixture.apply(vec![welcome(client)]).await;
    let waiting = ids(&fixture.fetch(client).await);
    assert!(!follower.has_changed().unwrap(), "to fetch is not to consume");
    fixture.consume(client, &waiting[1..]).await;
    assert!(!follower.has_changed().unwrap());
    fixture.consume(client, &waiting).await;
    assert_eq!(*follower.borrow_and_update(), AssignmentStatus { acknowledged: true, ..moved });

    fixture
        .apply(vec![
            push(Mailbox::Client(client), message::DISCONNECTION_REASON, "{}"),
            Op::Close(Mailbox::Client(client)),
        ])
        .await;
    assert_eq!(
        *follower.borrow_and_update(),
        AssignmentStatus { assignment: first + 3, acknowledged: false }
    );
    let waiting = ids(&fixture.fetch(client).await);
    fixture.consume(client, &waiting).await;
    assert_eq!(*follower.borrow_and_update(), AssignmentStatus { assignment: first + 3, acknowledged: true });
    fixture.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert!(follower.changed().await.is_err(), "it ends with the mailbox");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn answers_keep_assignments_and_upgrades_apart_and_the_order_of_all(
        kinds in prop::collection::vec(0usize..3, 1..30),
        consumed in prop::collection::vec(1usize..5, 1..30),
    ) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new().await;
            let client = fixture.client().await;
            let ops = [assign, upgrade, welcome];
            fixture.apply(kinds.iter().map(|kind| ops[*kind](client)).collect()).await;
            let mut seen = Vec::new();
            let mut counts = consumed.iter().cycle();
            let mut answer = fixture.fetch(client).await;
            while !answer.is_empty() {
                let found = qualifiers(&answer);
                assert!(
                    !(found.contains(&message::RUNTIME_ASSIGNMENT) && found.contains(&message::CONNECTION_UPGRADE)),
                    "{found:?}"
                );
                let count = answer.len().min(*counts.next().unwrap());
                seen.extend(found.into_iter().take(count));
                answer = fixture.consume(client, &ids(&answer)[..count]).await;
            }
            let words = [message::RUNTIME_ASSIGNMENT, message::CONNECTION_UPGRADE, message::SERVER_WELCOME];
            let expected: Vec<&str> = kinds.iter().map(|kind| words[*kind]).collect();
            assert_eq!(seen, expected);
        });
    }
}
