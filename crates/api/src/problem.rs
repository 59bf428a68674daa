//! Problems: the one error type that crosses a crate border or the wire.

use std::{borrow::Cow, error::Error, fmt};

use serde::{Deserialize, Serialize};

/// What sort of problem it is: programs decide by it, and HTTP makes it a status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The request is wrong and stays wrong: 400.
    Invalid,
    /// The caller isn't known: 401.
    Unauthenticated,
    /// The caller has no permission: 403.
    Forbidden,
    /// It isn't there: 404.
    NotFound,
    /// The path exists, the method doesn't: 405.
    MethodNotAllowed,
    /// It contradicts what is there: 409.
    Conflict,
    /// It was there and is gone for good: 410.
    Gone,
    /// The request is larger than allowed: 413.
    TooLarge,
    /// Too much at once; later it may work: 429.
    Exhausted,
    /// A fault of ours, or one that nobody expected: 500.
    Internal,
    /// Not now; the same request may work later: 503.
    Unavailable,
}

impl Kind {
    /// The HTTP status of this kind.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict => 409,
            Self::Gone => 410,
            Self::TooLarge => 413,
            Self::Exhausted => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
        }
    }

    /// The kind that an HTTP status stands for; other 4xx are [`Kind::Invalid`], the rest
    /// [`Kind::Internal`].
    pub const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            409 => Self::Conflict,
            410 => Self::Gone,
            413 => Self::TooLarge,
            429 => Self::Exhausted,
            503 => Self::Unavailable,
            400..=499 => Self::Invalid,
            _ => Self::Internal,
        }
    }
}

/// A documented problem, declared once: our stable code, the contract's qualifier, its kind and a
/// sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `crate.what`, stable for programs.
    pub code: &'static str,
    /// The contract's word, e.g. `OBJECT_NOT_FOUND`.
    pub qualifier: &'static str,
    /// What sort of problem it is.
    pub kind: Kind,
    /// A sentence for people.
    pub title: &'static str,
}

impl Code {
    /// Declares a problem.
    pub const fn new(code: &'static str, qualifier: &'static str, kind: Kind, title: &'static str) -> Self {
        Self { code, qualifier, kind, title }
    }

    /// A problem of this code with a sentence that says more than the title.
    pub fn detail(self, detail: impl Into<String>) -> Problem {
        let mut problem = Problem::from(self);
        problem.0.detail = Some(detail.into());
        problem
    }
}

/// After which a request is worth another try when something outside of us doesn't answer.
const UNAVAILABLE_PAUSE: std::time::Duration = std::time::Duration::from_secs(1);

/// Something that the caller asked for did not happen.
///
/// Serialised, it is for another process of the backend and has everything but its cause. A caller
/// of the API gets an [`ErrorBody`].
#[derive(Serialize, Deserialize)]
pub struct Problem(Box<Inner>);

#[derive(Serialize, Deserialize)]
struct Inner {
    code: Cow<'static, str>,
    qualifier: Cow<'static, str>,
    kind: Kind,
    title: Cow<'static, str>,
    detail: Option<String>,
    retry_after: Option<std::time::Duration>,
    request_id: Option<String>,
    #[serde(skip)]
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The body of every error answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ErrorBody {
    /// The contract's word for the problem.
    pub qualifier: String,
    /// Our stable code, `crate.what`.
    #[serde(default)]
    pub code: String,
    /// What is wrong, for people: it names the field and the reason.
    #[serde(default)]
    pub detail: String,
    /// Finds the request in the server's log.
    #[serde(default)]
    pub request_id: String,
}

impl Problem {
    /// A fault with its cause: the cause is logged and never shown.
    pub fn internal(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        INTERNAL.detail("see the server's log").because(source)
    }

    /// Something outside of us doesn't answer now; the cause is logged and never shown. The caller
    /// may ask again after a second.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::from(UNAVAILABLE).because(source).retry_after(UNAVAILABLE_PAUSE)
    }

