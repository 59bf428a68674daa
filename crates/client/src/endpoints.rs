//! The endpoints of administrators, support and developers: one method for each, generated from the
//! tables in `omgservers_api::entrypoint`.

use std::fmt;

use omgservers_api::{
    Problem, Role,
    entrypoint::{Empty, admin, developer, support},
};

use crate::http::{Client, Token};

macro_rules! view {
    (
        $module:ident $role:ident;
        $($(#[doc = $doc:literal])* [$($access:ident)+] $method:ident $name:ident
            ($($request:ident)?) -> $response:ident;)*
    ) => {
        impl $role {
            pub(crate) fn new(client: Client, token: &str) -> Self {
                Self { client, token: Token::new(token) }
            }

            /// Fetches a token for a user of this role; `user` is an id or an alias. It is for
            /// [`Client`]'s method that makes this view. Errors: `auth.credentials`.
            pub async fn create_token(
                client: &Client,
                user: impl fmt::Display,
                password: &str,
            ) -> Result<String, Problem> {
                client.create_token(Role::$role, user, password).await
            }

            $(view! { @$($access)+ [$(#[doc = $doc])*] $module $method $name ($($request)?) -> $response })*
        }
    };
    (@bearer [$(#[doc = $doc:literal])*] $module:ident $method:ident $name:ident () -> $response:ident) => {
        $(#[doc = $doc])*
        pub async fn $method(&self) -> Result<$module::$response, Problem> {
            self.client.call::<$module::$name>(Some(self.token.as_str()), &Empty {}).await
        }
    };
    (
        @bearer [$(#[doc = $doc:literal])*]
        $module:ident $method:ident $name:ident ($request:ident) -> $response:ident
    ) => {
        $(#[doc = $doc])*
        pub async fn $method(&self, request: &$module::$request) -> Result<$module::$response, Problem> {
            self.client.call::<$module::$name>(Some(self.token.as_str()), request).await
        }
    };
    // Tokens have a method that takes no request.
    (@password $($rest:tt)*) => {};
}

/// What an administrator may call; see [`Client::admin`].
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
    token: Token,
}

/// What support may call; see [`Client::support`].
#[derive(Debug, Clone)]
pub struct Support {
    client: Client,
    token: Token,
}

/// What a developer may call; see [`Client::developer`].
#[derive(Debug, Clone)]
pub struct Developer {
    client: Client,
    token: Token,
}

omgservers_api::admin_endpoints!(view);
omgservers_api::support_endpoints!(view);
omgservers_api::developer_endpoints!(view);

impl Client {
    /// What an administrator may call, with a token of [`Admin::create_token`].
    pub fn admin(&self, token: &str) -> Admin {
        Admin::new(self.clone(), token)
    }
    /// What support may call, with a token of [`Support::create_token`].
    pub fn support(&self, token: &str) -> Support {
        Support::new(self.clone(), token)
    }
    /// What a developer may call, with a token of [`Developer::create_token`].
    pub fn developer(&self, token: &str) -> Developer {
        Developer::new(self.clone(), token)
    }
}
