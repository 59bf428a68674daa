//! Figures of the pool on one core: `cargo bench -p omgservers-matcher`.
//!
//! It prints a table in Markdown, and fails when a bar is missed; `--report-only` only tells. The
//! baseline is a pool without an index: each ticket looks at all that wait.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for the command line, and nothing else"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::BTreeMap,
    hint::black_box,
    process::ExitCode,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use omgservers_api::{ClientId, MatchId, TicketId, config::ModeConfig, ids::Id as _, interchange::Attribute};
use omgservers_matcher::{Effect, Millis, Pool, Seat, Ticket};

/// Counts what is in use.
struct Counting;

static IN_USE: AtomicUsize = AtomicUsize::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator is")]
// SAFETY: it is the system's, with a number beside it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size(), Relaxed);
        // SAFETY: as given.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as given.
        unsafe { System.dealloc(at, layout) }
    }
}

const DUEL: &str = r#"{"name":"duel","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}]}"#;
const SKILL: &str = r#"{"name":"skill","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":100}]}}"#;
const TEAMS: &str = r#"{"name":"teams","min_players":10,"max_players":10,
    "groups":[{"name":"red","min_players":5,"max_players":5},{"name":"blue","min_players":5,"max_players":5}],
    "matchmaking":{"rules":[
        {"kind":"equal","name":"region","attribute":"region"},
        {"kind":"range","name":"skill","attribute":"skill","max_difference":300},
        {"kind":"team_balance","name":"fair","attribute":"skill","max_difference":50}]}}"#;
const HUGE: &str = r#"{"name":"huge","min_players":1000000,"max_players":1000000,
    "groups":[{"name":"all","min_players":1000000,"max_players":1000000}]}"#;
const APART: &str = r#"{"name":"apart","min_players":2,"max_players":2,
    "groups":[{"name":"all","min_players":2,"max_players":2}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":0.5}]}}"#;
const ROYALE: &str = r#"{"name":"royale","min_players":100,"max_players":100,
    "groups":[{"name":"all","min_players":100,"max_players":100}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":100}]}}"#;

const OPEN: &str = r#"{"name":"open","min_players":2,"max_players":100,
    "groups":[{"name":"all","min_players":2,"max_players":100}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":100}]}}"#;
const LACKING: &str = r#"{"name":"lacking","min_players":4,"max_players":100,
    "groups":[{"name":"all","min_players":4,"max_players":100}],
    "matchmaking":{"rules":[{"kind":"range","name":"skill","attribute":"skill","max_difference":100}]}}"#;

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(below)).unwrap()
    }
}

fn mode(json: &str) -> ModeConfig {
    serde_json::from_str(json).unwrap()
}

/// One client, a skill, a region.
fn ticket(number: u32, skill: f64, region: Option<u32>) -> Ticket {
    let mut attributes = BTreeMap::from([("skill".to_owned(), Attribute::Number(skill))]);
    attributes.extend(region.map(|it| ("region".to_owned(), Attribute::Text(format!("region-{it}")))));
    Ticket {
        id: TicketId::from_i64(i64::from(number) + 1).unwrap(),
        position: u64::from(number),
        clients: vec![ClientId::from_i64(i64::from(number) + 1).unwrap()],
        attributes,
        entered: Millis(i64::from(number)),
    }
}

fn tickets(count: u32, regions: Option<u32>) -> Vec<Ticket> {
    let mut numbers = Numbers(7);
    (0..count)
        .map(|index| {
            let skill = f64::from(numbers.next(3_000));
            ticket(index, skill, regions.map(|it| numbers.next(it)))
        })
        .collect()
}

fn far_apart(count: u32) -> Vec<Ticket> {
    tickets(count, None)
        .into_iter()
        .zip(0..)
        // An order that isn't the values' own.
        .map(|(far, number)| Ticket {
            attributes: ticket(0, f64::from(number_of(number, count)), None).attributes,
            ..far
        })
        .collect()
}

fn number_of(index: u32, count: u32) -> u32 {
    u32::try_from(u64::from(index) * 7_919 % u64::from(count)).unwrap()
}

/// Ids that count up from a high number, so that those of `with_matches` are older.
fn new_ids() -> impl FnMut() -> Option<MatchId> {
    let mut last = 1_000_000_000;
    move || {
        last += 1;
        MatchId::from_i64(last)
    }
}

struct Run {
    took: Duration,
    matches: usize,
    pool: Pool,
}

/// Adds all, closes each full match at once.
fn run(mode_json: &str, tickets: Vec<Ticket>) -> Run {
    let (mut pool, mut ids) = (Pool::new(&mode(mode_json)), new_ids());
    let mut matches = 0;
    let start = Instant::now();
    for ticket in tickets {
        let now = ticket.entered;
        for effect in pool.add(ticket, now, &mut ids).unwrap() {
            if let Effect::Form { match_id, .. } = effect {
                matches += 1;
                pool.close_match(match_id);
            }
        }
    }
    Run { took: start.elapsed(), matches, pool }
}

