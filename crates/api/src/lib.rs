#![doc = include_str!("../README.md")]

pub mod config;
pub mod details;
pub mod dispatcher;
pub mod entrypoint;
pub mod ids;
pub mod interchange;
pub mod problem;
pub mod protocol;
pub mod roles;
pub mod stream;
pub mod time;
pub mod validate;

pub use ids::{
    AliasId, ClientId, DeploymentId, EntryId, HostId, ImageId, LobbyId, MatchId, MatchmakerId, PermissionId,
    PoolId, ProjectId, Ref, RuntimeId, Slot, StageId, TenantId, TicketId, UserId, VersionId,
};
pub use problem::{Code, Kind, Problem};
pub use roles::{ProjectPermission, Role, RuntimeQualifier, StagePermission, TenantPermission, WorkerReason};
pub use validate::Validate;
