//! The keys of an installation: made at the first start, kept in one private folder.

use std::{fmt, path::Path};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac as _};
use jsonwebtoken::{Algorithm, DecodingKey, Header};
use omgservers_api::Problem;
use omgservers_core::{Clock as _, SystemClock};
use rcgen::{KeyPair, PKCS_ED25519, SigningKey as _};
use serde::Serialize;
use sha2::Sha256;

use crate::{ca::RegistryKeys, files::Folder};

/// How long a signing key stays after its successor was made. No token may live longer.
pub(crate) const LONGEST_LIFE_DAYS: i64 = 400;

const SIGNING_PREFIX: &str = "ed25519-";
const CONNECT_PREFIX: &str = "connect-";
const SIGNING_SUFFIX: &str = ".pem";
const CA_KEY: &str = "registry-ca.pem";
const LEAF_KEY: &str = "registry-signer.pem";
const SECRET: &str = "secret.hex";

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// All keys of an installation.
pub struct Keys {
    /// Oldest first; there is at least one.
    signing: Vec<SigningKey>,
    /// The same for connect tokens, whose public keys leave the house.
    connect: Vec<SigningKey>,
    registry: RegistryKeys,
    /// Ready to digest generated secrets.
    keyed: Hmac<Sha256>,
}

/// A key that signs our own tokens with EdDSA.
pub(crate) struct SigningKey {
    /// Names the key in a token's header: `ed25519-<seconds>-<random>`, or `connect-…` for connect
    /// tokens, made at `<seconds>` of Unix time.
    pub(crate) kid: String,
    pub(crate) verifying: DecodingKey,
    pair: KeyPair,
    /// The first part of its tokens.
    header: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<&str> = self.signing.iter().map(|it| it.kid.as_str()).collect();
        f.debug_struct("Keys").field("signing", &kids).finish_non_exhaustive()
    }
}

impl Keys {
    /// The name of the file in the folder that holds the certificate for a registry's
    /// `rootcertbundle`.
    pub const CA_FILE: &str = "registry-ca.crt";

    /// Takes the keys in `dir`, and makes those that are missing. The folder gets mode 0700 and the
    /// keys 0600. Processes that do this at the same time wait for each other. Problems: `internal`
    /// when a file can't be read or written, or isn't a whole key: nothing is replaced silently.
    pub fn load_or_create(dir: &Path) -> Result<Self, Problem> {
        Self::load(dir, false)
    }

    /// Adds a signing key of each kind, which signs from the next start on; the older ones verify
    /// for another 400 days. Problems: like [`load_or_create`](Self::load_or_create).
    pub fn rotate(dir: &Path) -> Result<Self, Problem> {
        Self::load(dir, true)
    }

    /// Keys that are nowhere else, for tests.
    #[expect(clippy::expect_used, reason = "what was just made is whole")]
    pub fn ephemeral() -> Self {
        let now = SystemClock::default().now();
        let make = || {
            let key = |prefix| {
                SigningKey::new(new_kid(prefix, now.timestamp()), &new_signing_key()?).map(|it| vec![it])
            };
            let (signing, connect) = (key(SIGNING_PREFIX)?, key(CONNECT_PREFIX)?);
            let (ca, leaf) = (RegistryKeys::generate()?, RegistryKeys::generate()?);
            let registry = RegistryKeys::new(&ca, RegistryKeys::certify(&ca, now)?, &leaf, now)?;
            Ok::<_, Problem>(Self { signing, connect, registry, keyed: keyed(&rand::random())? })
        };
        make().expect("fresh keys")
    }

    /// The certificate for a registry's `rootcertbundle`, as PEM.
    pub fn ca_certificate(&self) -> &str {
        self.registry.ca_certificate()
    }

    pub(crate) fn registry(&self) -> &RegistryKeys {
        &self.registry
    }

    /// The key that signs: the newest.
    pub(crate) fn newest(&self) -> Result<&SigningKey, Problem> {
        self.signing.last().ok_or_else(|| Problem::internal("there is no signing key"))
    }

