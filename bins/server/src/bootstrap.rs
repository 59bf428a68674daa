//! The users that an installation has from its first start on.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use omgservers_accounts::Accounts;
use omgservers_api::Role;

use crate::{
    config::{BootstrapConfig, Secret},
    data_dir::write_private,
};

/// A user that was just made with a generated password.
#[derive(Debug)]
pub struct NewCredentials {
    /// The name to sign in with.
    pub alias: &'static str,
    /// The password.
    pub password: Secret,
}

const HEAD: &str = "# Users of this installation whose passwords were generated. A password is changed by\n\
                    # bootstrap.<user>_password in the configuration.\n";

/// Makes the users that are missing. Generated passwords are kept in `file`, which only its owner
/// may read, and answered; the configuration's replace what a user has.
pub async fn bootstrap(
    accounts: &dyn Accounts,
    config: &BootstrapConfig,
    file: &Path,
) -> anyhow::Result<Vec<NewCredentials>> {
    let mut made = Vec::new();
    for (alias, role, password) in [
        ("admin", Role::Admin, &config.admin_password),
        ("support", Role::Support, &config.support_password),
        ("service", Role::Service, &config.service_password),
    ] {
        let given = password.as_ref().map(|it| it.expose().as_str());
        let generated = accounts.ensure(alias, role, given).await.with_context(|| format!("user {alias}"))?;
        if let Some(password) = generated {
            // At once: the database has only its hash.
            keep(file, alias, &password).with_context(|| file.display().to_string())?;
            made.push(NewCredentials { alias, password: Secret::new(password) });
        }
    }
    Ok(made)
}

fn keep(file: &Path, alias: &str, password: &str) -> io::Result<()> {
    let before = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HEAD.to_owned(),
        Err(error) => return Err(error),
    };
    write_private(file, &with_line(&before, alias, password))
}

/// `text` with one line for `alias`, instead of the one that it may have. It can be read as TOML.
fn with_line(text: &str, alias: &str, password: &str) -> String {
    let start = format!("{alias} = ");
    let mut lines: Vec<String> =
        text.lines().filter(|it| !it.starts_with(&start)).map(str::to_owned).collect();
    lines.push(format!("{alias} = \"{password}\""));
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_one_line_in_the_file() {
        let first = with_line(HEAD, "admin", "one");
        let both = with_line(&first, "support", "two");
        let changed = with_line(&both, "admin", "three");
        let lines: Vec<&str> = changed.lines().filter(|it| !it.starts_with('#')).collect();
        assert_eq!(lines, ["support = \"two\"", "admin = \"three\""]);
        assert!(changed.starts_with(HEAD));
    }
}
