//! The facade: the mailboxes of this process, and the same behind a router.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use omgservers_api::{ClientId, Problem, ids::SenderSeq};
use omgservers_core::{
    ownership::NOT_OWNER,
    remote::{Loopback, MAX_CALL_BYTES},
};
use omgservers_messaging::{
    Bounds, ClientMessage, Mail, MailHandler, Mailbox, Mailboxes, Messaging as _, Op, RoutedMail, Sending,
    StreamPosition, problems,
};

use crate::fixture::{Fixture, NOW, bodies, eventually, handled, ids, raw, welcome};

/// Longer than a test takes.
const LONG: Duration = Duration::from_secs(60);

fn mails(fixture: &Fixture) -> [Arc<dyn Mail>; 2] {
    let direct: Arc<dyn Mail> = Arc::<Mailboxes>::clone(&fixture.mailboxes);
    let handler = Arc::new(MailHandler::new(Arc::clone(&direct)));
    let router = Loopback::new(handler, fixture.foundation.ownership.clone(), MAX_CALL_BYTES);
    [direct, Arc::new(RoutedMail::new(Arc::new(router)))]
}

/// Starts to send one message of a stream.
fn send(
    mail: &dyn Mail,
    fixture: &Fixture,
    client: ClientId,
    text: &str,
    position: StreamPosition,
) -> Sending {
    let data = raw(text);
    let message = ClientMessage { seq: None, data: &data };
    mail.client_send(fixture.user, client, &[message], &[], position)
}

fn code(answer: Result<bool, Problem>) -> String {
    answer.unwrap_err().code().to_owned()
}

#[tokio::test]
async fn the_mail_exchanges_and_receives_what_the_mailboxes_have() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let (client, runtime) = fixture.pair().await;
        fixture.apply(vec![welcome(client)]).await;
        let data = [raw("\"one\""), raw("{ \"two\" : 2.0 }")];
        let message = |seq: u64, data| ClientMessage { seq: Some(SenderSeq(seq)), data };
        let messages = [message(0, &*data[0]), message(1, &*data[1])];
        let received = mail.client_exchange(fixture.user, client, &messages, &[]).await.unwrap();
        assert_eq!(bodies(&received), ["{\"hello\":1}"]);
        // A repeated counter is answered and not delivered again.
        mail.client_exchange(fixture.user, client, &messages, &ids(&received)).await.unwrap();
        let queued = fixture.fetch_runtime(runtime).await;
        let expected = [handled(client, "\"one\""), handled(client, "{ \"two\" : 2.0 }")];
        assert_eq!(bodies(&queued), expected);
        let rest = mail.client_receive(fixture.user, client, None, &[], NOW).await.unwrap();
        assert_eq!(rest.map(|it| it.len()), Some(0), "the exchange has consumed the welcome");
        let opened = fixture.mailboxes.runtime(runtime).unwrap().opened;
        assert_eq!(mail.runtime_opened(runtime).await.unwrap(), opened);
    }
}

