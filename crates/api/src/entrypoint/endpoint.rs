//! The description of an endpoint, once. Its route, document, SDK method, command and tests are
//! made of it.
//!
//! `endpoints!` turns one entry of a role's table into a type that implements [`Endpoint`] and
//! into a [`Descriptor`]. The table of a role is exported as a macro, too, so that other crates
//! generate code from it.

use serde::{Serialize, de::DeserializeOwned};

use super::field::Field;
use crate::{Problem, problem::codes};

/// The first part of an endpoint's name: who calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntrypointRole {
    /// Players.
    Player,
    /// Game servers.
    Runtime,
    /// Developers.
    Developer,
    /// Support.
    Support,
    /// Administrators.
    Admin,
}

impl EntrypointRole {
    /// All of them, in the order of routing: the most frequent callers come first.
    pub const ALL: [Self; 5] = [Self::Player, Self::Runtime, Self::Developer, Self::Support, Self::Admin];

    /// Its word in paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Player => "player",
            Self::Runtime => "runtime",
            Self::Developer => "developer",
            Self::Support => "support",
            Self::Admin => "admin",
        }
    }

    /// The endpoints of this role, in the order of routing.
    pub const fn endpoints(self) -> &'static [Descriptor] {
        match self {
            Self::Player => super::player::ENDPOINTS,
            Self::Runtime => super::runtime::ENDPOINTS,
            Self::Developer => super::developer::ENDPOINTS,
            Self::Support => super::support::ENDPOINTS,
            Self::Admin => super::admin::ENDPOINTS,
        }
    }
}

/// What a caller has to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointAccess {
    /// A bearer token of the endpoint's role.
    Bearer,
    /// Nothing; the server does little work for the request.
    Anonymous,
    /// Nothing; the server checks an operator's password with a slow hash.
    Password,
}

/// A permission that a developer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequiredPermission {
    /// Where it is granted: `tenant`, `project` or `stage`.
    pub level: &'static str,
    /// Its word, e.g. `TENANT_VIEWER`.
    pub name: &'static str,
}

/// An endpoint as a type: `api.call::<developer::GetTenantDetails>(…)`.
pub trait Endpoint: Send + Sync + 'static {
    /// The body of the request.
    type Request: Serialize;
    /// The body of the answer with status 200.
    type Response: DeserializeOwned;
    /// Verb, role, prose, errors and examples.
    const DESCRIPTOR: Descriptor;
}

/// An endpoint that needs a bearer token of its role.
pub trait BearerEndpoint: Endpoint {}
/// An endpoint that needs no token.
pub trait AnonymousEndpoint: Endpoint {}

/// An endpoint as a value.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// Who calls it.
    pub role: EntrypointRole,
    /// What it does: the last part of the path.
    pub verb: &'static str,
    /// What a caller has to show.
    pub access: EndpointAccess,
    /// Whether the server may hold the answer until something arrives.
    pub waits: bool,
    /// The lines of its documentation.
    pub docs: &'static [&'static str],
    /// The permission that a developer needs.
    pub permission: Option<RequiredPermission>,
    /// The codes of problems that it may answer, beside those of [`errors`](Self::errors) that come
    /// from its access.
    pub own_errors: &'static [&'static str],
    /// The fields of the request.
    pub fields: &'static [Field],
    /// A request, as JSON.
    pub example_request: &'static str,
    /// The answer to it, as JSON.
    pub example_response: &'static str,
    /// Decodes and validates a request. Errors: `request.wrong`, `request.invalid`.
    pub check_request: fn(&str) -> Result<(), Problem>,
    /// Decodes an answer. Errors: `request.wrong`.
    pub check_response: fn(&str) -> Result<(), Problem>,
    /// The schemas of request and response.
    #[cfg(feature = "schema")]
    pub schemas: fn() -> (Shape, Shape),
}

impl Descriptor {
    /// Its path.
    pub fn path(&self) -> String {
        format!("/service/v1/entrypoint/{}/request/{}", self.role.as_str(), self.verb)
    }

    /// What it does, in one sentence.
    pub fn summary(&self) -> String {
        paragraph(self.docs.split(|it| it.trim().is_empty()).next().unwrap_or_default())
    }

    /// The rest of its prose, the permission that it needs included; paragraphs are apart by an
    /// empty line.
    pub fn description(&self) -> String {
        let rest = self.docs.split(|it| it.trim().is_empty()).skip(1).map(paragraph);
        let permission = self.permission.map(|it| format!("Needs {} on the {}.", it.name, it.level));
        let held = self.waits.then(|| "`wait` holds the answer until something arrives.".to_owned());
        rest.chain(permission).chain(held).collect::<Vec<_>>().join("\n\n")
    }