/// The median of three.
fn timed(mode_json: &str, tickets: &[Ticket]) -> Run {
    let mut runs: Vec<Run> = (0..3).map(|_| run(mode_json, tickets.to_vec())).collect();
    runs.sort_by_key(|it| it.took);
    runs.swap_remove(1)
}

/// A pool without an index: pairs within a difference, first come first served.
fn naive(tickets: Vec<Ticket>, most: f64) -> Duration {
    let skill = |ticket: &Ticket| match ticket.attributes.get("skill") {
        Some(Attribute::Number(skill)) => *skill,
        _ => 0.0,
    };
    let start = Instant::now();
    let mut waiting: Vec<Ticket> = Vec::new();
    let mut matches = Vec::new();
    for ticket in tickets {
        let mine = skill(&ticket);
        match waiting.iter().position(|it| (skill(it) - mine).abs() <= most) {
            Some(other) => matches.push((waiting.remove(other), ticket)),
            None => waiting.push(ticket),
        }
    }
    black_box(&matches);
    start.elapsed()
}

/// The time of an add to a pool in which so many wait, microseconds.
fn add_to_waiting(mode_json: &str, mut waiting: Vec<Ticket>, more: usize) -> f64 {
    let added = waiting.split_off(waiting.len() - more);
    let mut run = run(mode_json, waiting);
    assert_eq!(run.matches, 0, "they can't be matched");
    let mut ids = new_ids();
    let start = Instant::now();
    for ticket in added {
        let now = ticket.entered;
        assert!(run.pool.add(ticket, now, &mut ids).unwrap().is_empty(), "they can't be matched");
    }
    per(start.elapsed(), more)
}

fn per(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap())
}

#[derive(Default)]
struct Report {
    rows: Vec<[String; 5]>,
    missed: bool,
}

impl Report {
    fn line(&mut self, what: &str, value: f64, unit: &str, baseline: Option<(f64, &str)>, bar: Option<f64>) {
        let met = bar.is_none_or(|it| value < it);
        self.missed |= !met;
        let against =
            baseline.map(|(it, what)| format!("{} {unit} ({what}): {:.0} ×", number(it), it / value));
        self.rows.push([
            what.to_owned(),
            format!("{} {unit}", number(value)),
            against.unwrap_or_default(),
            bar.map(|it| format!("< {it} {unit}")).unwrap_or_default(),
            bar.map_or("", |_| if met { "yes" } else { "**no**" }).to_owned(),
        ]);
    }

    fn print(&self) {
        println!("| What | Ours | Baseline: ratio | Bar | Met |\n| --- | --- | --- | --- | --- |");
        for row in &self.rows {
            println!("| {} |", row.join(" | "));
        }
    }
}

