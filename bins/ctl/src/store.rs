//! The file that keeps logins.

use std::{
    collections::BTreeMap,
    fs::{self, DirBuilder},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use omgservers_client::api::Role;
use serde::{Deserialize, Serialize};

/// A login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) url: String,
    pub(crate) user: String,
    pub(crate) token: String,
}

/// By profile, then by role.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Logins {
    profiles: BTreeMap<String, BTreeMap<String, Login>>,
}

/// Keeps logins, readable by their owner only.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
}

impl Store {
    /// The given file, or the usual one.
    pub(crate) fn open(path: Option<PathBuf>) -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let usual = || {
            Some(set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?.join("omgservers"))
        };
        match path.or_else(|| usual().map(|it| it.join("credentials.json"))) {
            Some(path) => Ok(Self { path }),
            None => {
                bail!("neither HOME nor XDG_CONFIG_HOME is set: say with --credentials where to keep logins")
            }
        }
    }

    /// The login of a role.
    pub(crate) fn get(&self, profile: &str, role: Role) -> anyhow::Result<Option<Login>> {
        Ok(self.read()?.profiles.remove(profile).and_then(|mut it| it.remove(role.as_str())))
    }

    /// Keeps a login in place of the role's older one.
    pub(crate) fn put(&self, profile: &str, role: Role, login: Login) -> anyhow::Result<()> {
        let mut logins = self.read()?;
        logins.profiles.entry(profile.to_owned()).or_default().insert(role.as_str().to_owned(), login);
        self.write(&logins)
    }

    /// Forgets a login; `false` when there was none.
    pub(crate) fn remove(&self, profile: &str, role: Role) -> anyhow::Result<bool> {
        let mut logins = self.read()?;
        let removed = logins.profiles.get_mut(profile).and_then(|it| it.remove(role.as_str())).is_some();
        if removed {
            self.write(&logins)?;
        }
        Ok(removed)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn read(&self) -> anyhow::Result<Logins> {
        let shown = self.path.display();
        match fs::read_to_string(&self.path) {
            Ok(text) => serde_json::from_str(&text)
                .with_context(|| format!("{shown} isn't a file of logins: delete it and sign in again")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Logins::default()),
            Err(error) => Err(error).with_context(|| format!("{shown} can't be read")),
        }
    }

    /// Through a file beside it, so that it is the old one or the new one as a whole, and never
    /// readable to others.
    fn write(&self, logins: &Logins) -> anyhow::Result<()> {
        let write = || -> io::Result<()> {
            let folder = self.path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            serde_json::to_writer_pretty(&mut file, logins)?;
            file.write_all(b"\n")?;
            file.as_file().sync_all()?;
            file.persist(&self.path)?;
            Ok(())
        };
        write().with_context(|| format!("{} can't be written", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn login(token: &str) -> Login {
        Login { url: "http://localhost".into(), user: "support".into(), token: token.into() }
    }

    #[test]
    fn logins_are_kept_by_profile_and_role_for_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/credentials.json");
        let store = Store::open(Some(path.clone())).unwrap();
        assert_eq!(store.get("default", Role::Support).unwrap(), None);
        store.put("default", Role::Support, login("one")).unwrap();
        store.put("default", Role::Admin, login("two")).unwrap();
        store.put("test", Role::Support, login("three")).unwrap();
        assert_eq!(store.get("default", Role::Support).unwrap(), Some(login("one")));
        assert_eq!(store.get("test", Role::Support).unwrap(), Some(login("three")));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert!(store.remove("default", Role::Support).unwrap());
        assert!(!store.remove("default", Role::Support).unwrap());
        assert_eq!(store.get("default", Role::Admin).unwrap(), Some(login("two")));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no leftovers");
    }

    #[test]
    fn a_broken_file_is_named_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials.json");
        fs::write(&path, "{").unwrap();
        let store = Store::open(Some(path.clone())).unwrap();
        let error = store.put("default", Role::Admin, login("t")).unwrap_err();
        assert!(error.to_string().contains("credentials.json isn't a file of logins"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
    }
}
