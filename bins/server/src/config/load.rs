//! Reads the sources, and finds everything that is wrong with them instead of the first fault only.

use std::{collections::BTreeMap, path::PathBuf};

use config::{Environment, File, FileFormat, Map, Value, ValueKind};
use documented::DocumentedFields;
use serde::de::DeserializeOwned;

use super::{Config, Issue, Issues, validate::validate};

/// The prefix of all variables. The separator is two underscores because keys contain single ones.
const PREFIX: &str = "OMGSERVERS";

/// Where the configuration comes from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The data directory from the command line; it wins.
    pub data_dir: Option<PathBuf>,
}

/// Reads the configuration and the files of its secrets.
pub fn load(sources: &Sources) -> Result<Config, Issues> {
    let mut reader = ConfigReader { root: read(sources).map_err(|it| Issues(vec![it]))?, issues: Vec::new() };
    let mut config = Config {
        data_dir: default_data_dir(sources),
        server: reader.section("server"),
        database: reader.section("database"),
        registry: reader.section("registry"),
        tokens: reader.section("tokens"),
        limits: reader.section("limits"),
        runtimes: reader.section("runtimes"),
        clients: reader.section("clients"),
        lobbies: reader.section("lobbies"),
        matches: reader.section("matches"),
        messaging: reader.section("messaging"),
        pool: reader.section("pool"),
        bootstrap: reader.section("bootstrap"),
        log: reader.section("log"),
        traces: reader.section("traces"),
    };
    reader.data_dir(&mut config, sources);
    reader.unread();
    let mut issues = reader.issues;
    if issues.is_empty() {
        validate(&mut config, &mut issues);
    }
    if issues.is_empty() { Ok(config) } else { Err(Issues(issues)) }
}

fn default_data_dir(sources: &Sources) -> PathBuf {
    match sources.variables.get("STATE_DIRECTORY") {
        // systemd separates several with colons; the first is ours.
        Some(folders) => folders.split(':').next().unwrap_or(folders).into(),
        None => Config::default().data_dir,
    }
}

fn read(sources: &Sources) -> Result<Map<String, Value>, Issue> {
    let prefix = format!("{PREFIX}__");
    let mut builder = config::Config::builder();
    if let Some(path) = &sources.file {
        let at = |message: String| Issue { key: String::new(), origin: path.display().to_string(), message };
        let text = std::fs::read_to_string(path).map_err(|it| at(it.to_string()))?;
        // Its own message has line, column and the line itself.
        toml::from_str::<toml::Table>(&text).map_err(|it| at(format!("no TOML\n{it}")))?;
        builder = builder.add_source(File::from(path.as_path()).format(FileFormat::Toml));
    }
    let variables: Map<String, String> = sources
        .variables
        .iter()
        .filter(|(name, _)| name.starts_with(&prefix))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let environment =
        Environment::with_prefix(PREFIX).prefix_separator("__").separator("__").source(Some(variables));
    builder.add_source(environment).build().and_then(|it| it.cache.into_table()).map_err(|error| Issue {
        key: String::new(),
        origin: "configuration".into(),
        message: error.to_string(),
    })
}

struct ConfigReader {
    root: Map<String, Value>,
    issues: Vec<Issue>,
}

impl ConfigReader {
    /// Takes a section. Each key is tried alone, so that one fault doesn't hide another.
    fn section<S: DeserializeOwned + Default + DocumentedFields>(&mut self, name: &str) -> S {
        let Some(section) = self.root.remove(name) else { return S::default() };
        let origin = origin_of(&section);
        let Ok(table) = section.into_table() else {
            self.issue(name, &origin, "is a section: its settings belong below it".into());
            return S::default();
        };
        let mut good = Map::new();
        for (key, value) in table.into_iter().collect::<BTreeMap<_, _>>() {
            let full = format!("{name}.{key}");
            let origin = variable_or(&origin_of(&value), &full);
            if !S::FIELD_NAMES.contains(&key.as_str()) {
                self.issue(
                    &full,
                    &origin,
                    format!("no such setting; there are {}", S::FIELD_NAMES.join(", ")),
                );
                continue;
            }
            let value = lists(value);
            let alone = Map::from_iter([(key.clone(), value.clone())]);
            match Value::new(None, ValueKind::Table(alone)).try_deserialize::<S>() {
                Ok(_) => drop(good.insert(key, value)),
                Err(error) => self.issue(&full, &origin, plain(&error)),
            }
        }
        Value::new(None, ValueKind::Table(good)).try_deserialize().unwrap_or_default()
    }

    fn data_dir(&mut self, config: &mut Config, sources: &Sources) {
        if let Some(value) = self.root.remove("data_dir") {
            let origin = variable_or(&origin_of(&value), "data_dir");
            match value.into_string() {
                Ok(path) => config.data_dir = path.into(),
                Err(error) => self.issue("data_dir", &origin, plain(&error)),
            }
        }
        if let Some(path) = &sources.data_dir {
            config.data_dir.clone_from(path);
        }
    }

    fn unread(&mut self) {
        for (key, value) in std::mem::take(&mut self.root).into_iter().collect::<BTreeMap<_, _>>() {
            let origin = variable_or(&origin_of(&value), &key);
            self.issue(
                &key,
                &origin,
                format!("no such section; there are {}", Config::FIELD_NAMES.join(", ")),
            );
        }
    }

    fn issue(&mut self, key: &str, origin: &str, message: String) {
        self.issues.push(Issue { key: key.into(), origin: origin.into(), message });
    }
}

/// A table whose keys are 0, 1, 2 … is a list: variables have no other way to say it.
fn lists(value: Value) -> Value {
    let origin = value.origin().map(str::to_owned);
    let kind = match value.kind {
        ValueKind::Table(table) => {
            let numbered: Option<BTreeMap<usize, Value>> =
                table.iter().map(|(key, it)| Some((key.parse().ok()?, it.clone()))).collect();
            match numbered {
                Some(items) if !items.is_empty() => ValueKind::Array(items.into_values().collect()),
                _ => ValueKind::Table(table),
            }
        }
        other => other,
    };
    Value::new(origin.as_ref(), kind)
}

fn origin_of(value: &Value) -> String {
    match &value.kind {
        // A table that several sources were merged into has no origin of its own.
        ValueKind::Table(table) if value.origin().is_none() => {
            table.values().map(origin_of).next().unwrap_or_default()
        }
        _ => value.origin().unwrap_or_default().to_owned(),
    }
}

/// The name of the variable, if it was one.
fn variable_or(origin: &str, key: &str) -> String {
    if origin.contains("environment") {
        format!("{PREFIX}__{}", key.to_uppercase().replace('.', "__"))
    } else {
        origin.to_owned()
    }
}

/// The library's message without the position, which this crate reports itself.
fn plain(error: &config::ConfigError) -> String {
    let text = error.to_string();
    match text.find(" for key `") {
        Some(end) => text.get(..end).unwrap_or(&text).to_owned(),
        None => text,
    }
}