fn number(value: f64) -> String {
    match value {
        _ if value >= 100.0 => format!("{value:.0}"),
        _ if value >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn main() -> ExitCode {
    let report_only = std::env::args().any(|it| it == "--report-only");
    let mut report = Report::default();
    bars(&mut report);
    waiting(&mut report);
    growth(&mut report);
    others(&mut report);
    memory(&mut report);
    report.print();
    if report.missed && !report_only { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn bars(report: &mut Report) {
    for (what, json, bar) in [
        ("100,000 tickets, 1v1 without a rule, all matched", DUEL, 1.0),
        ("100,000 tickets, 1v1 with skill ±100 of 3,000, all matched", SKILL, 2.0),
    ] {
        let run = timed(json, &tickets(100_000, None));
        assert!(run.matches > 49_900, "{} matches", run.matches);
        report.line(what, run.took.as_secs_f64(), "s", None, Some(bar));
    }
}

fn waiting(report: &mut Report) {
    let more = 10_000;
    let huge = add_to_waiting(HUGE, tickets(110_000, None), more);
    report.line("add to 100,000 that wait for a match of 1,000,000", huge, "µs", None, Some(10.0));
    let apart = add_to_waiting(APART, far_apart(110_000), more);
    report.line("add to 100,000 that wait, too far apart for 1v1", apart, "µs", None, Some(10.0));
    for count in [1_000, 10_000] {
        let all = far_apart(count);
        let (ours, theirs) = (timed(APART, &all), naive(all.clone(), 0.5));
        let each = usize::try_from(count).unwrap();
        let what = format!("add, 1v1, {count} too far apart");
        report.line(&what, per(ours.took, each), "µs", Some((per(theirs, each), "scan of all")), None);
    }
}

/// So many tickets.
type Make<'a> = &'a dyn Fn(u32) -> Vec<Ticket>;

fn growth(report: &mut Report) {
    let random = |count| tickets(count, None);
    let kinds: [(&str, &str, Make<'_>); 3] = [
        ("1v1 without a rule", DUEL, &random),
        ("1v1 with skill ±100", SKILL, &random),
        ("that all wait, too far apart", APART, &far_apart),
    ];
    for (what, json, tickets) in kinds {
        let mut first = None;
        for count in [1_000_u32, 10_000, 100_000, 1_000_000] {
            let all = tickets(count);
            let run = if count > 100_000 { run(json, all) } else { timed(json, &all) };
            let each = per(run.took, usize::try_from(count).unwrap());
            report.line(&format!("add, of {count} {what}"), each, "µs", None, None);
            first.get_or_insert(each);
            if count == 1_000_000 {
                let growth = each / first.unwrap_or(each);
                report.line("the last against the first of these", growth, "times", None, Some(8.0));
            }
        }
    }
}

/// A pool in which nothing may form while all arrive, and then one match after the other may.
fn held(report: &mut Report) {
    let all = tickets(100_000, None);
    let now = all.last().unwrap().entered;
    let (mut pool, mut ids) = (Pool::new(&mode(SKILL)), new_ids());
    pool.limit(Some(0), now, &mut ids);
    let start = Instant::now();
    for ticket in all {
        assert!(pool.add(ticket, now, &mut ids).unwrap().is_empty(), "nothing may form");
    }
    report.line(
        "add to 100,000 that are held (`max_matches`)",
        per(start.elapsed(), 100_000),
        "µs",
        None,
        None,
    );
    let (start, count) = (Instant::now(), 100);
    for _ in 0..count {
        assert_eq!(pool.limit(Some(1), now, &mut ids).len(), 1, "one may form");
    }
    report.line(
        "a match of 100,000 that are held, skill ±100",
        per(start.elapsed(), count),
        "µs",
        None,
        None,
    );
}

/// So many matches of two players of about the same skill.
fn with_matches(mode_json: &str, count: u32) -> Pool {
    let mut pool = Pool::new(&mode(mode_json));
    for waiting in tickets(count, None) {
        let seat = |number: i64| Seat {
            client: ClientId::from_i64(10_000_000 + 2 * waiting.id.get() + number).unwrap(),
            group: 0,
            attributes: waiting.attributes.clone(),
        };
        let id = MatchId::from_i64(waiting.id.get()).unwrap();
        let effects = pool.put_match(id, vec![seat(0), seat(1)], Millis(0), &mut new_ids());
        assert!(effects.is_empty(), "nobody waits");
    }
    pool
}

/// Back-fill: a ticket finds the oldest of the matches that are near.
fn back_fill(report: &mut Report) {
    let more = 10_000;
    for (count, bar) in [(250, None), (2_500, None), (25_000, Some(20.0))] {
        let (mut pool, mut ids) = (with_matches(OPEN, count), new_ids());
        let added = tickets(u32::try_from(more).unwrap(), None);
        let start = Instant::now();
        for ticket in added {
            let now = ticket.entered;
            let effects = pool.add(ticket, now, &mut ids).unwrap();
            assert!(matches!(effects.as_slice(), [Effect::Fill { .. }]), "it joins a match");
        }
        let what = format!("add a ticket, {count} open matches with room, skill ±100");
        report.line(&what, per(start.elapsed(), more), "µs", None, bar);
    }
    // A new ticket can't give any of the matches what it lacks, and waits.
    let (mut pool, mut ids) = (with_matches(LACKING, 25_000), new_ids());
    let mut took = Duration::ZERO;
    for ticket in tickets(100, None) {
        let (id, start) = (ticket.id, Instant::now());
        assert!(pool.add(ticket, Millis(0), &mut ids).unwrap().is_empty(), "it waits");
        took += start.elapsed();
        pool.cancel(id);
    }
    let what = "add a ticket, 25,000 matches with skill ±100 that each lack two players";
    report.line(what, per(took, 100), "µs", None, None);
}

/// Parties that can't fill any team, with one another.
fn unfit(report: &mut Report) {
    let mut clients = 1;
    let party = |single: Ticket| {
        let mut next = || {
            clients += 1;
            ClientId::from_i64(clients).unwrap()
        };
        Ticket { clients: (0..4).map(|_| next()).collect(), ..single }
    };
    let all: Vec<Ticket> = tickets(10_000, Some(1)).into_iter().map(party).collect();
    let run = run(TEAMS, all);
    assert_eq!(run.matches, 0, "a team of five needs one more");
    report.line("add a party of four, 10,000 such wait for 5v5", per(run.took, 10_000), "µs", None, None);
}

fn others(report: &mut Report) {
    held(report);
    back_fill(report);
    unfit(report);
    for (what, json, regions) in [
        ("ticket of 100,000, 5v5: 4 regions, skill ±300, teams ±50", TEAMS, Some(4)),
        ("ticket of 100,000, 100 players, skill ±100", ROYALE, None),
    ] {
        let run = timed(json, &tickets(100_000, regions));
        report.line(what, per(run.took, 100_000), "µs", None, None);
    }
}

fn memory(report: &mut Report) {
    let count = 100_000;
    let all = far_apart(count);
    let before = IN_USE.load(Relaxed);
    let copied = all.clone();
    let tickets = IN_USE.load(Relaxed) - before;
    let run = run(APART, copied);
    let pool = IN_USE.load(Relaxed) - before;
    let each = |it: usize| f64::from(u32::try_from(it).unwrap()) / f64::from(count);
    report.line("memory of a waiting ticket, with the ticket itself", each(pool), "bytes", None, None);
    report.line("memory of a ticket itself", each(tickets), "bytes", None, None);
    drop(run.pool);
}
