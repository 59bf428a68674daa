//! Two mailboxes on one database that own disjoint slots.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use omgservers_api::{Problem, ids::Id as _};
use omgservers_core::ownership::NOT_OWNER;
use omgservers_messaging::{Messaging as _, Op, SCHEMA};
use omgservers_testkit::Foundation;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    fixture::{bodies, eventually, handled, ids, init, welcome},
    node::{Node, Session, deployment_in, slot},
};

struct Fixture {
    foundation: Foundation,
    one: Node,
    two: Node,
}

impl Fixture {
    async fn new() -> Self {
        let foundation = Foundation::new(&[SCHEMA]).await;
        let one = Node::start("one", &foundation.db, foundation.clock()).await;
        let two = Node::start("two", &foundation.db, foundation.clock()).await;
        Self { foundation, one, two }
    }

    /// Keeps every fence on a slot waiting until the answer is committed or dropped.
    async fn hold(&self, number: i16) -> Client {
        let sql = self.foundation.test_db.sql().await;
        sql.batch_execute("begin").await.unwrap();
        sql.query("select 1 from core.slot where number = $1 for update", &[&number]).await.unwrap();
        sql
    }

    /// Waits until a fence waits for [`hold`](Self::hold).
    async fn until_fence_waits(&self) {
        let sql = self.foundation.test_db.sql().await;
        let waiting = "select count(*) from pg_stat_activity \
             where datname = current_database() and wait_event_type = 'Lock' and query like '%core.slot%for share%'";
        let waits = async || sql.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) > 0;
        eventually("the writer waits", waits).await;
    }

    async fn stored(&self, session: Session) -> Vec<String> {
        let sql = self.foundation.test_db.sql().await;
        let entries = "select body from messaging.entry where mailbox_id = $1 order by id";
        sql.query(entries, &[&session.runtime.get()]).await.unwrap().iter().map(|row| row.get(0)).collect()
    }
}

fn is_not_owner<T>(result: Result<T, Problem>) -> bool {
    result.is_err_and(|it| it.is(NOT_OWNER))
}

#[tokio::test]
async fn a_batch_with_a_lost_slot_is_written_without_it() {
    let fixture = Fixture::new().await;
    for number in [3, 4] {
        fixture.one.take(slot(number)).await.unwrap();
    }
    let (kept, lost) = (fixture.one.session(slot(3)).await, fixture.one.session(slot(4)).await);
    let hold = fixture.hold(3).await;
    let first = fixture.one.send(kept, "0").unwrap();
    fixture.until_fence_waits().await;
    // One batch: messages of both slots, and a change of each that waits for the batch as a whole.
    let (of_kept, of_lost) = (fixture.one.send(kept, "1").unwrap(), fixture.one.send(lost, "2").unwrap());
    let kept_batch = fixture.one.mailboxes.apply(vec![init(kept.runtime)]).unwrap();
    let lost_batch = fixture.one.mailboxes.apply(vec![welcome(lost.client)]).unwrap();
    fixture.two.take(slot(4)).await.unwrap();
    hold.batch_execute("commit").await.unwrap();

    first.wait().await.unwrap();
    of_kept.wait().await.unwrap();
    kept_batch.wait().await.unwrap();
    assert!(is_not_owner(of_lost.wait().await));
    assert!(is_not_owner(lost_batch.wait().await));
    assert_eq!(fixture.stored(kept).await.len(), 3);
    assert!(fixture.stored(lost).await.is_empty(), "what was refused is not stored");

    // The first goes on with its other slots, the second with what it took.
    fixture.one.send(kept, "3").unwrap().wait().await.unwrap();
    assert!(is_not_owner(fixture.one.send(lost, "4")) && is_not_owner(fixture.one.fetch(lost).await));
    assert!(is_not_owner(fixture.two.send(kept, "5")));
    fixture.two.send(lost, "6").unwrap().wait().await.unwrap();
    let between = fixture.two.fetch(lost).await.unwrap();
    assert_eq!(bodies(&between), [handled(lost.client, "6")]);

    // Back again: in order, and above the ids of the owner in between.
    fixture.one.take(slot(4)).await.unwrap();
    fixture.one.send(lost, "7").unwrap().wait().await.unwrap();
    let after = fixture.one.fetch(lost).await.unwrap();
    assert_eq!(bodies(&after), [handled(lost.client, "6"), handled(lost.client, "7")]);
    assert!(ids(&after)[1] > ids(&between)[0]);
    assert!(
        is_not_owner(fixture.two.send(lost, "8").unwrap().wait().await),
        "the second learns it at its fence"
    );
    assert_eq!(fixture.stored(lost).await.len(), 2);
}

