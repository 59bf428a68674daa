//! Secrets that we generate: 192 random bits need no slow hash, only one that a stolen table
//! doesn't reveal.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::Keys;

/// Makes secrets and their keyed digests.
#[derive(Clone)]
pub struct Secrets {
    keyed: Hmac<Sha256>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

impl Secrets {
    /// Digests depend on the key in `keys`: with another key nothing matches any more.
    pub fn new(keys: &Keys) -> Self {
        Self { keyed: keys.keyed() }
    }

    /// 24 random bytes as 32 characters of standard base64.
    pub fn generate(&self) -> String {
        STANDARD.encode(rand::random::<[u8; 24]>())
    }

    /// HMAC-SHA256 of the secret, 64 hexadecimal digits. What a table keeps.
    pub fn digest(&self, secret: &str) -> String {
        let mut keyed = self.keyed.clone();
        keyed.update(secret.as_bytes());
        hex::encode(keyed.finalize().into_bytes())
    }

    /// Whether `digest` is of `secret`, in a time that doesn't depend on how much of it fits.
    pub fn matches(&self, secret: &str, digest: &str) -> bool {
        let mut keyed = self.keyed.clone();
        keyed.update(secret.as_bytes());
        hex::decode(digest).is_ok_and(|it| keyed.verify_slice(&it).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn generated_secrets_have_32_characters_and_differ() {
        let secrets = Secrets::new(&Keys::ephemeral());
        let made: HashSet<String> = (0..1_000).map(|_| secrets.generate()).collect();
        assert_eq!(made.len(), 1_000);
        assert!(made.iter().all(|it| it.len() == 32 && STANDARD.decode(it).unwrap().len() == 24));
    }

    #[test]
    fn a_digest_is_worth_nothing_with_another_key() {
        let (one, two) = (Secrets::new(&Keys::ephemeral()), Secrets::new(&Keys::ephemeral()));
        let secret = one.generate();
        assert!(one.matches(&secret, &one.digest(&secret)));
        assert!(!two.matches(&secret, &one.digest(&secret)));
        assert_ne!(one.digest(&secret), two.digest(&secret));
    }

    #[test]
    fn what_is_no_digest_matches_nothing() {
        let secrets = Secrets::new(&Keys::ephemeral());
        let digest = secrets.digest("it");
        for broken in ["", "zz", "00", &digest[..62], &format!("{digest}00")] {
            assert!(!secrets.matches("it", broken), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_secret_itself_matches(secret in ".{0,80}", other in ".{0,80}") {
            let secrets = Secrets::new(&Keys::ephemeral());
            prop_assert!(secrets.matches(&secret, &secrets.digest(&secret)));
            prop_assert_eq!(secrets.matches(&other, &secrets.digest(&secret)), secret == other);
        }
    }
}
