//! Histories written by hand: what the judge lets pass, and what it doesn't.
#![expect(clippy::indexing_slicing, reason = "a test that can't go on must fail at once")]

use omgservers_torture::history::{Actor, Kind, Record, To, check, file};

const ANN: u64 = 1;
const BOB: u64 = 2;
const LOBBY: Actor = Actor::Runtime(10);

fn c(id: u64) -> Actor {
    Actor::Client(id)
}
fn sent(number: u64) -> Record {
    Record::Sent { from: c(ANN), number, to: To::Runtime }
}
fn taken(number: u64) -> Record {
    Record::Taken { from: c(ANN), number, surely: Vec::new() }
}
fn received(entry: u64, number: u64) -> Record {
    Record::Received { by: LOBBY, entry, from: c(ANN), number }
}
fn sent_by_lobby(number: u64, to: To) -> Record {
    Record::Sent { from: LOBBY, number, to }
}
fn lobby_taken(number: u64, surely: &[u64]) -> Record {
    Record::Taken { from: LOBBY, number, surely: surely.to_vec() }
}
fn received_by(client: u64, entry: u64, number: u64) -> Record {
    Record::Received { by: c(client), entry, from: LOBBY, number }
}
fn assigned(entry: u64, runtime: u64, is_match: bool) -> Record {
    Record::Assigned { client: ANN, entry, runtime, is_match }
}

/// The kinds of what is wrong.
fn kinds(history: Vec<Record>) -> Vec<Kind> {
    check(history).into_iter().map(|it| it.kind).collect()
}

#[track_caller]
fn good(history: Vec<Record>) {
    assert_eq!(check(history), []);
}

/// One violation, and what its sentence must name.
#[track_caller]
fn one(kind: Kind, names: &[&str], history: Vec<Record>) {
    let found = check(history);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, kind, "{found:?}");
    assert!(names.iter().all(|it| found[0].sentence.contains(it)), "{} names not {names:?}", found[0]);
}

#[test]
fn what_was_taken_and_received_in_order_is_good() {
    good(vec![sent(1), sent(2), received(100, 1), taken(1), taken(2), received(101, 2), received(101, 2)]);
}

#[test]
fn what_was_not_taken_may_arrive_or_not() {
    good(vec![sent(1), sent(2), sent(3), received(100, 2), taken(3), received(101, 3)]);
}

#[test]
fn what_was_taken_and_not_received_is_lost() {
    one(Kind::Loss, &["client 1", "message 2", "runtime"], vec![sent(2), taken(2)]);
    let both = To::Clients(vec![ANN, BOB]);
    let history = vec![sent_by_lobby(1, both), lobby_taken(1, &[]), received_by(ANN, 100, 1)];
    one(Kind::Loss, &["runtime 10", "message 1", "client 2"], history);
}

#[test]
fn a_receiver_that_is_gone_has_lost_nothing() {
    let both = To::Clients(vec![ANN, BOB]);
    good(vec![
        sent_by_lobby(1, both),
        lobby_taken(1, &[]),
        received_by(ANN, 100, 1),
        Record::Gone { who: c(BOB) },
    ]);
}

#[test]
fn a_broadcast_reaches_those_who_surely_were_there_and_perhaps_others() {
    let begin = || vec![sent_by_lobby(1, To::Members), received_by(BOB, 200, 1), lobby_taken(1, &[ANN])];
    let mut history = begin();
    history.push(received_by(ANN, 100, 1));
    good(history);
    one(Kind::Loss, &["message 1", "client 1"], begin());
}

#[test]
fn a_message_to_some_reaches_those_for_whom_it_surely_was_taken() {
    let both = || sent_by_lobby(1, To::Clients(vec![ANN, BOB]));
    good(vec![both(), lobby_taken(1, &[ANN]), received_by(ANN, 100, 1)]);
    one(
        Kind::Loss,
        &["message 1", "client 1"],
        vec![both(), lobby_taken(1, &[ANN]), received_by(BOB, 100, 1)],
    );
}

