//! The ground on a real database.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect must fail at once")]

mod queue;
mod workers;

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use omgservers_api::{Problem, TenantId, ids::Id as _};
use omgservers_core::{Batcher, Mint, Ownership, db::Fault, ownership::NOT_OWNER};
use omgservers_testkit::{Foundation, TestDb};

#[tokio::test]
async fn two_mints_never_make_the_same_id() {
    let test_db = TestDb::new(&[]).await;
    let db = test_db.pool(2).await;
    let (one, two) = (Mint::take(&db).await.unwrap(), Mint::take(&db).await.unwrap());
    let mut seen = HashSet::new();
    for _ in 0..2_000 {
        assert!(seen.insert(one.root::<TenantId>().unwrap()));
        assert!(seen.insert(two.root::<TenantId>().unwrap()));
    }
    let slots: HashSet<_> = seen.iter().map(|it| it.slot()).collect();
    assert_eq!(slots.len(), 256, "roots spread over the open slots");
}

#[tokio::test]
async fn children_live_in_the_slot_of_their_root_and_their_ids_grow() {
    let foundation = Foundation::new(&[]).await;
    let root: TenantId = foundation.mint.root().unwrap();
    let children: Vec<TenantId> = (0..100).map(|_| foundation.mint.child(root).unwrap()).collect();
    assert!(children.iter().all(|it| it.slot() == root.slot()));
    assert!(children.is_sorted());
}

#[tokio::test]
async fn who_lost_the_slots_can_not_write_and_knows_it() {
    let foundation = Foundation::new(&[]).await;
    let slot = foundation.mint.root::<TenantId>().unwrap().slot();
    foundation.db.write_owned(&foundation.ownership, &[slot], async |_tx| Ok(())).await.unwrap();
    let _other = Ownership::take(&foundation.db, "other").await.unwrap();
    let refused =
        foundation.db.write_owned(&foundation.ownership, &[slot], async |_tx| Ok(())).await.unwrap_err();
    assert!(refused.is(NOT_OWNER));
    assert!(foundation.ownership.lost().is_cancelled());
}

#[tokio::test]
async fn a_cancelled_transaction_leaves_no_lock() {
    let foundation = Foundation::new(&[]).await;
    let slots = [foundation.mint.root::<TenantId>().unwrap().slot()];
    let stuck = foundation.db.write_owned(&foundation.ownership, &slots, async |_tx| {
        std::future::pending::<()>().await;
        Ok(())
    });
    assert!(tokio::time::timeout(Duration::from_millis(100), stuck).await.is_err());
    // Taking the slots needs the rows that the cancelled transaction had locked.
    tokio::time::timeout(Duration::from_secs(4), Ownership::take(&foundation.db, "next"))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn an_injected_fault_after_the_commit_leaves_the_change() {
    let foundation = Foundation::new(&[]).await;
    let armed = Arc::new(AtomicBool::new(true));
    let faulty = foundation.db.with_faults({
        let armed = Arc::clone(&armed);
        Arc::new(move || armed.swap(false, Ordering::SeqCst).then_some(Fault::AfterCommit))
    });
    assert!(Ownership::take(&faulty, "faulty").await.is_err());
    let slot = foundation.mint.root::<TenantId>().unwrap().slot();
    assert!(foundation.db.write_owned(&foundation.ownership, &[slot], async |_tx| Ok(())).await.is_err());
}

#[tokio::test]
async fn a_batch_gives_each_waiter_its_own_result() {
    let batcher = Batcher::new("test", 16, |items: Vec<u32>| async move {
        Ok::<_, Problem>(items.iter().map(|it| it * 2).collect())
    });
    let waiters = (0..100).map(|it| {
        let batcher = batcher.clone();
        tokio::spawn(async move { (it, batcher.submit(it).await.unwrap()) })
    });
    for waiter in waiters.collect::<Vec<_>>() {
        let (item, result) = waiter.await.unwrap();
        assert_eq!(result, item * 2);
    }
}
