//! `omgservers matchmaking replay`: a recorded log against another rule set.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::Args;
use omgservers_api::{
    Validate as _,
    config::{ModeConfig, VersionConfig},
};
use omgservers_matcher::replay::{Options, replay};

/// What to replay, and with which rules.
#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The configuration of a version, as `create-version` takes it, with the rules to try.
    #[arg(long, value_name = "VERSION.JSON")]
    config: PathBuf,
    /// The mode.
    #[arg(long)]
    mode: String,
    /// Seconds that a match takes more players after it has formed; without it, until it is full.
    #[arg(long, value_name = "SECONDS")]
    open_for: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// The log: a line of JSON for each ticket that arrived or was cancelled.
    log: PathBuf,
}

/// The report, as text or as JSON.
pub(crate) fn run(args: &Replay) -> anyhow::Result<String> {
    let mode = mode(&args.config, &args.mode)?;
    let log = File::open(&args.log).with_context(|| args.log.display().to_string())?;
    let options = Options { open_ms: args.open_for.map(|it| i64::from(it) * 1000) };
    let report =
        replay(&mode, BufReader::new(log), options).with_context(|| args.log.display().to_string())?;
    Ok(if args.json { format!("{}\n", serde_json::to_string_pretty(&report)?) } else { report.to_string() })
}

fn mode(file: &Path, name: &str) -> anyhow::Result<ModeConfig> {
    let shown = || file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(shown)?;
    let version: VersionConfig = serde_json::from_str(&text).with_context(shown)?;
    if let Err(problem) = version.validate() {
        anyhow::bail!("{}: {}", shown(), problem.sentence());
    }
    let names: Vec<String> = version.modes.iter().map(|it| format!("`{}`", it.name)).collect();
    let found = version.modes.into_iter().find(|it| it.name == name);
    found.with_context(|| format!("{}: no mode `{name}`; it has {}", shown(), names.join(", ")))
}