#[tokio::test]
async fn what_was_changed_in_an_earlier_tenure_is_not_written_in_the_next() {
    let fixture = Fixture::new().await;
    for number in [3, 4] {
        fixture.one.take(slot(number)).await.unwrap();
    }
    let (kept, lost) = (fixture.one.session(slot(3)).await, fixture.one.session(slot(4)).await);
    fixture.one.send(lost, "1").unwrap().wait().await.unwrap();
    let waiting = fixture.one.fetch(lost).await.unwrap();
    let hold = fixture.hold(3).await;
    // Consumption waits for company, so it is in the batch of the message.
    fixture.one.mailboxes.runtime_ack(lost.runtime, &ids(&waiting)).unwrap();
    let of_kept = fixture.one.send(kept, "2").unwrap();
    fixture.until_fence_waits().await;
    fixture.two.take(slot(4)).await.unwrap();
    fixture.one.take(slot(4)).await.unwrap();
    assert_eq!(
        ids(&fixture.one.fetch(lost).await.unwrap()),
        ids(&waiting),
        "it was not consumed in the database"
    );
    hold.batch_execute("commit").await.unwrap();
    of_kept.wait().await.unwrap();
    assert_eq!(fixture.stored(lost).await.len(), 1);
    assert!(fixture.one.ownership.serving(slot(4)), "the present tenure is not lost with the earlier one");
    fixture.one.send(lost, "3").unwrap().wait().await.unwrap();
    assert_eq!(fixture.stored(lost).await.len(), 2);
}

#[tokio::test]
async fn a_receiver_in_a_lost_slot_learns_it_before_its_wait_is_over() {
    let fixture = Fixture::new().await;
    fixture.one.take(slot(4)).await.unwrap();
    let lost = fixture.one.session(slot(4)).await;
    let poll = {
        let mailboxes = Arc::clone(&fixture.one.mailboxes);
        tokio::spawn(async move { mailboxes.runtime_receive(lost.runtime, Duration::from_secs(60)).await })
    };
    let stream = {
        let mailboxes = Arc::clone(&fixture.one.mailboxes);
        let wait = Duration::from_secs(60);
        tokio::spawn(async move { mailboxes.client_receive(lost.user, lost.client, None, &[], wait).await })
    };
    tokio::task::yield_now().await;
    fixture.two.take(slot(4)).await.unwrap();
    assert_eq!(fixture.one.ownership.verify(&fixture.foundation.db).await.unwrap(), [slot(4)]);
    let both = async { (poll.await.unwrap(), stream.await.unwrap()) };
    let (poll, stream) = tokio::time::timeout(Duration::from_secs(20), both).await.unwrap();
    assert!(is_not_owner(poll) && is_not_owner(stream));
}