    /// The key of this name.
    pub(crate) fn find(&self, kid: &str) -> Option<&SigningKey> {
        self.signing.iter().rev().find(|it| it.kid == kid)
    }

    /// The key of this name that signs connect tokens; the newest if it isn't there (any more).
    pub(crate) fn connect(&self, kid: Option<&str>) -> Result<&SigningKey, Problem> {
        let named = kid.and_then(|kid| self.connect.iter().rev().find(|it| it.kid == kid));
        named.or(self.connect.last()).ok_or_else(|| Problem::internal("there is no key for connect tokens"))
    }

    pub(crate) fn keyed(&self) -> Hmac<Sha256> {
        self.keyed.clone()
    }

    fn load(dir: &Path, rotate: bool) -> Result<Self, Problem> {
        let now = SystemClock::default().now();
        let folder = Folder::open(dir)?;
        Ok(Self {
            signing: load_signing(&folder, SIGNING_PREFIX, rotate, now)?,
            connect: load_signing(&folder, CONNECT_PREFIX, rotate, now)?,
            registry: load_registry(&folder, now)?,
            keyed: keyed(&load_secret(&folder)?)?,
        })
    }
}

impl SigningKey {
    fn new(kid: String, pem: &str) -> Result<Self, Problem> {
        let pair = KeyPair::from_pkcs8_pem_and_sign_algo(pem, &PKCS_ED25519).map_err(Problem::internal)?;
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid.clone());
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).map_err(Problem::internal)?);
        Ok(Self { kid, verifying: DecodingKey::from_ed_der(pair.public_key_raw()), pair, header })
    }

    /// The token that says `claims`. `jsonwebtoken::encode` would read the key anew and check it
    /// for each token, which takes longer than to sign.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Result<String, Problem> {
        let claims = serde_json::to_vec(claims).map_err(Problem::internal)?;
        let mut token = self.header.clone();
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.pair.sign(token.as_bytes()).map_err(Problem::internal)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// What verifies its tokens, as PEM (SubjectPublicKeyInfo).
    pub(crate) fn public_pem(&self) -> String {
        self.pair.public_key_pem()
    }

    /// For tokens that `sign` doesn't make.
    #[cfg(test)]
    pub(crate) fn encoding(&self) -> jsonwebtoken::EncodingKey {
        jsonwebtoken::EncodingKey::from_ed_der(self.pair.serialized_der())
    }
}

fn load_signing(
    folder: &Folder,
    prefix: &str,
    rotate: bool,
    now: DateTime<Utc>,
) -> Result<Vec<SigningKey>, Problem> {
    let mut kids = Vec::new();
    for name in folder.names()? {
        let Some(kid) = name.strip_suffix(SIGNING_SUFFIX).filter(|it| it.starts_with(prefix)) else {
            continue;
        };
        let misnamed = || folder.broken(&name, format!("isn't named {prefix}<seconds>-<random>"));
        let made = made_at(prefix, kid).ok_or_else(misnamed)?;
        kids.push((made, kid.to_owned()));
    }
    kids.sort_unstable();
    if rotate || kids.is_empty() {
        // After the newest also when the clock was set back.
        let made = kids.last().map_or(now.timestamp(), |it| now.timestamp().max(it.0 + 1));
        let kid = new_kid(prefix, made);
        folder.write(&format!("{kid}{SIGNING_SUFFIX}"), PRIVATE, &new_signing_key()?)?;
        kids.push((made, kid));
    }
    let retired = retired(&kids, now.timestamp());
    for (_, kid) in kids.drain(..retired) {
        folder.remove(&format!("{kid}{SIGNING_SUFFIX}"))?;
    }
    let read = |(_, kid): (i64, String)| {
        let name = format!("{kid}{SIGNING_SUFFIX}");
        let pem = folder.read(&name)?.ok_or_else(|| folder.broken(&name, "is gone"))?;
        SigningKey::new(kid, &pem).map_err(|it| folder.broken(&name, format!("isn't a key: {it:?}")))
    };
    kids.into_iter().map(read).collect()
}

