//! The reference of metrics, made of the source: `docs/metrics.md`.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

const FILE: &str = "docs/metrics.md";
const HEAD: &str = "\
# Metrics

`/metrics` serves these in the text format of Prometheus. `make generate` writes this page from the
source. A name ends in its unit: `_seconds`, `_bytes`, `_rows`, or the things that it counts;
`_total` marks a counter. A histogram has the series `_bucket`, `_sum` and `_count`. The metrics of
the process itself (`process_…`) come from the library `metrics-process`. `deploy/grafana.json` is a
board of all of them.

| Metric | Kind | Labels | Meaning |
|---|---|---|---|
";

#[derive(Default)]
struct Metric {
    kinds: BTreeSet<&'static str>,
    labels: BTreeSet<String>,
    meaning: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

/// The string literals of a macro's arguments, up to its closing parenthesis, each with what stands
/// behind it.
fn literals(arguments: &str) -> Vec<(String, bool)> {
    let (mut found, mut depth) = (Vec::new(), 1_u32);
    let mut rest = arguments.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '(' | '{' | '[' => depth += 1,
            ')' | '}' | ']' => {
                depth -= 1;
                if depth == 0 {
                    break;
                }
            }
            '"' => {
                let mut text = String::new();
                while let Some(character) = rest.next() {
                    match character {
                        '"' => break,
                        // A line that goes on: the break and the indentation are no part of the
                        // text.
                        '\\' if rest.peek() == Some(&'\n') => {
                            while rest.peek().is_some_and(|next| next.is_whitespace()) {
                                rest.next();
                            }
                        }
                        '\\' => text.extend(rest.next()),
                        other => text.push(other),
                    }
                }
                let behind: String = rest.clone().take_while(|next| *next != '"').collect();
                found.push((text, behind.trim_start().starts_with("=>")));
            }
            _ => {}
        }
    }
    found
}

fn metrics() -> BTreeMap<String, Metric> {
    let mut files = Vec::new();
    for folder in ["crates", "bins/server/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    for file in files.iter().filter(|file| !file.to_string_lossy().contains("/tests/")) {
        let source = fs::read_to_string(file).unwrap();
        for kind in ["counter", "gauge", "histogram"] {
            let call = format!("{kind}!(");
            for (at, _) in source.match_indices(&call) {
                let described = source[..at].ends_with("describe_");
                let literals = literals(&source[at + call.len()..]);
                let Some((name, false)) = literals.first() else {
                    panic!("{}: {kind}! without a literal name", file.display())
                };
                let metric = found.entry(name.clone()).or_default();
                metric.kinds.insert(kind);
                if described {
                    metric.meaning = literals.get(1).map(|(text, _)| text.clone());
                } else {
                    metric.labels.extend(literals.into_iter().filter(|it| it.1).map(|it| it.0));
                }
            }
        }
    }
    found
}

#[test]
fn every_metric_has_the_prefix_one_kind_and_a_meaning() {
    let mut faults = Vec::new();
    for (name, metric) in metrics() {
        let mut demand = |holds: bool, fault: &str| {
            if !holds {
                faults.push(format!("{name}: {fault}"));
            }
        };
        demand(name.starts_with("omgservers_"), "the prefix is missing");
        demand(metric.kinds.len() == 1, "it is of two kinds");
        demand(metric.meaning.is_some(), "describe_…! is missing");
        demand(name.ends_with("_total") == metric.kinds.contains("counter"), "counters alone end in _total");
        let bucketed = name.ends_with("_seconds") || name.ends_with("_rows");
        demand(!metric.kinds.contains("histogram") || bucketed, "there are no buckets for its unit");
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_checked_in_reference_of_metrics_is_what_the_source_has() {
    let mut page = HEAD.to_owned();
    for (name, metric) in metrics() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let kind = metric.kinds.first().unwrap();
        let meaning = metric.meaning.unwrap_or_default();
        writeln!(page, "| `{name}` | {kind} | {} | {meaning} |", labels.join(", ")).unwrap();
    }
    let file = root().join(FILE);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        fs::write(&file, &page).unwrap();
    }
    let checked_in = fs::read_to_string(&file).unwrap_or_default();
    assert!(checked_in == page, "{FILE} is old: run `make generate`");
}
