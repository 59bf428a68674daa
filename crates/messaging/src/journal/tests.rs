//! What a journal does without a database.

use omgservers_api::{
    ClientId, EntryId,
    ids::{Id as _, SenderSeq},
    roles::Delivery,
};
use omgservers_testkit::Foundation;
use serde_json::value::RawValue;

use super::{
    batch::{MOST_BYTES, MOST_RECORDS},
    *,
};
use crate::{Mailboxes, Op, SCHEMA, To, entry::QueuedEntry, qualifier::Qualifier};

fn journal() -> Journal {
    Journal::new(&Bounds::default(), Ownership::Whole(Arc::default()))
}

fn entry(journal: &Journal, id: i64, body: &str) -> QueuedEntry {
    let mut writing = journal.write();
    let (id, body, qualifier) = (EntryId::from_i64(id).unwrap(), body.into(), Qualifier::HANDLE_MESSAGE);
    let position = writing.entry(7, id, EntryKind::Inbox, qualifier, &body);
    let _commit = writing.commit(&mut journal.deferred());
    QueuedEntry { id, qualifier, body, position, completion: None }
}

fn consume(journal: &Journal, entry: &QueuedEntry) {
    let mut writing = journal.write();
    writing.consumed(7, entry);
    writing.lazily(&mut journal.deferred());
}

#[test]
fn what_is_consumed_before_it_is_written_is_neither_written_nor_deleted() {
    let journal = journal();
    let (one, two) = (entry(&journal, 1, "1"), entry(&journal, 2, "2"));
    consume(&journal, &one);
    let batch = journal.take().unwrap();
    let rows = record::Rows::fold(&batch.records);
    assert_eq!((rows.entries.id.as_slice(), rows.consumed.id.as_slice()), ([2].as_slice(), [].as_slice()));
    consume(&journal, &two);
    assert!(journal.take().is_err(), "nobody waits for it");
    journal.lock().urgent = true;
    let batch = journal.take().unwrap();
    let rows = record::Rows::fold(&batch.records);
    assert_eq!((rows.entries.id.as_slice(), rows.consumed.id.as_slice()), ([].as_slice(), [2].as_slice()));
}

#[test]
fn full_batches_are_written_in_order_and_what_waits_in_them_can_be_cancelled() {
    let journal = journal();
    let most = i64::try_from(MOST_RECORDS).unwrap();
    let all: Vec<QueuedEntry> = (1..=most * 2 + 1).map(|id| entry(&journal, id, "1")).collect();
    assert_eq!(journal.depth(), all.len());
    for index in [0, MOST_RECORDS, 2 * MOST_RECORDS] {
        consume(&journal, &all[index]);
    }
    let mut first = 1;
    for size in [MOST_RECORDS, MOST_RECORDS, 1] {
        let batch = journal.take().unwrap();
        assert_eq!(batch.records.len(), size);
        assert!(matches!(batch.records[0], Record::Cancelled));
        let ids = record::Rows::fold(&batch.records).entries.id;
        assert_eq!(ids, ((first + 1)..first + i64::try_from(size).unwrap()).collect::<Vec<_>>());
        first += i64::try_from(size).unwrap();
    }
    assert!(journal.take().is_err());
    assert_eq!(journal.depth(), 0);
}

#[test]
fn what_is_elsewhere_from_a_later_batch_on_is_written_in_its_own_and_deleted_in_that() {
    let journal = journal();
    let most = i64::try_from(MOST_RECORDS).unwrap();
    let all: Vec<QueuedEntry> = (1..=most + 1).map(|id| entry(&journal, id, "1")).collect();
    for moved in [&all[0], &all[MOST_RECORDS]] {
        let mut writing = journal.write();
        writing.moved(7, moved);
        writing.lazily(&mut journal.deferred());
    }
    let first = journal.take().unwrap();
    assert_eq!(record::Rows::fold(&first.records).entries.id, (1..=most).collect::<Vec<_>>());
    let second = journal.take().unwrap();
    let rows = record::Rows::fold(&second.records);
    assert_eq!((rows.entries.id.as_slice(), rows.consumed.id.as_slice()), ([].as_slice(), [1].as_slice()));
}

