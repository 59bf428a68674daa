//! Callers and configurations of these tests.

use omgservers_api::{
    ProjectPermission, Role, RuntimeId, StagePermission, UserId, config::VersionConfig, ids::Id as _,
};
use omgservers_core::Caller;
use omgservers_fixtures::{Fixture, StagePath, user};

/// Developers who hold everything but `permission` in the project, or everything in another project
/// of the tenant.
pub(crate) async fn unpermitted(
    fixture: &Fixture,
    at: StagePath,
    permission: ProjectPermission,
) -> Vec<Caller> {
    let others: Vec<_> = ProjectPermission::ALL.iter().copied().filter(|it| *it != permission).collect();
    let elsewhere = fixture.stage_in(at.tenant).await;
    vec![
        fixture.developer_with(at, &others, StagePermission::ALL).await,
        fixture.developer_with(elsewhere, ProjectPermission::ALL, StagePermission::ALL).await,
    ]
}

/// Callers that have nothing to do with versions, with any permissions.
pub(crate) fn strangers() -> [Caller; 2] {
    let player = user(Role::Player, UserId::from_i64(2).unwrap());
    [player, Caller::Runtime(RuntimeId::from_i64(2).unwrap())]
}

/// A configuration with these modes, as JSON.
pub(crate) fn config(modes: &str) -> VersionConfig {
    serde_json::from_str(&format!(r#"{{"modes":{modes}}}"#)).unwrap()
}
