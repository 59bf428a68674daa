//! Callers and configurations of these tests.

use omgservers_api::{
    ProjectPermission, Role, RuntimeId, StagePermission, UserId,
    config::{DeploymentConfig, LobbyConfig},
    ids::Id as _,
};
use omgservers_core::{Caller, Worker as _};
use omgservers_fixtures::{Fixture, StagePath, user};

/// One mode, as JSON.
pub(crate) const MODE: &str = r#"{"name":"duel","min_players":2,"max_players":2,"groups":[{"name":"all","min_players":2,"max_players":2}]}"#;

/// Deletes the projects of tenants that are gone.
pub(crate) async fn sweep_projects(fixture: &Fixture) {
    omgservers_projects::SweepOrphans::new(fixture.projects.clone()).run_once().await.unwrap();
}

/// Developers who hold everything but the stage's DEPLOYMENT_MANAGER, or everything in another
/// project of the tenant.
pub(crate) async fn no_managers(fixture: &Fixture, at: StagePath) -> [Caller; 2] {
    let elsewhere = fixture.stage_in(at.tenant).await;
    [
        fixture.developer_with(at, ProjectPermission::ALL, &[StagePermission::StageViewer]).await,
        fixture.developer_with(elsewhere, ProjectPermission::ALL, StagePermission::ALL).await,
    ]
}

/// A configuration that differs from the default one.
pub(crate) fn config(max_assignments: u32) -> DeploymentConfig {
    let lobby = LobbyConfig { max_assignments, ..LobbyConfig::default() };
    DeploymentConfig { lobby, ..DeploymentConfig::default() }
}

/// Callers that have nothing to do with deployments, with any permissions.
pub(crate) fn strangers() -> [Caller; 2] {
    let player = user(Role::Player, UserId::from_i64(2).unwrap());
    [player, Caller::Runtime(RuntimeId::from_i64(2).unwrap())]
}