#[test]
fn a_later_message_before_an_earlier_one_is_a_reorder() {
    let history = vec![sent(1), sent(2), taken(1), taken(2), received(100, 2), received(101, 1)];
    one(Kind::Reorder, &["message 1", "client 1", "101", "after 2"], history);
}

#[test]
fn ids_that_go_back_are_a_reorder() {
    let history = vec![sent(1), sent(2), taken(1), taken(2), received(101, 1), received(100, 2)];
    one(Kind::Reorder, &["message 2", "100", "101"], history);
}

#[test]
fn a_message_under_two_ids_is_a_duplicate() {
    let history = vec![sent(1), received(100, 1), taken(1), received(101, 1)];
    one(Kind::Duplicate, &["message 1", "client 1", "100", "101"], history);
    // Also when two game servers have it.
    let other = Record::Received { by: Actor::Runtime(11), entry: 500, from: c(ANN), number: 1 };
    one(Kind::Duplicate, &["runtime 10", "runtime 11"], vec![sent(1), received(100, 1), taken(1), other]);
}

#[test]
fn what_was_received_before_a_kill_and_taken_after_it_may_come_again() {
    let history = |taken_before: bool| {
        let mut all = vec![sent(1), sent(2), received(100, 1), received(101, 2)];
        if taken_before {
            all.push(taken(1));
        }
        all.extend([Record::Down, Record::Up, taken(1), taken(2)]);
        all.extend([received(200, 1), received(201, 2)]);
        all
    };
    good(history(false));
    one(Kind::Duplicate, &["message 1", "200"], history(true));
}

#[test]
fn a_kill_excuses_no_reorder() {
    let history = vec![
        sent(1),
        sent(2),
        received(100, 2),
        Record::Down,
        Record::Up,
        taken(1),
        taken(2),
        received(200, 1),
    ];
    assert_eq!(kinds(history), [Kind::Reorder]);
}

#[test]
fn what_was_never_sent_is_a_phantom() {
    one(Kind::Phantom, &["message 7", "client 1", "100"], vec![received(100, 7)]);
    // To somebody else.
    let history = vec![sent_by_lobby(1, To::Clients(vec![ANN])), received_by(BOB, 100, 1)];
    one(Kind::Phantom, &["client 2", "message 1"], history);
    // Refused.
    let refused = Record::Refused { from: c(ANN), number: 1 };
    one(Kind::Phantom, &["message 1"], vec![sent(1), refused, received(100, 1)]);
    // Another one under the same id.
    let history = vec![sent(1), sent(2), received(100, 1), received(100, 2)];
    one(Kind::Phantom, &["message 2", "100", "message 1"], history);
}

#[test]
fn a_profile_is_the_last_one_that_was_taken_or_a_newer_one() {
    let set = |value| Record::ProfileSent { user: 5, value };
    let kept = |value| Record::ProfileTaken { user: 5, value };
    let asked = || Record::ProfileAsked { user: 5 };
    let read = |value| Record::ProfileRead { user: 5, value };
    good(vec![asked(), read(0), set(1), kept(1), set(2), kept(2), asked(), read(2)]);
    good(vec![set(1), kept(1), set(2), asked(), read(1)]);
    good(vec![set(1), kept(1), set(2), asked(), read(2)]);
    // The first one may have been written late: it was never taken.
    good(vec![set(1), set(2), kept(2), asked(), read(1)]);
    let history = vec![set(1), kept(1), set(2), kept(2), asked(), read(1)];
    one(Kind::Profile, &["user 5", "is 1", "2 was taken"], history);
    one(Kind::Profile, &["user 5", "is 0"], vec![set(1), kept(1), asked(), read(0)]);
    one(Kind::Profile, &["user 5", "is 3", "never set"], vec![asked(), read(3)]);
    let stored = |value| Record::ProfileStored { user: 5, value };
    good(vec![set(1), kept(1), stored(1), set(2), stored(2)]);
    one(Kind::Profile, &["user 5", "is 1"], vec![set(1), kept(1), set(2), kept(2), stored(1)]);
    // It may have been read before the second one was set: nobody had asked later.
    good(vec![asked(), set(1), kept(1), asked(), read(0)]);
    let refused = Record::ProfileRefused { user: 5, value: 1 };
    one(Kind::Profile, &["user 5", "refused"], vec![set(1), refused, asked(), read(1)]);
}

