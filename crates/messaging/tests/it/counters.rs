//! What a runtime's own counter promises.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use omgservers_api::{ids::SenderSeq, roles::Delivery};
use omgservers_messaging::{Bounds, Messaging as _, To};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, bodies, eventually, raw};

#[tokio::test]
async fn a_repeated_command_is_not_said_again() {
    let mut it = Fixture::new().await;
    let (client, runtime) = it.pair().await;
    let (elsewhere, _other) = it.pair().await;
    for (seq, text, missed) in [(3, "1", 0), (3, "2", 0), (2, "3", 0), (4, "4", 1), (4, "5", 0)] {
        let to = [client, elsewhere];
        let to = To::Some(if missed == 0 { &to[..1] } else { &to });
        let (commit, unreached) =
            it.mailboxes.runtime_send(runtime, Some(SenderSeq(seq)), to, &raw(text)).unwrap();
        commit.wait().await.unwrap();
        assert_eq!(unreached.len(), missed, "{text}");
    }
    it.crash().await;
    let (_commit, missed) =
        it.mailboxes.runtime_send(runtime, Some(SenderSeq(4)), To::All, &raw("6")).unwrap();
    assert!(missed.is_empty());
    assert!(!it.mailboxes.runtime_accept(runtime, SenderSeq(4)).unwrap().1, "one counter for all commands");
    assert_eq!(bodies(&it.fetch(client).await), ["{\"message\":1}", "{\"message\":4}"]);
}

#[tokio::test]
async fn a_command_that_is_refused_is_not_counted() {
    let bounds = Bounds { most_unwritten: 0, ..Bounds::default() };
    let it = Fixture::with(bounds).await;
    let (_client, runtime) = it.pair().await;
    assert!(it.mailboxes.runtime_send(runtime, Some(SenderSeq(0)), To::All, &raw("1")).is_err());
    assert_eq!(it.mailboxes.runtime(runtime).unwrap().last_seq, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_runtime_repeats_after_a_crash_is_said_exactly_once() {
    let large = usize::MAX;
    let bounds = Bounds {
        most_entries: large,
        most_bytes: large,
        most_entries_per_answer: large,
        most_bytes_per_answer: large,
        ..Bounds::default()
    };
    let mut it = Fixture::with(bounds).await;
    for _ in 0..3 {
        let mut speakers = JoinSet::new();
        let mut lobbies = Vec::new();
        for _ in 0..12 {
            let runtime = it.runtime_with(Delivery::Durable).await;
            let mut clients = Vec::new();
            for _ in 0..3 {
                let client = it.client().await;
                it.apply(vec![omgservers_messaging::Op::Route { client, to: Some(runtime) }]).await;
                clients.push(client);
            }
            let said = Arc::<AtomicU64>::default();
            lobbies.push((runtime, clients, Arc::clone(&said)));
            let mailboxes = Arc::clone(&it.mailboxes);
            speakers.spawn(async move {
                loop {
                    let number = said.load(Ordering::Relaxed);
                    let (seq, text) = (Some(SenderSeq(number)), raw(&number.to_string()));
                    let (commit, missed) = mailboxes.runtime_send(runtime, seq, To::All, &text).unwrap();
                    assert!(missed.is_empty());
                    commit.wait().await.unwrap();
                    said.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        let all = || lobbies.iter().map(|it| it.2.load(Ordering::Relaxed)).sum::<u64>();
        eventually("commands are acknowledged", async || all() > 300).await;
        speakers.shutdown().await;
        it.crash().await;
        for (runtime, clients, said) in &lobbies {
            let said = said.load(Ordering::Relaxed);
            // The last one may have been taken or not: the runtime can't know.
            for number in said.saturating_sub(2)..said + 2 {
                let text = raw(&number.to_string());
                let (_commit, missed) =
                    it.mailboxes.runtime_send(*runtime, Some(SenderSeq(number)), To::All, &text).unwrap();
                assert!(missed.is_empty());
            }
            let expected: Vec<String> = (0..said + 2).map(|it| format!("{{\"message\":{it}}}")).collect();
            for client in clients {
                assert_eq!(bodies(&it.fetch(*client).await), expected);
            }
        }
    }
}
