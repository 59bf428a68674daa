//! Rules that are read from the sources of what is shipped.

use std::{collections::BTreeMap, path::Path};

use crate::{LINE, walk};

/// Crates that read the time of the machine, and what for. The others decide by `Clock` alone, so
/// that a test moves their time.
const CLOCK_READERS: &[(&str, &str)] = &[
    ("core", "is the clock; measures how long work takes"),
    ("messaging", "bounds how long a call and a commit wait; measures"),
    ("matchmaking", "measures how long a round takes"),
    ("dispatcher", "bounds how long a frame waits for room"),
    ("http", "sends heartbeats and closes silent sockets"),
    ("server", "bounds how long processes take to start and stop; measures requests"),
    ("client", "runs in games, which have no Clock"),
    ("load", "measures"),
    ("ctl", "is a program of its own"),
    ("testkit", "bounds how long PostgreSQL takes to start"),
];

/// Crates that start tasks which nobody waits for, and why that is safe. The others run in the task
/// of their caller or as workers, which stop with the server.
const SPAWNERS: &[(&str, &str)] = &[
    ("core", "the writer of a batch ends with its senders"),
    ("messaging", "the writer of the journal ends with its mailboxes"),
    ("matchmaking", "a round of requests outlives the request that began it"),
    ("registry", "a push that is nearly done is finished though its client hangs up"),
    ("server", "owns the process"),
    ("client", "runs in games, and ends a connection's task with its session"),
    ("testkit", "drives a connection to PostgreSQL"),
];

/// A file of what is shipped, without its tests.
struct Source {
    krate: String,
    path: String,
    text: String,
}

/// All files below `crates/*/src` and `bins/*/src`.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut found = Vec::new();
    for folder in ["crates", "bins"] {
        for krate in std::fs::read_dir(root.join(folder)).unwrap().flatten() {
            let name = krate.file_name().to_string_lossy().into_owned();
            let src = krate.path().join("src");
            if !src.is_dir() {
                continue;
            }
            for path in walk(&src).into_iter().filter(|path| is_shipped(path)) {
                let text = std::fs::read_to_string(&path).unwrap();
                let shipped = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default().to_owned();
                found.push(Source { krate: name.clone(), path, text: shipped });
            }
        }
    }
    assert!(found.len() > 200, "only {} files were found", found.len());
    found
}

fn is_shipped(path: &str) -> bool {
    path.ends_with(".rs") && !path.ends_with("/tests.rs") && !path.contains("/tests/")
}

/// Lines of code with one of these texts, in crates that aren't listed, and listed crates without
/// such a line.
fn check_readers(texts: &[&str], listed: &[(&str, &str)]) {
    let mut used: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources() {
        let lines = source.text.lines().enumerate();
        let code = lines.filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code.filter(|(_, line)| texts.iter().any(|text| line.contains(text))) {
            let finding = format!("{}:{}: {}", source.path, number + 1, line.trim());
            used.entry(source.krate.clone()).or_default().push(finding);
        }
    }
    let surplus: Vec<&str> =
        listed.iter().map(|entry| entry.0).filter(|krate| !used.contains_key(*krate)).collect();
    used.retain(|krate, _| listed.iter().all(|entry| entry.0 != krate));
    assert!(used.is_empty(), "not allowed in these crates: {used:#?}");
    assert!(surplus.is_empty(), "these crates need no exception any more: {surplus:?}");
}

#[test]
fn only_listed_crates_read_the_time_of_the_machine() {
    check_readers(&["Instant::now()", "SystemTime::now()", "Utc::now()"], CLOCK_READERS);
}

#[test]
fn only_listed_crates_start_tasks_that_nobody_waits_for() {
    check_readers(&["tokio::spawn("], SPAWNERS);
}

/// The service of a domain crate on PostgreSQL is named by the crate itself and by the wiring
/// alone.
#[test]
fn services_are_called_through_their_trait() {
    let own = |krate: &str| {
        let mut name = String::from("Pg");
        name.extend(krate.chars().take(1).map(|first| first.to_ascii_uppercase()));
        name.extend(krate.chars().skip(1));
        name
    };
    let domain: Vec<(&str, String)> = LINE
        .iter()
        .filter_map(|name| name.strip_prefix("omgservers-"))
        .map(|krate| (krate, own(krate)))
        .chain([("messaging", "Mailboxes".to_owned())])
        .collect();
    let mut wrong = Vec::new();
    for source in sources() {
        let wires = source.krate == "server" || source.krate == "fixtures";
        if wires {
            continue;
        }
        let lines = source.text.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let words = line.split(|it: char| !it.is_alphanumeric() && it != '_');
            for word in words {
                if domain.iter().any(|(krate, name)| source.krate != *krate && word == name) {
                    wrong.push(format!("{}:{}: {word}", source.path, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "name the trait instead: {wrong:#?}");
}
