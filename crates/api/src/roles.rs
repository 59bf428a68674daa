//! Roles, permissions and the two kinds of runtime: enum constants of the contract.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($($(#[doc = $doc:literal])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "diesel", derive(diesel::expression::AsExpression, diesel::deserialize::FromSqlRow))]
        #[cfg_attr(feature = "diesel", diesel(sql_type = diesel::sql_types::Text))]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant),* }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The word on the wire and in the database.
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $text),* } }
        }
        impl crate::entrypoint::FieldType for $name {
            const KIND: crate::entrypoint::FieldKind = crate::entrypoint::FieldKind::Word(&[$($text),*]);
        }
        #[cfg(feature = "schema")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                // The derive would list the names of the variants, not the words of the wire.
                utoipa::openapi::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some([$($doc),*].join(" ").trim().to_owned()))
                    .enum_values(Some([$($text),*]))
                    .into()
            }
        }
        #[cfg(feature = "schema")]
        impl utoipa::ToSchema for $name {}
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
        impl FromStr for $name {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|it| it.as_str() == text).ok_or(UnknownWord { of: stringify!($name) })
            }
        }
        #[cfg(feature = "diesel")]
        impl diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn to_sql<'b>(&'b self, out: &mut diesel::serialize::Output<'b, '_, diesel::pg::Pg>) -> diesel::serialize::Result {
                <str as diesel::serialize::ToSql<diesel::sql_types::Text, diesel::pg::Pg>>::to_sql(self.as_str(), out)
            }
        }
        #[cfg(feature = "diesel")]
        impl diesel::deserialize::FromSql<diesel::sql_types::Text, diesel::pg::Pg> for $name {
            fn from_sql(bytes: diesel::pg::PgValue<'_>) -> diesel::deserialize::Result<Self> {
                Ok(std::str::from_utf8(bytes.as_bytes())?.parse::<Self>()?)
            }
        }
    )*};
}

/// A text is none of an enumeration's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such {of}")]
pub struct UnknownWord {
    /// The enumeration.
    pub of: &'static str,
}

words! {
    /// Why a background worker runs.
    WorkerReason {
        /// The server has started.
        Start = "START",
        /// Something that concerns the worker has happened.
        Doorbell = "DOORBELL",
        /// The last run asked for another one at this time.
        Requeue = "REQUEUE",
        /// The worker has not run for its period.
        Period = "PERIOD",
    }
    /// What a user is. Runtimes aren't users: they have credentials of their own.
    Role {
        /// Manages the installation.
        Admin = "admin",
        /// Makes tenants for developers.
        Support = "support",
        /// Pushes and deploys game servers.
        Developer = "developer",
        /// Plays.
        Player = "player",
        /// The backend itself, where it needs an account.
        Service = "service",
    }
    /// What a developer may do in a tenant.
    TenantPermission {
        /// Make and delete projects.
        ProjectManager = "PROJECT_MANAGER",
        /// See the tenant.
        TenantViewer = "TENANT_VIEWER",
    }
    /// What a developer may do in a project.
    ProjectPermission {
        /// Make and delete stages.
        StageManager = "STAGE_MANAGER",
        /// Make and delete versions; push and pull images.
        VersionManager = "VERSION_MANAGER",
        /// See the project and everything in it.
        ProjectViewer = "PROJECT_VIEWER",
    }
    /// What a developer may do in a stage.
    StagePermission {
        /// Deploy, and manage what is deployed.
        DeploymentManager = "DEPLOYMENT_MANAGER",
        /// See the stage.
        StageViewer = "STAGE_VIEWER",
    }
    /// The two kinds of runtime.
    RuntimeQualifier {
        /// Where players gather.
        Lobby = "LOBBY",
        /// Where they play together.
        Match = "MATCH",
    }
    /// Which runtimes an image is for.
    ImageQualifier {
        /// Lobbies.
        Lobby = "LOBBY",
        /// Matches.
        Match = "MATCH",
        /// Both.
        Universal = "UNIVERSAL",
    }
    /// What an alias stands for.
    AliasQualifier {
        /// The installation.
        Root = "ROOT",
        /// A pool.
        Pool = "POOL",
        /// A user.
        User = "USER",
        /// A tenant.
        Tenant = "TENANT",
        /// A project.
        Project = "PROJECT",
        /// A stage.
        Stage = "STAGE",
    }
    /// How long a message lives before it is delivered.
    Delivery {
        /// Until it is consumed, across restarts.
        Durable = "durable",
        /// In memory only.
        Ephemeral = "ephemeral",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_contracts() {
        assert_eq!(serde_json::to_string(&ProjectPermission::VersionManager).unwrap(), "\"VERSION_MANAGER\"");
        assert_eq!("LOBBY".parse(), Ok(RuntimeQualifier::Lobby));
        assert!("lobby".parse::<RuntimeQualifier>().is_err());
    }
}
