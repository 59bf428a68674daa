//! The problems of this crate, and the words that the OCI distribution specification has for
//! problems.

use omgservers_api::{Code, Kind, Problem};

/// The name isn't one that a repository can have.
pub const NAME_INVALID: Code = Code::new(
    "registry.name_invalid",
    "WRONG_REQUEST",
    Kind::Invalid,
    "the name isn't one that a repository can have",
);
/// There is no such repository.
pub const NAME_UNKNOWN: Code = Code::new(
    "registry.name_unknown",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "there is no such repository: images live in `omgservers/<tenant id>/<project id>/<universal, lobby or match>`",
);
/// The repository doesn't have the blob.
pub const BLOB_UNKNOWN: Code = Code::new(
    "registry.blob_unknown",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "the repository doesn't have this blob",
);
/// The repository doesn't have the upload, or not any more.
pub const UPLOAD_UNKNOWN: Code = Code::new(
    "registry.upload_unknown",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "there is no such upload, or not any more; start a new one",
);
/// The upload broke off, or a part of it doesn't fit.
pub const UPLOAD_INVALID: Code =
    Code::new("registry.upload_invalid", "WRONG_REQUEST", Kind::Invalid, "the upload can't go on like this");
/// Another request writes to the upload.
pub const UPLOAD_BUSY: Code = Code::new(
    "registry.upload_busy",
    "SERVICE_UNAVAILABLE",
    Kind::Unavailable,
    "another request still writes to this upload; try again",
);
/// The text is no digest, or the content has another one.
pub const DIGEST_INVALID: Code = Code::new(
    "registry.digest_invalid",
    "WRONG_REQUEST",
    Kind::Invalid,
    "the digest isn't that of the content",
);
/// The content differs in length from its header.
pub const SIZE_INVALID: Code = Code::new(
    "registry.size_invalid",
    "WRONG_REQUEST",
    Kind::Invalid,
    "the content isn't as long as it was said to be",
);
/// The blob or the manifest is larger than allowed.
pub const TOO_LARGE: Code =
    Code::new("registry.too_large", "WRONG_REQUEST", Kind::TooLarge, "the content is larger than allowed");
/// The repository doesn't have the manifest.
pub const MANIFEST_UNKNOWN: Code = Code::new(
    "registry.manifest_unknown",
    "OBJECT_NOT_FOUND",
    Kind::NotFound,
    "the repository doesn't have this manifest",
);
/// The manifest isn't one that the registry takes.
pub const MANIFEST_INVALID: Code = Code::new(
    "registry.manifest_invalid",
    "WRONG_IMAGE",
    Kind::Invalid,
    "the manifest isn't one that this registry takes",
);
/// The manifest names content that the repository doesn't have.
pub const MANIFEST_BLOB_UNKNOWN: Code = Code::new(
    "registry.manifest_blob_unknown",
    "WRONG_IMAGE",
    Kind::Invalid,
    "the manifest names content that the repository doesn't have",
);
/// The number of entries that was asked for is no number.
pub const PAGE_INVALID: Code =
    Code::new("registry.page_invalid", "WRONG_REQUEST", Kind::Invalid, "`n` must be a number from 0");
/// A parameter can't be what it should be.
pub const PARAMETER_INVALID: Code = Code::new(
    "registry.parameter_invalid",
    "WRONG_REQUEST",
    Kind::Invalid,
    "a parameter of the request is wrong",
);
/// The caller may not.
pub const DENIED: Code = Code::new(
    "registry.denied",
    "PERMISSION_NOT_FOUND",
    Kind::Forbidden,
    "requested access to the repository is denied",
);
/// The token doesn't allow it; one that does may be had.
pub const SCOPE_INSUFFICIENT: Code = Code::new(
    "registry.scope_insufficient",
    "WRONG_CREDENTIALS",
    Kind::Unauthenticated,
    "the token doesn't allow this",
);
/// The token service doesn't know the grant, or it lacks something.
pub const GRANT_INVALID: Code = Code::new(
    "registry.grant_invalid",
    "WRONG_REQUEST",
    Kind::Unauthenticated,
    "the grant isn't one that gives a token",
);
/// The registry doesn't do this.
pub const UNSUPPORTED: Code = Code::new(
    "registry.unsupported",
    "UNSUPPORTED_FEATURE",
    Kind::MethodNotAllowed,
    "the registry doesn't do this",
);

const WORDS: &[(Code, &str)] = &[
    (NAME_INVALID, "NAME_INVALID"),
    (NAME_UNKNOWN, "NAME_UNKNOWN"),
    (BLOB_UNKNOWN, "BLOB_UNKNOWN"),
    (UPLOAD_UNKNOWN, "BLOB_UPLOAD_UNKNOWN"),
    (UPLOAD_INVALID, "BLOB_UPLOAD_INVALID"),
    (UPLOAD_BUSY, "UNAVAILABLE"),
    (DIGEST_INVALID, "DIGEST_INVALID"),
    (SIZE_INVALID, "SIZE_INVALID"),
    (TOO_LARGE, "SIZE_INVALID"),
    (MANIFEST_UNKNOWN, "MANIFEST_UNKNOWN"),
    (MANIFEST_INVALID, "MANIFEST_INVALID"),
    (MANIFEST_BLOB_UNKNOWN, "MANIFEST_BLOB_UNKNOWN"),
    (PAGE_INVALID, "PAGINATION_NUMBER_INVALID"),
    // The specification has no word for it.
    (PARAMETER_INVALID, "UNSUPPORTED"),
    (DENIED, "DENIED"),
    (SCOPE_INSUFFICIENT, "DENIED"),
    (GRANT_INVALID, "UNAUTHORIZED"),
    (UNSUPPORTED, "UNSUPPORTED"),
];

/// All of them.
pub const ALL: &[Code] = &[
    NAME_INVALID,
    NAME_UNKNOWN,
    BLOB_UNKNOWN,
    UPLOAD_UNKNOWN,
    UPLOAD_INVALID,
    UPLOAD_BUSY,
    DIGEST_INVALID,
    SIZE_INVALID,
    TOO_LARGE,
    MANIFEST_UNKNOWN,
    MANIFEST_INVALID,
    MANIFEST_BLOB_UNKNOWN,
    PAGE_INVALID,
    PARAMETER_INVALID,
    DENIED,
    SCOPE_INSUFFICIENT,
    GRANT_INVALID,
    UNSUPPORTED,
];

/// The word of the OCI distribution specification for a problem, as registry clients know it.
pub fn oci_word(problem: &Problem) -> &'static str {
    let own = WORDS.iter().find(|(code, _)| problem.is(*code));
    own.map_or_else(|| word_of_kind(problem.kind()), |(_, word)| word)
}

const fn word_of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthenticated => "UNAUTHORIZED",
        Kind::Forbidden => "DENIED",
        Kind::NotFound => "NAME_UNKNOWN",
        Kind::TooLarge => "SIZE_INVALID",
        Kind::Exhausted => "TOOMANYREQUESTS",
        Kind::Unavailable => "UNAVAILABLE",
        Kind::MethodNotAllowed | Kind::Invalid | Kind::Conflict | Kind::Gone => "UNSUPPORTED",
        Kind::Internal => "UNKNOWN",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_this_crate_has_a_word_of_the_specification() {
        for code in ALL {
            assert!(WORDS.iter().any(|(it, _)| it == code), "{}", code.code);
            assert!(code.code.starts_with("registry."), "{}", code.code);
        }
        assert_eq!(ALL.len(), WORDS.len());
        assert_eq!(oci_word(&Problem::internal("x")), "UNKNOWN");
    }
}
