//! Routes between clients and runtimes.

use omgservers_api::{
    ClientId, EntryId, RuntimeId,
    ids::Id as _,
    interchange::{command, message},
};
use omgservers_messaging::{Mailbox, Messaging as _, Op, To, problems};

use crate::fixture::{Fixture, bodies, handled, ids, init, push, welcome};

#[tokio::test]
async fn what_is_sent_before_there_is_a_runtime_waits_for_the_first_one() {
    let fixture = Fixture::new().await;
    let (client, runtime) = (fixture.client().await, fixture.runtime().await);
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    fixture.send(client, 2, &["3"]).await.unwrap();
    fixture
        .apply(vec![
            push(Mailbox::Runtime(runtime), command::ADD_CLIENT, "{}"),
            Op::Route { client, to: Some(runtime) },
            push(Mailbox::Client(client), message::RUNTIME_ASSIGNMENT, "{}"),
        ])
        .await;
    fixture.send(client, 3, &["4"]).await.unwrap();
    let got = fixture.fetch_runtime(runtime).await;
    let mut expected = vec!["{}".to_owned()];
    expected.extend(["1", "2", "3", "4"].map(|text| handled(client, text)));
    assert_eq!(bodies(&got), expected);
    assert!(ids(&got).is_sorted_by(|one, two| one < two));
}

#[tokio::test]
async fn a_client_that_moves_is_with_its_new_runtime_only() {
    let fixture = Fixture::new().await;
    let (client, lobby) = fixture.pair().await;
    let game = fixture.runtime().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    fixture.apply(vec![Op::Route { client, to: Some(game) }]).await;
    fixture.send(client, 1, &["2"]).await.unwrap();
    assert_eq!(bodies(&fixture.fetch_runtime(lobby).await), [handled(client, "1")]);
    assert_eq!(bodies(&fixture.fetch_runtime(game).await), [handled(client, "2")]);
    assert_eq!(fixture.mailboxes.clients_of(lobby), []);
    assert_eq!(fixture.mailboxes.clients_of(game), [client]);
    assert_eq!(fixture.mailboxes.runtime(game).unwrap().clients, 1);
    assert_eq!(fixture.mailboxes.client(client).unwrap().route, Some(game));
    assert_eq!(
        fixture.respond(lobby, To::One(client), "1").await,
        [client],
        "it is not with the lobby any more"
    );

    fixture.apply(vec![Op::Route { client, to: None }]).await;
    fixture.send(client, 2, &["3"]).await.unwrap();
    assert_eq!(fixture.mailboxes.client(client).unwrap().route, None);
    assert!(fixture.mailboxes.clients_of(game).is_empty());
    fixture.apply(vec![Op::Route { client, to: Some(lobby) }]).await;
    assert_eq!(bodies(&fixture.fetch_runtime(lobby).await), [handled(client, "1"), handled(client, "3")]);
}

#[tokio::test]
async fn a_route_to_nowhere_is_refused_and_nothing_of_the_ops_is_done() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let closed = fixture.runtime().await;
    fixture.apply(vec![Op::Close(Mailbox::Runtime(closed))]).await;
    let unknown = RuntimeId::from_i64(4711).unwrap();
    let fresh: ClientId = fixture.foundation.mint.root().unwrap();
    for nowhere in [closed, unknown] {
        let ops = vec![
            welcome(client),
            fixture.open_client(fresh, omgservers_api::roles::Delivery::Durable),
            Op::Route { client, to: None },
            Op::Route { client, to: Some(nowhere) },
        ];
        assert!(fixture.mailboxes.apply(ops).unwrap_err().is(problems::RUNTIME_NOT_FOUND));
    }
    let gone = ClientId::from_i64(4712).unwrap();
    let ops = vec![welcome(client), Op::Route { client: gone, to: Some(runtime) }];
    assert!(fixture.mailboxes.apply(ops).unwrap_err().is(problems::CLIENT_NOT_FOUND));
    let ops =
        vec![welcome(client), Op::Close(Mailbox::Runtime(runtime)), Op::Route { client, to: Some(runtime) }];
    assert!(fixture.mailboxes.apply(ops).unwrap_err().is(problems::RUNTIME_NOT_FOUND));
    for crashed in [false, true] {
        if crashed {
            fixture.crash().await;
        }
        assert!(fixture.fetch(client).await.is_empty());
        assert_eq!(fixture.mailboxes.client(client).unwrap().route, Some(runtime));
        assert!(fixture.mailboxes.client(fresh).is_none());
        assert_eq!(fixture.fetch_runtime(runtime).await.len(), 0);
    }
}