#[test]
fn a_ticket_ends_in_one_way_or_is_open() {
    let ticket = || vec![Record::TicketRequested { client: ANN }, Record::TicketTaken { client: ANN }];
    let then = |more: Vec<Record>| ticket().into_iter().chain(more).collect::<Vec<_>>();
    good(ticket());
    good(then(vec![assigned(100, 11, true)]));
    good(then(vec![Record::TicketFailed { client: ANN, entry: 100 }]));
    let both = then(vec![assigned(100, 11, true), Record::TicketFailed { client: ANN, entry: 101 }]);
    one(Kind::Ticket, &["client 1", "100", "101"], both);
    one(Kind::Ticket, &["client 1", "not open"], then(vec![Record::TicketVoid { client: ANN }]));
    one(Kind::Ticket, &["client 1", "never asked for a match"], vec![assigned(100, 11, true)]);
    // Whose outcome is unknown may be void.
    good(vec![Record::TicketRequested { client: ANN }, Record::TicketVoid { client: ANN }]);
    // The server assigns again what a kill has undone.
    let again = vec![assigned(100, 11, true), Record::Down, Record::Up, assigned(200, 11, true)];
    good(then(again));
}

#[test]
fn a_client_stays_with_its_assigned_runtime() {
    let elsewhere = |number| Record::Received { by: Actor::Runtime(11), entry: 500, from: c(ANN), number };
    let sent_by_lobby = || vec![assigned(100, 11, false), assigned(101, 10, false), sent(1), taken(1)];
    let then = |more: Vec<Record>| sent_by_lobby().into_iter().chain(more).collect::<Vec<_>>();
    good(then(vec![received(100, 1)]));
    let back = then(vec![elsewhere(1)]);
    one(Kind::Assignment, &["message 1", "client 1", "runtime 11", "runtime 10", "101"], back);
    // Its assignment may be about to come.
    good(then(vec![elsewhere(1), assigned(102, 11, false)]));
    // A kill doesn't undo what was durable.
    let mut history = then(vec![received(100, 1), Record::Down, Record::Up, sent(2), taken(2), elsewhere(2)]);
    assert_eq!(kinds(history.clone()), [Kind::Assignment]);
    // But it does undo what may not have been.
    history.retain(|it| *it != sent(1) && *it != taken(1) && *it != received(100, 1));
    good(history);
}

#[test]
fn a_client_is_with_the_runtime_of_its_assignment() {
    one(Kind::Assignment, &["message 1", "client 1", "runtime 10", "runtime 11", "no other assignment"], {
        vec![assigned(100, 11, false), sent(1), taken(1), received(100, 1)]
    });
    good(vec![assigned(100, 11, false), sent(1), taken(1), received(100, 1), assigned(101, 10, false)]);
}

#[test]
fn a_session_that_ends_without_a_cause_is_reported() {
    let ended = Record::Ended { who: c(ANN), why: "CLIENT_INACTIVITY".into() };
    one(Kind::Ended, &["client 1", "CLIENT_INACTIVITY"], vec![ended]);
}

#[test]
fn a_history_is_read_back_from_its_file() {
    let history = vec![
        sent(1),
        sent_by_lobby(1, To::Clients(vec![ANN, BOB])),
        sent_by_lobby(2, To::Members),
        lobby_taken(2, &[ANN]),
        received(u64::MAX, 1),
        Record::Ended { who: LOBBY, why: "so \"it\" is\n".into() },
        Record::Down,
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("history.jsonl");
    file::write(&path, &history).unwrap();
    let back: Vec<Record> = file::read(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(back, history);
    std::fs::write(&path, "{\"what\":\"down\"}\n{\"what\":\"taken\",\"from\":\"x1\",\"number\":1}\n")
        .unwrap();
    let wrong = file::read(&path).unwrap().find_map(Result::err).unwrap().to_string();
    assert!(wrong.contains("line 2") && wrong.contains("x1"), "{wrong}");
}