/// How many of the oldest keys were succeeded so long ago that no token of theirs can be valid.
fn retired(kids: &[(i64, String)], now: i64) -> usize {
    let keep = LONGEST_LIFE_DAYS * 86_400;
    kids.iter().skip(1).take_while(|(made, _)| made.saturating_add(keep) < now).count()
}

fn load_registry(folder: &Folder, now: DateTime<Utc>) -> Result<RegistryKeys, Problem> {
    let key = |name: &str| -> Result<String, Problem> {
        match folder.read(name)? {
            Some(pem) => Ok(pem),
            None => {
                let pem = RegistryKeys::generate()?;
                folder.write(name, PRIVATE, &pem)?;
                Ok(pem)
            }
        }
    };
    let (ca, leaf) = (key(CA_KEY)?, key(LEAF_KEY)?);
    let certificate = match folder.read_public(Keys::CA_FILE)? {
        Some(pem) => pem,
        None => {
            let pem = RegistryKeys::certify(&ca, now)?;
            folder.write(Keys::CA_FILE, PUBLIC, &pem)?;
            pem
        }
    };
    RegistryKeys::new(&ca, certificate, &leaf, now)
        .map_err(|it| folder.broken(CA_KEY, format!("or {LEAF_KEY} isn't a key: {it:?}")))
}

fn load_secret(folder: &Folder) -> Result<[u8; 32], Problem> {
    let text = match folder.read(SECRET)? {
        Some(text) => text,
        None => {
            let text = hex::encode(rand::random::<[u8; 32]>());
            folder.write(SECRET, PRIVATE, &text)?;
            text
        }
    };
    let mut secret = [0; 32];
    hex::decode_to_slice(text.trim(), &mut secret).map_err(|it| folder.broken(SECRET, it))?;
    Ok(secret)
}

fn keyed(secret: &[u8; 32]) -> Result<Hmac<Sha256>, Problem> {
    Hmac::new_from_slice(secret).map_err(Problem::internal)
}

fn new_signing_key() -> Result<String, Problem> {
    Ok(KeyPair::generate_for(&PKCS_ED25519).map_err(Problem::internal)?.serialize_pem())
}

fn new_kid(prefix: &str, made: i64) -> String {
    format!("{prefix}{made}-{:08x}", rand::random::<u32>())
}