#[tokio::test]
async fn a_frozen_slot_leaves_nothing_behind_its_flush() {
    let fixture = Fixture::new().await;
    let tenure = fixture.one.take(slot(4)).await.unwrap();
    let session = fixture.one.session(slot(4)).await;
    let fixture = Arc::new(fixture);
    let mut senders = JoinSet::new();
    for sender in 1..=4 {
        let fixture = Arc::clone(&fixture);
        senders.spawn(async move {
            let mut accepted = 0;
            // What the mailbox has accepted must be in the database after the freeze, acknowledged
            // or not.
            loop {
                match fixture.one.send(session, &format!("{sender}{accepted}")) {
                    Ok(_ack) => accepted += 1,
                    Err(problem) if problem.is(NOT_OWNER) => return accepted,
                    Err(problem) => panic!("{problem:?}"),
                }
                // The mailbox must not be full before the freeze.
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        });
    }
    eventually("messages are stored", async || fixture.stored(session).await.len() > 20).await;
    fixture.one.mailboxes.freeze(&tenure).await.unwrap();
    let stored = fixture.stored(session).await.len();
    let accepted: usize = senders.join_all().await.into_iter().sum();
    assert_eq!(stored, accepted);
    assert!(is_not_owner(fixture.one.send(session, "1")), "nobody is answered any more");
    assert!(fixture.one.ownership.release(&fixture.foundation.db, &fixture.one.mint, &tenure).await.unwrap());
    fixture.one.mailboxes.unload(slot(4));
    assert_eq!(fixture.one.mailboxes.clients_in(deployment_in(slot(4))), []);
    fixture.two.take(slot(4)).await.unwrap();
    assert_eq!(fixture.two.mailboxes.clients_in(deployment_in(slot(4))).len(), 1);
    assert_eq!(fixture.stored(session).await.len(), accepted);
}

#[tokio::test]
async fn one_call_does_not_change_mailboxes_of_two_slots() {
    let fixture = Fixture::new().await;
    for number in [3, 4] {
        fixture.one.take(slot(number)).await.unwrap();
    }
    let (here, there) = (fixture.one.session(slot(3)).await, fixture.one.session(slot(4)).await);
    let refused =
        fixture.one.mailboxes.apply(vec![Op::Route { client: here.client, to: Some(there.runtime) }]);
    assert!(refused.is_err());
    assert_eq!(fixture.one.mailboxes.client(here.client).unwrap().route, Some(here.runtime));
}

/// Small and the same everywhere.
struct Rng(u64);

impl Rng {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[tokio::test]
async fn what_is_acknowledged_is_stored_whoever_takes_a_slot_and_whichever_connection_ends() {
    for seed in 0..4 {
        takes_and_faults(seed).await;
    }
}

async fn takes_and_faults(seed: u64) {
    let fixture = Fixture::new().await;
    let (nodes, mut rng) = ([&fixture.one, &fixture.two], Rng(seed));
    let slots = [slot(3), slot(4), slot(5)];
    let (mut owners, mut sessions) = ([0, 0, 0], Vec::new());
    for slot in slots {
        fixture.one.take(slot).await.unwrap();
        sessions.push(fixture.one.session(slot).await);
    }
    let sql = fixture.foundation.test_db.sql().await;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity \
         where datname = current_database() and application_name = 'omgservers messaging'";
    let (mut number, mut waiting) = (0, JoinSet::new());
    let mut sent: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for _ in 0..120 {
        let of = rng.roll(slots.len());
        match rng.roll(12) {
            0 => {
                owners[of] = 1 - owners[of];
                nodes[owners[of]].take(slots[of]).await.unwrap();
            }
            // Back to itself: a new tenure of the same owner.
            1 => drop(nodes[owners[of]].take(slots[of]).await.unwrap()),
            2 if rng.roll(2) == 0 => drop(sql.query(end, &[]).await.unwrap()),
            3 => tokio::time::sleep(Duration::from_millis(2)).await,
            _ => {
                let by = if rng.roll(5) == 0 { 1 - owners[of] } else { owners[of] };
                number += 1;
                if let Ok(ack) = nodes[by].send(sessions[of], &number.to_string()) {
                    sent.entry(of).or_default().push(number);
                    waiting.spawn(async move { (of, number, ack.wait().await) });
                }
            }
        }
    }
    let outcomes = waiting.join_all().await;
    assert!(outcomes.iter().any(|it| it.2.is_ok()), "seed {seed}");
    for (of, session) in sessions.iter().enumerate() {
        let stored = fixture.stored(*session).await;
        let number = |body: &String| -> usize {
            body.rsplit(':').next().unwrap().trim_end_matches('}').parse().unwrap()
        };
        let numbers: Vec<usize> = stored.iter().map(number).collect();
        assert!(numbers.is_sorted_by(|one, two| one < two), "seed {seed}, in order and once: {numbers:?}");
        assert!(numbers.iter().all(|it| sent[&of].contains(it)), "seed {seed}: {numbers:?}");
        for (_, acknowledged, _) in outcomes.iter().filter(|it| it.0 == of && it.2.is_ok()) {
            assert!(numbers.contains(acknowledged), "seed {seed}: {acknowledged} of {numbers:?}");
        }
        for (_, refused, outcome) in outcomes.iter().filter(|it| it.0 == of) {
            let lost = outcome.as_ref().is_err_and(|it| it.is(NOT_OWNER));
            assert!(outcome.is_ok() || lost, "seed {seed}: {refused} {outcome:?}");
        }
        let owner = nodes[owners[of]];
        let received = owner.mailboxes.runtime_receive(session.runtime, Duration::ZERO).await.unwrap();
        assert_eq!(bodies(&received), stored, "seed {seed}: the owner has what the database has");
    }
}
