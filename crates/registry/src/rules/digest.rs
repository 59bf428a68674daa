//! Digests: what content is known by.

use std::{fmt, io, io::Read, str::FromStr};

use omgservers_api::Problem;
use sha2::{Digest as _, Sha256, Sha512};

use crate::problems;

/// How a digest is made of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// What every client uses.
    Sha256,
    /// Accepted where a client asks for it.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest, and of its folder on disk.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }

    /// The digest of `content`.
    pub fn of(self, content: &[u8]) -> Digest {
        match self {
            Self::Sha256 => Digest::sha256(Sha256::new_with_prefix(content)),
            Self::Sha512 => Digest { algorithm: self, hex: hex::encode(Sha512::digest(content)) },
        }
    }

    /// The digest of all that `content` still has. It reads 256 KiB at a time.
    pub(crate) fn read(self, mut content: impl Read) -> io::Result<Digest> {
        let hex = match self {
            Self::Sha256 => hash::<Sha256>(&mut content)?,
            Self::Sha512 => hash::<Sha512>(&mut content)?,
        };
        Ok(Digest { algorithm: self, hex })
    }
}

fn hash<H: sha2::Digest>(content: &mut impl Read) -> io::Result<String> {
    let mut hasher = H::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(hex::encode(hasher.finalize())),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// `sha256:` or `sha512:` and that many lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

impl Digest {
    /// What a hasher has come to.
    pub(crate) fn sha256(hasher: Sha256) -> Self {
        Self { algorithm: Algorithm::Sha256, hex: hex::encode(hasher.finalize()) }
    }
    /// How it was made.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
    /// Its digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }
    /// A number for it, for locks: equal digests have equal numbers.
    pub(crate) fn number(&self) -> i64 {
        let first = self.hex.get(..16).unwrap_or_default();
        u64::from_str_radix(first, 16).unwrap_or(0).cast_signed()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.hex)
    }
}

impl FromStr for Digest {
    /// `registry.digest_invalid`.
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let (name, hex) = text.split_once(':').unwrap_or((text, ""));
        let known = [Algorithm::Sha256, Algorithm::Sha512].into_iter().find(|it| it.name() == name);
        let algorithm = known.ok_or_else(|| {
            problems::DIGEST_INVALID
                .detail("a digest starts with `sha256:` or `sha512:`; no other kind is supported")
        })?;
        let digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
        if hex.len() == algorithm.digits() && hex.bytes().all(digit) {
            Ok(Self { algorithm, hex: hex.to_owned() })
        } else {
            let digits = algorithm.digits();
            Err(problems::DIGEST_INVALID
                .detail(format!("`{name}:` is followed by {digits} lower-case hexadecimal digits")))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Algorithm::Sha256.of(b"").to_string(), empty);
        assert_eq!(Algorithm::Sha256.read(io::empty()).unwrap().to_string(), empty);
        assert!(Algorithm::Sha512.of(b"").to_string().starts_with("sha512:cf83e1357eefb8bd"));
    }

    #[test]
    fn what_is_no_digest_is_refused() {
        let hex = "a".repeat(64);
        for bad in [
            String::new(),
            hex.clone(),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{hex}a"),
            format!("sha512:{hex}"),
            format!("md5:{hex}"),
            format!("sha256:../{}", "a".repeat(61)),
        ] {
            assert!(bad.parse::<Digest>().unwrap_err().is(problems::DIGEST_INVALID), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_digest_survives_a_round_trip(content in prop::collection::vec(any::<u8>(), 0..300), long: bool) {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let digest = algorithm.of(&content);
            prop_assert_eq!(&digest.to_string().parse::<Digest>().unwrap(), &digest);
            prop_assert_eq!(algorithm.read(content.as_slice()).unwrap(), digest);
        }

        #[test]
        fn a_digest_never_names_another_folder(text in "(sha256|sha512|.{0,8}):?\\PC{0,130}") {
            if let Ok(digest) = text.parse::<Digest>() {
                prop_assert!(digest.hex().bytes().all(|it| it.is_ascii_hexdigit()));
            }
        }
    }
}