    /// The problem that an error answer tells of.
    pub fn from_wire(status: u16, body: ErrorBody) -> Self {
        Self(Box::new(Inner {
            code: body.code.into(),
            qualifier: body.qualifier.into(),
            kind: Kind::of_status(status),
            title: "the backend refused the request".into(),
            detail: Some(body.detail).filter(|it| !it.is_empty()),
            retry_after: None,
            request_id: Some(body.request_id).filter(|it| !it.is_empty()),
            source: None,
        }))
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says when asking again makes sense.
    #[must_use]
    pub fn retry_after(mut self, pause: std::time::Duration) -> Self {
        self.0.retry_after = Some(pause);
        self
    }

    /// Whether it is a problem of this code.
    pub fn is(&self, code: Code) -> bool {
        self.0.code == code.code
    }
    /// Our stable code.
    pub fn code(&self) -> &str {
        &self.0.code
    }
    /// The contract's word.
    pub fn qualifier(&self) -> &str {
        &self.0.qualifier
    }
    /// What sort of problem it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }
    /// What the caller may read: the detail, or else the title.
    pub fn sentence(&self) -> &str {
        self.0.detail.as_deref().unwrap_or(&self.0.title)
    }
    /// When asking again makes sense, if it does.
    pub fn pause(&self) -> Option<std::time::Duration> {
        self.0.retry_after
    }
    /// Finds the request in the server's log; known where the problem came over the wire.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
    /// The body of the error answer.
    pub fn body(&self, request_id: &str) -> ErrorBody {
        ErrorBody {
            qualifier: self.qualifier().to_owned(),
            code: self.code().to_owned(),
            detail: self.sentence().to_owned(),
            request_id: request_id.to_owned(),
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self(Box::new(Inner {
            code: code.code.into(),
            qualifier: code.qualifier.into(),
            kind: code.kind,
            title: code.title.into(),
            detail: None,
            retry_after: None,
            request_id: None,
            source: None,
        }))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.detail {
            Some(detail) => write!(f, "{}: {detail}", self.0.title),
            None => f.write_str(&self.0.title),
        }
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({self}", self.0.code)?;
        if let Some(source) = &self.0.source {
            write!(f, "; because: {source:?}")?;
        }
        f.write_str(")")
    }
}

impl Error for Problem {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

#[cfg(feature = "diesel")]
impl From<diesel::result::Error> for Problem {
    fn from(error: diesel::result::Error) -> Self {
        use diesel::result::{DatabaseErrorKind, Error as E};
        match &error {
            // The connection is gone, and with it, perhaps, the answer to a statement that was
            // carried out.
            E::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _,
            )
            | E::BrokenTransactionManager => Self::unavailable(error),
            // After a failover, or as a provider's answer to a full disk. It passes.
            E::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _) => Self::unavailable(error),
            _ => Self::internal(error),
        }
    }
}

/// Every code in [`codes`] and in this module, for the generated list.
pub const ALL: &[Code] = &[
    INTERNAL,
    UNAVAILABLE,
    codes::WRONG_REQUEST,
    codes::VALIDATION,
    codes::WRONG_MEDIA_TYPE,
    codes::TOO_LARGE,
    codes::NO_CREDENTIALS,
    codes::WRONG_TOKEN,
    codes::WRONG_CREDENTIALS,
    codes::WRONG_ROLE,
    codes::PERMISSION_NOT_FOUND,
    codes::UNKNOWN_PATH,
    codes::METHOD_NOT_ALLOWED,
    codes::RATE_LIMITED,
];

/// Database faults, bugs and everything else that the caller can't mend.
pub const INTERNAL: Code = Code::new(
    "internal",
    "INTERNAL_EXCEPTION_OCCURRED",
    Kind::Internal,
    "something went wrong in the backend",
);
/// A part of the backend, or something that it needs, doesn't answer now.
pub const UNAVAILABLE: Code = Code::new(
    "unavailable",
    "SERVICE_UNAVAILABLE",
    Kind::Unavailable,
    "the backend can't answer this now; try again",
);

/// Problems that belong to no single crate.
pub mod codes {
    use super::{Code, Kind};

    /// The body isn't what the endpoint expects.
    pub const WRONG_REQUEST: Code = Code::new(
        "request.malformed",
        "WRONG_REQUEST",
        Kind::Invalid,
        "the body isn't what this endpoint expects",
    );
    /// A field's value is out of its bounds.
    pub const VALIDATION: Code = Code::new(
        "request.invalid",
        "VALIDATION_CONSTRAINT_VIOLATED",
        Kind::Invalid,
        "a field's value isn't allowed",
    );
    /// The content type isn't the endpoint's.
    pub const WRONG_MEDIA_TYPE: Code = Code::new(
        "request.media_type",
        "WRONG_MEDIA_TYPE",
        Kind::Invalid,
        "the content type isn't what this endpoint expects",
    );
    /// The body is larger than allowed.
    pub const TOO_LARGE: Code =
        Code::new("request.too_large", "WRONG_REQUEST", Kind::TooLarge, "the body is larger than allowed");
    /// No bearer token on an endpoint that needs one.
    pub const NO_CREDENTIALS: Code = Code::new(
        "auth.missing",
        "WRONG_CREDENTIALS",
        Kind::Unauthenticated,
        "this endpoint needs an `Authorization: Bearer` header",
    );
    /// The token is expired, forged, or of another service.
    pub const WRONG_TOKEN: Code = Code::new(
        "auth.token",
        "WRONG_CREDENTIALS",
        Kind::Unauthenticated,
        "the token isn't valid, or not any more",
    );
    /// Unknown user, wrong password, or a user of another role: one answer for all three.
    pub const WRONG_CREDENTIALS: Code = Code::new(
        "auth.credentials",
        "WRONG_CREDENTIALS",
        Kind::Unauthenticated,
        "no user of this role has these credentials",
    );
    /// The token is of another role.
    pub const WRONG_ROLE: Code =
        Code::new("auth.role", "WRONG_CREDENTIALS", Kind::Forbidden, "this endpoint is for another role");
    /// The user doesn't hold the permission.
    pub const PERMISSION_NOT_FOUND: Code = Code::new(
        "auth.permission",
        "PERMISSION_NOT_FOUND",
        Kind::Forbidden,
        "the user doesn't hold the permission",
    );
    /// There is no such endpoint.
    pub const UNKNOWN_PATH: Code =
        Code::new("request.path", "OBJECT_NOT_FOUND", Kind::NotFound, "there is no such endpoint");
    /// The endpoint has other methods.
    pub const METHOD_NOT_ALLOWED: Code = Code::new(
        "request.method",
        "WRONG_REQUEST",
        Kind::MethodNotAllowed,
        "the endpoint doesn't have this method",
    );
    /// Too many requests from one address.
    pub const RATE_LIMITED: Code = Code::new(
        "request.rate",
        "TOO_MANY_REQUESTS",
        Kind::Exhausted,
        "too many requests from this address",
    );
}

#[cfg(all(test, feature = "diesel"))]
mod tests {
    use diesel::result::{DatabaseErrorKind, Error};

    use super::*;

    #[test]
    fn a_lost_connection_to_the_database_is_no_fault_that_stays() {
        let failed = |kind| Problem::from(Error::DatabaseError(kind, Box::new("said so".to_owned()))).kind();
        assert_eq!(failed(DatabaseErrorKind::UnableToSendCommand), Kind::Unavailable);
        assert_eq!(failed(DatabaseErrorKind::ClosedConnection), Kind::Unavailable);
        assert_eq!(failed(DatabaseErrorKind::ReadOnlyTransaction), Kind::Unavailable);
        assert_eq!(failed(DatabaseErrorKind::CheckViolation), Kind::Internal);
    }
}
