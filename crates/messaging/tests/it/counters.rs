//! The promises of a runtime's own counter.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use omgservers_api::{ids::SenderSeq, roles::Delivery};
use omgservers_messaging::{Bounds, Messaging as _, To};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, bodies, eventually, raw};

#[tokio::test]
async fn a_repeated_command_is_not_sent_again() {
    let mut fixture = Fixture::new().await;
    let (client, runtime) = fixture.pair().await;
    let (elsewhere, _other) = fixture.pair().await;
    for (seq, text, missed) in [(3, "1", 0), (3, "2", 0), (2, "3", 0), (4, "4", 1), (4, "5", 0)] {
        let to = [client, elsewhere];
        let to = To::Some(if missed == 0 { &to[..1] } else { &to });
        let (commit, unreached) =
            fixture.mailboxes.runtime_send(runtime, Some(SenderSeq(seq)), to, &raw(text)).unwrap();
        commit.wait().await.unwrap();
        assert_eq!(unreached.len(), missed, "{text}");
    }
    fixture.crash().await;
    let (_commit, missed) =
        fixture.mailboxes.runtime_send(runtime, Some(SenderSeq(4)), To::All, &raw("6")).unwrap();
    assert!(missed.is_empty());
    assert!(
        !fixture.mailboxes.runtime_accept(runtime, SenderSeq(4)).unwrap().1,
        "one counter for all commands"
    );
    assert_eq!(bodies(&fixture.fetch(client).await), ["{\"message\":1}", "{\"message\":4}"]);
}

#[tokio::test]
async fn a_command_that_is_refused_is_not_counted() {
    let bounds = Bounds { most_unwritten: 0, ..Bounds::default() };
    let fixture = Fixture::with(bounds).await;
    let (_client, runtime) = fixture.pair().await;
    assert!(fixture.mailboxes.runtime_send(runtime, Some(SenderSeq(0)), To::All, &raw("1")).is_err());
    assert_eq!(fixture.mailboxes.runtime(runtime).unwrap().last_seq, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_runtime_repeats_after_a_crash_is_sent_exactly_once() {
    let large = usize::MAX;
    let bounds = Bounds {
        most_entries: large,
        most_bytes: large,
        most_entries_per_answer: large,
        most_bytes_per_answer: large,
        ..Bounds::default()
    };
    let mut fixture = Fixture::with(bounds).await;
    for _ in 0..3 {
        let mut senders = JoinSet::new();
        let mut lobbies = Vec::new();
        for _ in 0..12 {
            let runtime = fixture.runtime_with(Delivery::Durable).await;
            let mut clients = Vec::new();
            for _ in 0..3 {
                let client = fixture.client().await;
                fixture.apply(vec![omgservers_messaging::Op::Route { client, to: Some(runtime) }]).await;
                clients.push(client);
            }
            let sent = Arc::<AtomicU64>::default();
            lobbies.push((runtime, clients, Arc::clone(&sent)));
            let mailboxes = Arc::clone(&fixture.mailboxes);
            senders.spawn(async move {
                loop {
                    let number = sent.load(Ordering::Relaxed);
                    let (seq, text) = (Some(SenderSeq(number)), raw(&number.to_string()));
                    let (commit, missed) = mailboxes.runtime_send(runtime, seq, To::All, &text).unwrap();
                    assert!(missed.is_empty());
                    commit.wait().await.unwrap();
                    sent.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        let all = || lobbies.iter().map(|it| it.2.load(Ordering::Relaxed)).sum::<u64>();
        eventually("commands are acknowledged", async || all() > 300).await;
        senders.shutdown().await;
        fixture.crash().await;
        for (runtime, clients, sent) in &lobbies {
            let sent = sent.load(Ordering::Relaxed);
            // The backend may have accepted the last command or not: the runtime can't know.
            for number in sent.saturating_sub(2)..sent + 2 {
                let text = raw(&number.to_string());
                let (_commit, missed) = fixture
                    .mailboxes
                    .runtime_send(*runtime, Some(SenderSeq(number)), To::All, &text)
                    .unwrap();
                assert!(missed.is_empty());
            }
            let expected: Vec<String> = (0..sent + 2).map(|it| format!("{{\"message\":{it}}}")).collect();
            for client in clients {
                assert_eq!(bodies(&fixture.fetch(*client).await), expected);
            }
        }
    }
}
