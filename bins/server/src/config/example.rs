//! The example file: every setting with its comment and its default, commented out.

use std::fmt::Write as _;

use documented::DocumentedFields;
use serde::Serialize;

use super::Config;

const HEAD: &str = "\
# The configuration of omgservers. This file is generated: `omgservers config example`.
#
# Every setting is shown with its default, commented out by a single `#`; one without a default is shown with an
# example and says so. A variable OMGSERVERS__SECTION__KEY in the environment replaces a setting of the file, e.g.
# OMGSERVERS__SERVER__BIND=127.0.0.1:8080. `omgservers config check` finds mistakes, `omgservers config print` shows
# what is in effect.
";

/// The text of the example file.
pub fn example() -> String {
    let defaults = Config::default();
    let mut out = HEAD.to_owned();
    let root = toml::Value::try_from(&defaults).ok();
    setting(&mut out, "data_dir", doc::<Config>("data_dir"), root.as_ref().and_then(|it| it.get("data_dir")));
    section(&mut out, "server", &defaults.server);
    section(&mut out, "database", &defaults.database);
    section(&mut out, "registry", &defaults.registry);
    section(&mut out, "tokens", &defaults.tokens);
    section(&mut out, "limits", &defaults.limits);
    section(&mut out, "runtimes", &defaults.runtimes);
    section(&mut out, "clients", &defaults.clients);
    section(&mut out, "lobbies", &defaults.lobbies);
    section(&mut out, "matches", &defaults.matches);
    section(&mut out, "messaging", &defaults.messaging);
    section(&mut out, "pool", &defaults.pool);
    section(&mut out, "bootstrap", &defaults.bootstrap);
    section(&mut out, "log", &defaults.log);
    out
}

fn section<S: DocumentedFields + Serialize>(out: &mut String, name: &str, defaults: &S) {
    let values = toml::Value::try_from(defaults).ok();
    let _infallible = write!(out, "\n\n# {}\n[{name}]\n", doc::<Config>(name));
    for key in S::FIELD_NAMES {
        setting(out, key, doc::<S>(key), values.as_ref().and_then(|it| it.get(key)));
    }
}

fn setting(out: &mut String, key: &str, doc: &str, default: Option<&toml::Value>) {
    let (text, example) = match doc.rsplit_once("Example: ") {
        Some((text, example)) => (text, Some(example.trim().trim_matches('`'))),
        None => (doc, None),
    };
    out.push('\n');
    for line in text.trim_end().lines() {
        let _infallible = writeln!(out, "# {}", line.trim_end());
    }
    let _infallible = match (default, example) {
        (Some(value), None) => writeln!(out, "#{key} = {value}"),
        (Some(value), Some(example)) => writeln!(out, "# For example: {example}\n#{key} = {value}"),
        (None, Some(example)) => writeln!(out, "# No default; for example:\n#{key} = {example}"),
        (None, None) => writeln!(out, "#{key} ="),
    };
}

fn doc<S: DocumentedFields>(key: &str) -> &'static str {
    S::get_field_docs(key).unwrap_or_default()
}
