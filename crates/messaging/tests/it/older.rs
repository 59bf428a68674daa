//! Mailboxes that an older release wrote.

use omgservers_api::{ClientId, DeploymentId, RuntimeId, UserId, ids::Id as _};
use omgservers_core::{Db, ManualClock, Mint, Ownership};
use omgservers_messaging::{Bounds, Mailbox, Messaging as _, Op, SCHEMA};
use omgservers_testkit::{Foundation, TestDb};

use crate::fixture::{bodies, handled, open, send};

/// As every release stores it.
const HANDLE_MESSAGE: i16 = 20;

const FIRST: &str = "2026-01-01-000000_create_mailboxes";

#[tokio::test]
async fn sessions_of_the_first_release_go_on_in_the_slots_that_they_are_in() {
    let test_db = TestDb::new(&[]).await;
    test_db.migrate_as_before("messaging", &[FIRST]).await;
    let db = test_db.pool(1).await;
    let before = Mint::take(&db).await.unwrap();
    // The first release made a client in its user's slot, and a runtime and a deployment in slots
    // of their own.
    let (user, deployment): (UserId, DeploymentId) = (before.root().unwrap(), before.root().unwrap());
    let (client, runtime): (ClientId, RuntimeId) = (before.child(user).unwrap(), before.root().unwrap());
    let entry: ClientId = before.child(runtime).unwrap();
    assert!(client.slot() != deployment.slot() && runtime.slot() != deployment.slot());
    let message = handled(client, "1");
    let insert = format!(
        "insert into messaging.runtime_box (id, deployment_id, delivery) values ({runtime}, {deployment}, 'durable'); \
         insert into messaging.client_box (id, user_id, deployment_id, runtime_id, delivery) \
             values ({client}, {user}, {deployment}, {runtime}, 'durable'); \
         insert into messaging.sender (id, last_seq) values ({client}, 4); \
         insert into messaging.entry (mailbox_id, id, kind, qualifier, body) \
             select {runtime}, {entry}, 0, {}, '{message}'",
        HANDLE_MESSAGE
    );
    test_db.sql().await.batch_execute(&insert).await.unwrap();
    assert_eq!(Db::migrate(test_db.url(), &[SCHEMA]).await.unwrap().len(), 1);

    let ownership = Ownership::take(&db, "test").await.unwrap();
    let mint = Mint::take(&db).await.unwrap();
    let mut foundation = Foundation { test_db, db, mint, ownership, clock: ManualClock::default() };
    let mailboxes = open(&foundation, Bounds::default()).await;
    let info = mailboxes.client(client).unwrap();
    assert_eq!((info.route, info.assignment), (Some(runtime), 0));
    // A counter that was accepted before is no new message.
    send(&mailboxes, user, client, 4, &["1", "2"]).await.unwrap();
    let got = mailboxes.runtime_receive(runtime, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(bodies(&got), [message, handled(client, "2")]);
    // A move from a runtime of an old slot into one of the deployment's.
    let next: RuntimeId = foundation.mint.child(deployment).unwrap();
    let delivery = omgservers_api::roles::Delivery::Durable;
    let ops = vec![
        Op::OpenRuntime { runtime: next, deployment, delivery },
        Op::Route { client, to: Some(next) },
        Op::Close(Mailbox::Runtime(runtime)),
    ];
    mailboxes.apply(ops).unwrap().wait().await.unwrap();
    let opened = mailboxes.runtime(next).unwrap().opened;
    assert!(opened > 0);
    drop(mailboxes);
    foundation.ownership = Ownership::take(&foundation.db, "test").await.unwrap();
    foundation.mint = Mint::take(&foundation.db).await.unwrap();
    let mailboxes = open(&foundation, Bounds::default()).await;
    let info = mailboxes.client(client).unwrap();
    assert_eq!((info.route, info.assignment), (Some(next), 1));
    assert_eq!(mailboxes.runtime(next).unwrap().opened, opened);
}