#[test]
fn a_batch_is_bounded_by_bytes() {
    let journal = journal();
    let large = "x".repeat(MOST_BYTES / 2);
    for id in 1..=3 {
        entry(&journal, id, &large);
    }
    assert_eq!(journal.take().unwrap().records.len(), 2);
    assert_eq!(journal.take().unwrap().records.len(), 1);
}

#[tokio::test]
async fn after_the_end_every_wait_ends_with_the_outcome_and_nothing_is_kept() {
    let journal = journal();
    assert!(journal.write().commit(&mut journal.deferred()).is_safe(), "nothing was written");
    entry(&journal, 1, "1");
    let one = journal.so_far(&mut journal.deferred());
    journal.stop(BatchOutcome::Lost);
    let entry = entry(&journal, 2, "2");
    let late = journal.so_far(&mut journal.deferred());
    consume(&journal, &entry);
    for commit in [one, late, journal.write().commit(&mut journal.deferred())] {
        assert!(commit.wait().await.unwrap_err().is(omgservers_core::ownership::NOT_OWNER));
    }
    assert_eq!(journal.depth(), 0);
}

#[tokio::test]
async fn a_batch_lingers_for_the_senders_that_waited_for_the_last_one_but_not_for_long() {
    let journal = Arc::new(journal());
    let slow = Duration::from_secs(1);
    let linger = || {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move { journal.linger(2, slow).await })
    };
    let first = linger();
    tokio::task::yield_now().await;
    let start = Instant::now();
    entry(&journal, 1, "1");
    assert!(!first.is_finished());
    entry(&journal, 2, "2");
    first.await.unwrap();
    assert_eq!(journal.take().unwrap().commits, 2);
    // No sender comes: the pause ends by itself. After the commit of a single sender there is no
    // pause.
    linger().await.unwrap();
    journal.linger(1, slow).await;
    assert!(start.elapsed() < slow / 4);
}

#[tokio::test]
async fn wherever_the_journal_is_cut_a_counter_is_on_the_side_of_the_messages_that_it_counts() {
    let foundation = Foundation::new(&[SCHEMA]).await;
    let (clock, mint, ownership) =
        (foundation.clock(), foundation.mint.clone(), foundation.ownership.clone());
    let mailboxes = Mailboxes::open(&foundation.db, clock, mint, ownership, Bounds::default()).await.unwrap();
    let (user, deployment) = (foundation.mint.root().unwrap(), foundation.mint.root().unwrap());
    let (runtime, delivery) = (foundation.mint.root().unwrap(), Delivery::Durable);
    let clients: Vec<ClientId> = (0..5).map(|_| foundation.mint.child(user).unwrap()).collect();
    let mut ops = vec![Op::OpenRuntime { runtime, deployment, delivery }];
    for client in clients.iter().copied() {
        let route = Op::Route { client, to: Some(runtime) };
        ops.extend([Op::OpenClient { client, user, deployment, delivery }, route]);
    }
    mailboxes.apply(ops).unwrap().wait().await.unwrap();
    mailboxes.writer.abort();
    while !mailboxes.writer.is_finished() {
        tokio::task::yield_now().await;
    }
    // Commands of different lengths, so that the ends of batches come in the middle of some.
    let to = [To::One(clients[0]), To::All, To::Some(&clients[..3]), To::Some(&[]), To::All];
    let mut entries_before = vec![0];
    for (seq, to) in (0..u64::try_from(2 * MOST_RECORDS).unwrap()).zip(to.iter().cycle()) {
        let text = RawValue::from_string(seq.to_string()).unwrap();
        let (_commit, missed) = mailboxes.runtime_send(runtime, Some(SenderSeq(seq)), *to, &text).unwrap();
        assert!(missed.is_empty());
        let count = match to {
            To::One(_) => 1,
            To::Some(some) => some.len(),
            To::All => clients.len(),
        };
        entries_before.push(entries_before.last().unwrap() + count);
    }
    let (mut entries, mut batches) = (0, 0);
    while let Ok(batch) = mailboxes.journal.take() {
        let rows = record::Rows::fold(&batch.records);
        entries += rows.entries.id.len();
        batches += 1;
        let seq = usize::try_from(rows.seqs.seq[0]).unwrap();
        assert_eq!(entries, entries_before[seq + 1], "batch {batches} ends with counter {seq}");
    }
    assert!(batches > 4 && entries == *entries_before.last().unwrap(), "{batches} batches");
}
