//! How texts of the command line become values.

use std::{fs, io::Read as _, path::Path, str::FromStr};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use omgservers_client::api::{
    Validate as _,
    config::{DeploymentConfig, VersionConfig},
};
use serde::de::DeserializeOwned;

/// One of an enumeration's words.
pub(crate) fn word<T>(all: &[T], text: fn(T) -> &'static str) -> impl TypedValueParser<Value = T>
where
    T: FromStr + Copy + Send + Sync + 'static,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    PossibleValuesParser::new(all.iter().map(|it| text(*it))).try_map(|it| it.parse::<T>())
}

/// A version's configuration out of a file, or `-` for the standard input.
pub(crate) fn version_config(path: &str) -> Result<VersionConfig, String> {
    let config: VersionConfig = json_file(path)?;
    config.validate().map_err(|problem| problem.sentence().to_owned())?;
    Ok(config)
}

/// A deployment's configuration out of a file, or `-` for the standard input.
pub(crate) fn deployment_config(path: &str) -> Result<DeploymentConfig, String> {
    let config: DeploymentConfig = json_file(path)?;
    config.check("config").map_err(|problem| problem.sentence().to_owned())?;
    Ok(config)
}

fn json_file<T: DeserializeOwned>(path: &str) -> Result<T, String> {
    let text = if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_length| text)
    } else {
        fs::read_to_string(Path::new(path))
    };
    let text = text.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}