#[tokio::test]
async fn a_client_is_opened_welcomed_and_routed_in_one_go() {
    let mut fixture = Fixture::new().await;
    let (client, runtime): (ClientId, RuntimeId) =
        (fixture.foundation.mint.root().unwrap(), fixture.foundation.mint.root().unwrap());
    let delivery = omgservers_api::roles::Delivery::Durable;
    fixture
        .apply(vec![
            Op::OpenRuntime { runtime, deployment: fixture.deployment, delivery },
            init(runtime),
            fixture.open_client(client, delivery),
            welcome(client),
            push(Mailbox::Runtime(runtime), command::ADD_CLIENT, "{}"),
            Op::Route { client, to: Some(runtime) },
            push(Mailbox::Client(client), message::RUNTIME_ASSIGNMENT, "{}"),
        ])
        .await;
    fixture.crash().await;
    let got = fixture.fetch(client).await;
    assert_eq!((got[0].qualifier, got[1].qualifier), (message::SERVER_WELCOME, message::RUNTIME_ASSIGNMENT));
    assert_eq!(fixture.mailboxes.clients_of(runtime), [client]);
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 2);
    let info = fixture.mailboxes.client(client).unwrap();
    assert_eq!((info.user, info.deployment, info.route), (fixture.user, fixture.deployment, Some(runtime)));
}

#[tokio::test]
async fn a_closed_client_takes_and_gets_nothing_but_what_waits() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture
        .apply(vec![
            push(
                Mailbox::Client(client),
                message::DISCONNECTION_REASON,
                "{\"reason\":\"CLIENT_INACTIVITY\"}",
            ),
            Op::Close(Mailbox::Client(client)),
            welcome(client),
        ])
        .await;
    let answer = fixture.send(client, 0, &["1"]).await.unwrap();
    assert_eq!(bodies(&answer), ["{\"reason\":\"CLIENT_INACTIVITY\"}"]);
    assert!(fixture.fetch_runtime(runtime).await.is_empty());
    assert_eq!(fixture.respond(runtime, To::All, "1").await, [], "nobody is with the runtime");
    assert_eq!(fixture.respond(runtime, To::One(client), "1").await, [client]);
    assert!(fixture.mailboxes.clients_of(runtime).is_empty());
    fixture.crash().await;
    let info = fixture.mailboxes.client(client).unwrap();
    assert!(info.closed && info.route.is_none());
    assert_eq!(fixture.fetch(client).await.len(), 1);
    // Opening it again changes nothing.
    fixture.apply(vec![fixture.open_client(client, omgservers_api::roles::Delivery::Durable)]).await;
    assert!(fixture.mailboxes.client(client).unwrap().closed);
    fixture.apply(vec![Op::Remove(Mailbox::Client(client))]).await;
    assert!(fixture.mailboxes.client(client).is_none());
}

#[tokio::test]
async fn the_clients_of_a_closed_runtime_wait_for_the_next_one() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    fixture.apply(vec![Op::Close(Mailbox::Runtime(runtime))]).await;
    assert!(fixture.mailboxes.runtime(runtime).is_none());
    assert!(fixture.mailboxes.runtimes().is_empty());
    assert!(
        fixture
            .mailboxes
            .runtime_receive(runtime, crate::fixture::NOW)
            .await
            .unwrap_err()
            .is(problems::RUNTIME_NOT_FOUND)
    );
    fixture.send(client, 1, &["2"]).await.unwrap();
    fixture.crash().await;
    assert_eq!(fixture.mailboxes.client(client).unwrap().route, None);
    let next = fixture.runtime().await;
    fixture.apply(vec![Op::Route { client, to: Some(next) }]).await;
    assert_eq!(bodies(&fixture.fetch_runtime(next).await), [handled(client, "1"), handled(client, "2")]);
}