    /// The codes of all problems that it may answer.
    pub fn errors(&self) -> impl Iterator<Item = &'static str> {
        let by_access: &[_] = match self.access {
            EndpointAccess::Bearer => BEARER_ERRORS,
            EndpointAccess::Anonymous | EndpointAccess::Password => ANONYMOUS_ERRORS,
        };
        let by_permission: &[_] = if self.permission.is_some() { PERMISSION_ERRORS } else { &[] };
        [COMMON_ERRORS, by_access, by_permission, self.own_errors].into_iter().flatten().copied()
    }
}

fn paragraph(lines: &[&str]) -> String {
    lines.iter().map(|it| it.trim()).collect::<Vec<_>>().join(" ")
}

/// Every endpoint may answer these.
const COMMON_ERRORS: &[&str] = &[
    codes::WRONG_REQUEST.code,
    codes::VALIDATION.code,
    codes::WRONG_MEDIA_TYPE.code,
    codes::TOO_LARGE.code,
    crate::problem::INTERNAL.code,
    crate::problem::UNAVAILABLE.code,
    "core.not_owner",
];
const BEARER_ERRORS: &[&str] = &[codes::NO_CREDENTIALS.code, codes::WRONG_TOKEN.code, codes::WRONG_ROLE.code];
const ANONYMOUS_ERRORS: &[&str] = &[codes::RATE_LIMITED.code];
const PERMISSION_ERRORS: &[&str] = &[codes::PERMISSION_NOT_FOUND.code];

/// All endpoints, in the order of routing.
pub fn all() -> impl Iterator<Item = &'static Descriptor> {
    EntrypointRole::ALL.into_iter().flat_map(EntrypointRole::endpoints)
}

/// The endpoint at a path, which may be anything that a client sends.
pub fn at(path: &str) -> Option<&'static Descriptor> {
    let (role, verb) = path.strip_prefix("/service/v1/entrypoint/")?.split_once("/request/")?;
    let role = EntrypointRole::ALL.into_iter().find(|it| it.as_str() == role)?;
    role.endpoints().iter().find(|it| it.verb == verb)
}

/// The schema of a type, and of the types that it is made of.
#[cfg(feature = "schema")]
#[derive(Clone)]
pub struct Shape {
    /// The name of the type.
    pub name: String,
    /// Its schema and those that it refers to, by name.
    pub schemas: Vec<(String, utoipa::openapi::RefOr<utoipa::openapi::Schema>)>,
}

#[cfg(feature = "schema")]
impl Shape {
    /// Makes the shape of a type.
    pub fn of<T: utoipa::ToSchema>() -> Self {
        let mut schemas = vec![(T::name().into_owned(), <T as utoipa::PartialSchema>::schema())];
        T::schemas(&mut schemas);
        Self { name: T::name().into_owned(), schemas }
    }
}

/// Decodes a value. Errors: `request.wrong`.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(json: &'a str) -> Result<T, Problem> {
    serde_json::from_str(json).map_err(|error| codes::WRONG_REQUEST.detail(error.to_string()))
}

