//! The foundation on a real database.
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

use omgservers_api::{Problem, Slot, TenantId, ids::Id as _};
use omgservers_core::{
    Batcher, Mint, Ownership, TenureState, Worker as _, db::Fault, mint::RenewBlocks, ownership::NOT_OWNER,
};
use omgservers_testkit::{Foundation, TestDb};

fn slot(number: u16) -> Slot {
    Slot::new(number).unwrap()
}

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
async fn a_server_that_writes_nothing_finds_that_one_slot_was_taken() {
    let foundation = Foundation::new(&[]).await;
    assert!(foundation.ownership.verify(&foundation.db).await.unwrap().is_empty());
    let other = Ownership::slots("other");
    other.acquire(&foundation.db, &Mint::empty(), &[slot(200)]).await.unwrap();
    assert_eq!(foundation.ownership.verify(&foundation.db).await.unwrap(), [slot(200)]);
    assert!(foundation.ownership.lost().is_cancelled(), "one server loses all slots at once");
}

#[tokio::test]
async fn who_loses_one_slot_goes_on_with_the_others() {
    let foundation = Foundation::new(&[]).await;
    let (one, other) = (Ownership::slots("one"), Ownership::slots("other"));
    let ids = Mint::empty();
    let tenures = one.acquire(&foundation.db, &ids, &[slot(3), slot(4)]).await.unwrap();
    assert!(tenures.iter().all(|it| it.state() == TenureState::Loading && it.epoch() > 0));
    tenures.iter().for_each(|it| one.serve(it));
    other.acquire(&foundation.db, &Mint::empty(), &[slot(4)]).await.unwrap();
    let [kept, lost] = &*tenures else { panic!("two tenures") };
    let both = [kept.slot(), lost.slot()];
    let refused = foundation.db.write_owned(&one, &both, async |_tx| Ok(())).await.unwrap_err();
    assert!(refused.is(NOT_OWNER));
    assert!(lost.is_lost() && one.serving(kept.slot()));
    foundation.db.write_owned(&one, &[kept.slot()], async |_tx| Ok(())).await.unwrap();
    assert!(!one.release(&foundation.db, &ids, lost).await.unwrap(), "it is another's");
    assert!(one.release(&foundation.db, &ids, kept).await.unwrap());
    assert!(
        foundation.db.write_owned(&one, &[kept.slot()], async |_tx| Ok(())).await.unwrap_err().is(NOT_OWNER)
    );
}

#[tokio::test]
async fn what_was_learned_in_one_tenure_is_not_written_in_the_next() {
    let foundation = Foundation::new(&[]).await;
    let (ownership, ids) = (Ownership::slots("one"), Mint::empty());
    let first = ownership.acquire(&foundation.db, &ids, &[slot(3)]).await.unwrap().pop().unwrap();
    foundation.db.write_fenced(&ownership, &first, async |_tx| Ok(())).await.unwrap();
    let second = ownership.acquire(&foundation.db, &ids, &[slot(3)]).await.unwrap().pop().unwrap();
    assert_eq!(second.epoch(), first.epoch() + 1);
    let refused = foundation.db.write_fenced(&ownership, &first, async |_tx| Ok(())).await.unwrap_err();
    assert!(refused.is(NOT_OWNER));
    foundation.db.write_fenced(&ownership, &second, async |_tx| Ok(())).await.unwrap();
}

#[tokio::test]
async fn ids_of_a_slot_that_comes_back_are_above_those_of_the_owner_in_between() {
    let foundation = Foundation::new(&[]).await;
    let (one, other) = (Ownership::slots("one"), Ownership::slots("other"));
    let (ours, theirs) = (Mint::empty(), Mint::empty());
    one.acquire(&foundation.db, &ours, &[slot(3)]).await.unwrap();
    let before: TenantId = ours.root().unwrap();
    other.acquire(&foundation.db, &theirs, &[slot(3)]).await.unwrap();
    let between: TenantId = theirs.root().unwrap();
    one.acquire(&foundation.db, &ours, &[slot(3)]).await.unwrap();
    let after: TenantId = ours.root().unwrap();
    assert!(before < between && between < after, "{before} {between} {after}");
}

#[tokio::test]
async fn a_mint_without_a_block_in_a_slot_gets_one_when_it_is_asked() {
    let foundation = Foundation::new(&[]).await;
    let parent: TenantId = foundation.mint.root().unwrap();
    let ids = Mint::empty();
    assert!(ids.child::<TenantId>(parent).is_err());
    RenewBlocks { db: foundation.db.clone(), mint: ids.clone() }.run_once().await.unwrap();
    assert_eq!(ids.child::<TenantId>(parent).unwrap().slot(), parent.slot());
    let elsewhere = slot((parent.slot().number() + 1) % 256);
    ids.prepare(&foundation.db, elsewhere).await.unwrap();
    assert!(ids.root::<TenantId>().is_err(), "roots are made in slots that this process has acquired");
    assert!(ids.prepare(&foundation.db, slot(4095)).await.is_err(), "the database has no such slot");
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
    let waiters = (0..100).map(|item| {
        let batcher = batcher.clone();
        tokio::spawn(async move { (item, batcher.submit(item).await.unwrap()) })
    });
    for waiter in waiters.collect::<Vec<_>>() {
        let (item, result) = waiter.await.unwrap();
        assert_eq!(result, item * 2);
    }
}