#[tokio::test]
async fn what_a_closed_runtime_got_is_not_given_to_the_next_one() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    assert_eq!(fixture.fetch_runtime(runtime).await.len(), 1, "it may be what ends it");
    fixture.send(client, 1, &["2"]).await.unwrap();
    fixture.apply(vec![Op::Close(Mailbox::Runtime(runtime)), Op::Remove(Mailbox::Runtime(runtime))]).await;
    let next = fixture.runtime().await;
    fixture.apply(vec![Op::Route { client, to: Some(next) }]).await;
    assert_eq!(bodies(&fixture.fetch_runtime(next).await), [handled(client, "2")]);
}

#[tokio::test]
async fn what_a_closed_runtime_never_got_goes_to_the_one_that_takes_its_place_in_the_same_go() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let next = fixture.runtime().await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    let (closed, to) = (Mailbox::Runtime(runtime), Some(next));
    fixture.apply(vec![Op::Close(closed), Op::Route { client, to }, Op::Remove(closed)]).await;
    fixture.send(client, 2, &["3"]).await.unwrap();
    for crashed in [false, true] {
        if crashed {
            fixture.crash().await;
        }
        let expected = ["1", "2", "3"].map(|text| handled(client, text));
        assert_eq!(bodies(&fixture.fetch_runtime(next).await), expected);
    }
    assert_eq!(fixture.count(&fixture.sql().await, "entry").await, 3);
}

#[tokio::test]
async fn who_left_gets_nothing_back_from_a_closed_runtime() {
    let fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    fixture.send(client, 0, &["1"]).await.unwrap();
    fixture.apply(vec![Op::Close(Mailbox::Client(client)), Op::Close(Mailbox::Runtime(runtime))]).await;
    let sql = fixture.sql().await;
    assert_eq!(fixture.count(&sql, "entry").await, 0);
}

#[tokio::test]
async fn a_removed_mailbox_leaves_nothing_behind() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let waiting = fixture.client().await;
    fixture.send(client, 0, &["1", "2"]).await.unwrap();
    fixture.send(waiting, 0, &["1", "2"]).await.unwrap();
    fixture.respond(runtime, To::All, "1").await;
    let sql = fixture.sql().await;
    assert_eq!(fixture.count(&sql, "entry").await, 5);
    fixture
        .apply(vec![
            Op::Remove(Mailbox::Runtime(runtime)),
            Op::Remove(Mailbox::Client(client)),
            Op::Remove(Mailbox::Client(waiting)),
        ])
        .await;
    for table in ["entry", "client_box", "runtime_box", "sender"] {
        assert_eq!(fixture.count(&sql, table).await, 0, "{table}");
    }
    fixture.crash().await;
    assert!(
        fixture.mailboxes.clients_in(fixture.deployment).is_empty()
            && fixture.mailboxes.runtimes().is_empty()
    );
    // Removing it again is fine, and so is clearing its route.
    fixture
        .apply(vec![Op::Remove(Mailbox::Client(client)), Op::Route { client, to: None }, welcome(client)])
        .await;
    assert!(fixture.mailboxes.client(client).is_none());
}

#[tokio::test]
async fn all_mailboxes_are_listed_by_id() {
    let fixture = Fixture::new().await;
    let mut clients = Vec::new();
    let mut runtimes = Vec::new();
    for _ in 0..20 {
        let (client, runtime) = fixture.pair().await;
        clients.push(client);
        runtimes.push(runtime);
    }
    clients.sort();
    runtimes.sort();
    assert_eq!(
        fixture.mailboxes.clients_in(fixture.deployment).iter().map(|it| it.0).collect::<Vec<_>>(),
        clients
    );
    assert_eq!(fixture.mailboxes.runtimes().iter().map(|it| it.0).collect::<Vec<_>>(), runtimes);
    assert!(
        fixture
            .mailboxes
            .clients_in(fixture.deployment)
            .iter()
            .all(|(_, info)| info.route.is_some() && !info.closed)
    );
}

#[tokio::test]
async fn a_body_that_the_database_would_refuse_is_refused_before() {
    let fixture = Fixture::new().await;
    let client = fixture.client().await;
    assert!(
        fixture
            .mailboxes
            .apply(vec![push(Mailbox::Client(client), message::SERVER_WELCOME, "a\0b")])
            .is_err()
    );
    assert!(fixture.mailboxes.apply(vec![push(Mailbox::Client(client), "NO_SUCH_MESSAGE", "{}")]).is_err());
    assert!(fixture.fetch(client).await.is_empty());
    let none: Vec<EntryId> = Vec::new();
    assert_eq!(ids(&fixture.fetch(client).await), none);
}