/// The table of a role. Each entry is an endpoint:
///
/// ```text
/// /// Summary, one sentence.
/// ///
/// /// The rest of the prose.
/// bearer "create-tenant" create_tenant CreateTenant () -> CreateTenantResponse {
///     permission: tenant TENANT_VIEWER,
///     errors: ["tenants.not_found"],
///     request: {},
///     response: { "id": "1" },
/// }
/// ```
///
/// `bearer` needs a token of the role; `anonymous` and `password` need none. `bearer waiting` marks
/// an answer that the server may hold. `permission` is optional. `()` stands for a request without
/// fields.
///
/// The first argument is a dollar sign, which the exported macro needs. The second is the name of
/// the exported macro. It passes the entries to another macro, so that other crates can generate
/// code from them. The third and the fourth are the role, as a module and as a variant.
macro_rules! endpoints {
    (
        ($d:tt) $export:ident $module:ident $role:ident;
        $(
            $(#[doc = $doc:literal])*
            $access:ident $($waiting:ident)? $verb:literal $method:ident $name:ident
            ($($request:ident $(<$lifetime:lifetime>)?)?) -> $response:ident {
                $(permission: $level:ident $permission:ident,)?
                errors: [$($error:literal),* $(,)?],
                request: $example_request:tt,
                response: $example_response:tt $(,)?
            }
        )*
    ) => {
        $(
            $(#[doc = $doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $crate::entrypoint::Endpoint for $name {
                type Request = endpoints!(@request $($request $(<$lifetime>)?)?);
                type Response = $response;
                const DESCRIPTOR: $crate::entrypoint::Descriptor = $crate::entrypoint::Descriptor {
                    role: $crate::entrypoint::EntrypointRole::$role,
                    verb: $verb,
                    access: endpoints!(@access $access),
                    waits: endpoints!(@waits $($waiting)?),
                    docs: &[$($doc),*],
                    permission: endpoints!(@permission $($level $permission)?),
                    own_errors: &[$($error),*],
                    fields: <Self::Request as $crate::entrypoint::Fields>::FIELDS,
                    example_request: stringify!($example_request),
                    example_response: stringify!($example_response),
                    check_request: |json| {
                        let request: endpoints!(@borrowed $($request $(<$lifetime>)?)?) =
                            $crate::entrypoint::endpoint::read(json)?;
                        $crate::Validate::validate(&request)
                    },
                    check_response: |json| {
                        $crate::entrypoint::endpoint::read::<$response>(json).map(|_read| ())
                    },
                    #[cfg(feature = "schema")]
                    schemas: || (
                        $crate::entrypoint::Shape::of::<Self::Request>(),
                        $crate::entrypoint::Shape::of::<$response>(),
                    ),
                };
            }
            endpoints! { @marker $access $name }
        )*

        /// The endpoints of this role, in the order of routing.
        pub const ENDPOINTS: &[$crate::entrypoint::Descriptor] =
            &[$(<$name as $crate::entrypoint::Endpoint>::DESCRIPTOR),*];

        /// Passes the endpoints of this role to a macro.
        #[macro_export]
        macro_rules! $export {
            ($d callback:ident) => {
                $d callback! {
                    $module $role;
                    $(
                        $(#[doc = $doc])*
                        [$access $($waiting)?] $method $name ($($request)?) -> $response;
                    )*
                }
            };
        }
    };
    (@request) => { $crate::entrypoint::Empty };
    (@request $request:ident) => { $request };
    (@request $request:ident <$lifetime:lifetime>) => { $request<$lifetime> };
    (@borrowed $request:ident <$lifetime:lifetime>) => { $request<'_> };
    (@borrowed $($request:ident)?) => { endpoints!(@request $($request)?) };
    (@access bearer) => { $crate::entrypoint::EndpointAccess::Bearer };
    (@access anonymous) => { $crate::entrypoint::EndpointAccess::Anonymous };
    (@access password) => { $crate::entrypoint::EndpointAccess::Password };
    (@waits) => { false };
    (@waits waiting) => { true };
    (@permission) => { None };
    (@permission $level:ident $permission:ident) => {
        Some($crate::entrypoint::RequiredPermission {
            level: stringify!($level),
            name: stringify!($permission),
        })
    };
    (@marker bearer $name:ident) => { impl $crate::entrypoint::BearerEndpoint for $name {} };
    (@marker $access:ident $name:ident) => { impl $crate::entrypoint::AnonymousEndpoint for $name {} };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_is_described_and_no_two_have_one_path() {
        let mut paths = BTreeSet::new();
        for endpoint in all() {
            let path = endpoint.path();
            let summary = endpoint.summary();
            assert!(
                summary.ends_with('.') && summary.len() < 120,
                "{path}: {summary:?} is no short sentence"
            );
            assert_eq!(at(&path).map(Descriptor::path).as_ref(), Some(&path));
            assert!(paths.insert(path.clone()), "{path} is there twice");
        }
        for path in ["", "/", "/service/v1/entrypoint/player/request/", "/service/v1/entrypoint//request/x"] {
            assert!(at(path).is_none(), "{path}");
        }
    }

    #[test]
    fn every_example_is_a_request_and_an_answer_of_its_endpoint() {
        for endpoint in all() {
            let path = endpoint.path();
            (endpoint.check_request)(endpoint.example_request)
                .unwrap_or_else(|problem| panic!("{path}: {problem}"));
            (endpoint.check_response)(endpoint.example_response)
                .unwrap_or_else(|problem| panic!("{path}: {problem}"));
            let request: serde_json::Value = serde_json::from_str(endpoint.example_request).unwrap();
            for field in endpoint.fields.iter().filter(|it| !it.optional) {
                assert!(request.get(field.name).is_some(), "{path}: the example has no `{}`", field.name);
            }
        }
    }
}