#[tokio::test]
async fn sends_of_a_stream_are_accepted_in_their_order_before_the_first_is_safe() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let (client, runtime) = fixture.pair().await;
        let sql = fixture.sql().await;
        sql.batch_execute("begin; lock table messaging.entry in access exclusive mode").await.unwrap();
        let mut position = mail.client_attach(fixture.user, client).await.unwrap();
        let mut sendings = Vec::new();
        for text in ["1", "2", "3"] {
            sendings.push(send(&*mail, &fixture, client, text, position).safe().boxed());
            position = position.next();
        }
        assert_eq!(fixture.fetch_runtime(runtime).await.len(), 3, "the database stands still");
        sql.batch_execute("rollback").await.unwrap();
        for sending in sendings {
            assert!(sending.await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_send_of_a_stream_never_overtakes_one_that_was_refused() {
    let fixture = Fixture::with(Bounds { most_entries: 1, ..Bounds::default() }).await;
    for mail in mails(&fixture) {
        let (client, runtime) = fixture.pair().await;
        let first = mail.client_attach(fixture.user, client).await.unwrap();
        assert!(send(&*mail, &fixture, client, "1", first).safe().await.unwrap());
        let refused = send(&*mail, &fixture, client, "2", first.next()).safe().await;
        let problem = refused.unwrap_err();
        assert!(problem.is(problems::MAILBOX_FULL), "{problem:?}");
        assert_eq!(problem.pause(), Some(Duration::from_secs(1)), "the pause crosses, too");

        // Now there is capacity, but it isn't the third one's turn.
        let queued = fixture.fetch_runtime(runtime).await;
        fixture.consume_runtime(runtime, &ids(&queued)).await;
        let late = send(&*mail, &fixture, client, "3", first.next().next()).safe().await;
        assert_eq!(code(late), problems::OUT_OF_TURN.code);
        assert!(send(&*mail, &fixture, client, "2", first.next()).safe().await.unwrap());
        let queued = fixture.fetch_runtime(runtime).await;
        assert_eq!(bodies(&queued), [handled(client, "2")]);
        fixture.consume_runtime(runtime, &ids(&queued)).await;
    }
}

#[tokio::test]
async fn a_stream_that_was_replaced_sends_no_more() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let (client, runtime) = fixture.pair().await;
        let older = mail.client_attach(fixture.user, client).await.unwrap();
        let newer = mail.client_attach(fixture.user, client).await.unwrap();
        let late = send(&*mail, &fixture, client, "1", older).safe().await;
        assert_eq!(code(late), problems::STREAM_REPLACED.code);
        assert!(send(&*mail, &fixture, client, "2", newer).safe().await.unwrap());
        assert_eq!(bodies(&fixture.fetch_runtime(runtime).await), [handled(client, "2")]);
    }
}

#[tokio::test]
async fn a_closed_mailbox_accepts_nothing() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let (client, _) = fixture.pair().await;
        let first = mail.client_attach(fixture.user, client).await.unwrap();
        fixture.apply(vec![Op::Close(Mailbox::Client(client))]).await;
        assert!(!send(&*mail, &fixture, client, "1", first).safe().await.unwrap());
        let received = mail.client_receive(fixture.user, client, None, &[], LONG).await.unwrap();
        assert!(received.is_none());
    }
}

#[tokio::test]
async fn a_long_poll_ends_with_an_arrival_and_a_dropped_one_loses_nothing() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let client = fixture.client().await;
        let receive = |consumed| {
            let mail = Arc::clone(&mail);
            let user = fixture.user;
            async move { mail.client_receive(user, client, None, consumed, LONG).await }
        };
        // Dropped after it has begun to wait.
        assert!(receive(&[]).now_or_never().is_none());
        let waiting = tokio::spawn(receive(&[]));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        fixture.apply(vec![welcome(client)]).await;
        let received = waiting.await.unwrap().unwrap().unwrap();
        assert_eq!(bodies(&received), ["{\"hello\":1}"]);
    }
}

#[tokio::test]
async fn a_dropped_send_stays_accepted() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let (client, runtime) = fixture.pair().await;
        let first = mail.client_attach(fixture.user, client).await.unwrap();
        drop(send(&*mail, &fixture, client, "1", first).safe());
        eventually("it is in the runtime's mailbox", async || {
            bodies(&fixture.fetch_runtime(runtime).await) == [handled(client, "1")]
        })
        .await;
    }
}

#[tokio::test]
async fn problems_of_the_mailboxes_cross_with_their_codes() {
    let fixture = Fixture::new().await;
    for mail in mails(&fixture) {
        let client = fixture.client().await;
        let stranger = fixture.foundation.mint.root().unwrap();
        let unknown = fixture.foundation.mint.child(fixture.user).unwrap();
        let foreign = mail.client_attach(stranger, client).await.unwrap_err();
        assert!(foreign.is(problems::FOREIGN_CLIENT), "{foreign:?}");
        assert_eq!(foreign.qualifier(), "WRONG_CLIENT_ID");
        let absent = mail.client_receive(fixture.user, unknown, None, &[], NOW).await.unwrap_err();
        assert!(absent.is(problems::CLIENT_NOT_FOUND), "{absent:?}");
        let closed = mail.runtime_opened(fixture.foundation.mint.root().unwrap()).await.unwrap_err();
        assert!(closed.is(problems::RUNTIME_NOT_FOUND), "{closed:?}");
    }
    let mails = mails(&fixture);
    let client = fixture.client().await;
    fixture.foundation.ownership.lose_all();
    for mail in mails {
        let lost = mail.client_receive(fixture.user, client, None, &[], NOW).await.unwrap_err();
        assert!(lost.is(NOT_OWNER), "{lost:?}");
    }
}