fn made_at(prefix: &str, kid: &str) -> Option<i64> {
    let (made, random) = kid.strip_prefix(prefix)?.split_once('-')?;
    (!random.is_empty()).then(|| made.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt as _,
        path::PathBuf,
    };

    use super::*;
    use crate::Secrets;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("deep/keys");
        (dir, keys)
    }

    fn names(dir: &Path) -> BTreeSet<String> {
        fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_for_their_owner_only() {
        let (_dir, path) = folder();
        Keys::load_or_create(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
        let names = names(&path);
        assert_eq!(names.len(), 7, "{names:?}");
        for name in names {
            let expected = if name == Keys::CA_FILE { PUBLIC } else { PRIVATE };
            assert_eq!(mode(&path.join(&name)), expected, "{name}");
        }
    }

    #[test]
    fn a_key_file_that_was_opened_to_others_is_closed_again() {
        let (_dir, path) = folder();
        Keys::load_or_create(&path).unwrap();
        for name in [SECRET, CA_KEY] {
            fs::set_permissions(path.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Keys::load_or_create(&path).unwrap();
        assert_eq!((mode(&path), mode(&path.join(SECRET)), mode(&path.join(CA_KEY))), (0o700, 0o600, 0o600));
    }

    #[test]
    fn a_second_start_finds_the_same_keys() {
        let (_dir, path) = folder();
        let (one, two) = (Keys::load_or_create(&path).unwrap(), Keys::load_or_create(&path).unwrap());
        assert_eq!(one.newest().unwrap().kid, two.newest().unwrap().kid);
        assert_eq!(one.ca_certificate(), two.ca_certificate());
        assert_eq!(fs::read_to_string(path.join(Keys::CA_FILE)).unwrap(), one.ca_certificate());
        assert!(Secrets::new(&two).matches("secret", &Secrets::new(&one).digest("secret")));
    }

    #[test]
    fn processes_that_start_at_once_agree() {
        let (_dir, path) = folder();
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let path = path.clone();
                std::thread::spawn(move || Keys::load_or_create(&path).unwrap().newest().unwrap().kid.clone())
            })
            .collect();
        let kids: BTreeSet<String> = starts.into_iter().map(|it| it.join().unwrap()).collect();
        assert_eq!(kids.len(), 1);
    }

    #[test]
    fn a_half_written_key_file_is_not_taken() {
        let (_dir, path) = folder();
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(format!(".unfinished-{SECRET}")), "0011").unwrap();
        fs::write(path.join(".unfinished-ed25519-1-00000000.pem"), "-----BEGIN PRIVATE").unwrap();
        let keys = Keys::load_or_create(&path).unwrap();
        assert_eq!(keys.signing.len(), 1);
        assert!(!names(&path).iter().any(|it| it.starts_with(".unfinished")));
    }

    #[test]
    fn a_broken_key_stops_the_start_and_is_named() {
        let (_dir, path) = folder();
        let kid = Keys::load_or_create(&path).unwrap().newest().unwrap().kid.clone();
        for name in [format!("{kid}.pem"), SECRET.to_owned(), CA_KEY.to_owned(), LEAF_KEY.to_owned()] {
            let whole = fs::read_to_string(path.join(&name)).unwrap();
            fs::write(path.join(&name), &whole[..whole.len() / 2]).unwrap();
            let problem = Keys::load_or_create(&path).unwrap_err();
            assert!(format!("{problem:?}").contains(&name), "{problem:?}");
            assert_eq!(fs::read_to_string(path.join(&name)).unwrap(), whole[..whole.len() / 2]);
            fs::write(path.join(&name), whole).unwrap();
        }
        Keys::load_or_create(&path).unwrap();
    }

    #[test]
    fn a_rotated_key_signs_and_the_older_ones_stay() {
        let (_dir, path) = folder();
        let before = Keys::load_or_create(&path).unwrap().newest().unwrap().kid.clone();
        let after = Keys::rotate(&path).unwrap();
        assert_ne!(after.newest().unwrap().kid, before);
        assert!(after.find(&before).is_some());
        let again = Keys::load_or_create(&path).unwrap();
        assert_eq!(again.newest().unwrap().kid, after.newest().unwrap().kid);
        assert_eq!(again.signing.len(), 2);
    }

    #[test]
    fn a_key_goes_when_no_token_of_it_can_be_valid() {
        let day = |it: i64| (it * 86_400, format!("ed25519-{}-00000000", it * 86_400));
        let kids = [day(0), day(10), day(500)];
        assert_eq!(retired(&kids, 410 * 86_400), 0, "its successor signs for 400 days exactly");
        assert_eq!(retired(&kids, 411 * 86_400), 1);
        assert_eq!(retired(&kids, 900 * 86_400), 1);
        assert_eq!(retired(&kids, 9_000 * 86_400), 2, "the newest always stays");
        assert_eq!(retired(&[], 0), 0);
    }

    #[test]
    fn a_retired_key_leaves_the_folder() {
        let (_dir, path) = folder();
        Keys::load_or_create(&path).unwrap();
        for made in [1_000, 2_000] {
            fs::write(path.join(format!("ed25519-{made}-00000000.pem")), new_signing_key().unwrap()).unwrap();
        }
        let keys = Keys::load_or_create(&path).unwrap();
        assert!(keys.find("ed25519-1000-00000000").is_none());
        assert!(keys.find("ed25519-2000-00000000").is_some(), "its successor is young");
        assert!(!path.join("ed25519-1000-00000000.pem").exists());
    }

    #[test]
    fn a_stray_name_is_refused_rather_than_ignored() {
        let (_dir, path) = folder();
        Keys::load_or_create(&path).unwrap();
        fs::write(path.join("ed25519-mine.pem"), new_signing_key().unwrap()).unwrap();
        assert!(Keys::load_or_create(&path).is_err());
    }
}
