//! Finds the programs of PostgreSQL: where distributions put them, then on the path.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::PostgresError;

/// The oldest version whose features the server uses.
const OLDEST: u32 = 15;

/// The programs of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Programs {
    /// The folder with `initdb` and `postgres`.
    pub(super) folder: PathBuf,
    /// 15, 16, …
    pub(super) major: u32,
}

/// The programs for a cluster that was made by version `pinned`, or the newest for one that isn't
/// made yet.
pub(super) fn find(configured: Option<&Path>, pinned: Option<u32>) -> Result<Programs, PostgresError> {
    let mut found: Vec<Programs> = match configured {
        Some(folder) => complete(folder).into_iter().collect(),
        None => folders().iter().filter_map(|it| complete(it)).collect(),
    };
    found.sort_by_key(|it| it.major);
    choose(found, configured, pinned)
}

fn choose(
    mut found: Vec<Programs>,
    configured: Option<&Path>,
    pinned: Option<u32>,
) -> Result<Programs, PostgresError> {
    let versions: Vec<String> = found.iter().map(|it| it.major.to_string()).collect();
    let Some(pinned) = pinned else {
        return match (found.pop(), configured) {
            (Some(newest), _) if newest.major >= OLDEST => Ok(newest),
            (Some(old), _) => Err(PostgresError::TooOld { found: old.major, oldest: OLDEST }),
            (None, Some(folder)) => Err(PostgresError::NotInFolder { folder: folder.to_owned() }),
            (None, None) => Err(PostgresError::NotInstalled),
        };
    };
    let same = found.into_iter().find(|it| it.major == pinned);
    same.ok_or_else(|| PostgresError::WrongVersion {
        made_by: pinned,
        installed: if versions.is_empty() { "none".into() } else { versions.join(", ") },
    })
}

/// Where `initdb` may be; it is not on the path of Debian and its kin.
fn folders() -> Vec<PathBuf> {
    let numbered = |parent: &str, prefix: &str| -> Vec<PathBuf> {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let ours = entries.filter(|it| it.file_name().to_string_lossy().starts_with(prefix));
        ours.map(|it| it.path().join("bin")).collect()
    };
    let mut all = numbered("/usr/lib/postgresql", "");
    all.extend(numbered("/usr", "pgsql-"));
    if let Some(path) = std::env::var_os("PATH") {
        all.extend(std::env::split_paths(&path));
    }
    all
}

fn complete(folder: &Path) -> Option<Programs> {
    if !folder.join("initdb").is_file() {
        return None;
    }
    let output = Command::new(folder.join("postgres")).arg("--version").output().ok()?;
    let major = major(&String::from_utf8_lossy(&output.stdout))?;
    Some(Programs { folder: folder.to_owned(), major })
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)` is 15.
fn major(text: &str) -> Option<u32> {
    let version = text.split(')').nth(1)?.trim();
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(major: u32) -> Programs {
        Programs { folder: format!("/usr/lib/postgresql/{major}/bin").into(), major }
    }

    #[test]
    fn the_version_is_read_from_the_output_of_the_program() {
        assert_eq!(major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta2\n"), Some(18));
        assert_eq!(major("no such thing"), None);
    }

    #[test]
    fn the_newest_version_makes_a_cluster_and_its_own_opens_it() {
        let installed = vec![programs(15), programs(17)];
        assert_eq!(choose(installed.clone(), None, None).unwrap().major, 17);
        assert_eq!(choose(installed, None, Some(15)).unwrap().major, 15);
    }

    #[test]
    fn a_cluster_of_a_version_that_is_gone_is_not_touched() {
        let message = choose(vec![programs(17)], None, Some(15)).unwrap_err().to_string();
        assert!(message.contains("PostgreSQL 15") && message.contains("postgresql-15"), "{message}");
        assert!(message.contains("17"), "{message}");
    }

    #[test]
    fn without_programs_the_message_names_the_package() {
        let message = choose(Vec::new(), None, None).unwrap_err().to_string();
        assert!(message.contains("apt-get install postgresql"), "{message}");
    }

    #[test]
    fn a_version_that_is_too_old_makes_no_cluster() {
        assert!(matches!(
            choose(vec![programs(13)], None, None),
            Err(PostgresError::TooOld { found: 13, oldest: OLDEST })
        ));
    }
}
