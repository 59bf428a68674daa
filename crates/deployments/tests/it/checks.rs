use omgservers_api::{
    Code, DeploymentId, Kind, ProjectPermission, StageId, StagePermission, VersionId,
    config::{DeploymentConfig, LobbyConfig},
    ids::Id as _,
    problem::codes,
    roles::ImageQualifier,
};
use omgservers_core::{Caller, Clock as _};
use omgservers_deployments::{Deployments as _, problems};
use omgservers_fixtures::{Fixture, StagePath, support};

use crate::fixture::{MODE, config, no_managers, strangers};

async fn refused(
    fixture: &Fixture,
    caller: &Caller,
    path: StagePath,
    version: VersionId,
) -> omgservers_api::Problem {
    let StagePath { tenant, project, stage } = path;
    fixture.deployments.deploy(caller, tenant, project, stage, version, None).await.unwrap_err()
}

#[tokio::test]
async fn a_manager_of_the_stage_deploys_and_a_viewer_of_the_project_sees_it() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let manager = fixture.developer_with(path, &[], &[StagePermission::DeploymentManager]).await;
    let viewer = fixture.developer_with(path, &[ProjectPermission::ProjectViewer], &[]).await;
    let StagePath { tenant, project, stage } = path;
    assert!(fixture.changed_deployments.take_due(9).is_empty());
    let id = fixture.deployments.deploy(&manager, tenant, project, stage, version, None).await.unwrap();
    assert!(!fixture.changed_deployments.take_due(9).is_empty(), "who waits for a deployment is woken");
    let full = fixture.deployments.get(&viewer, tenant, id).await.unwrap();
    let shown = &full.deployment;
    assert_eq!((shown.id, shown.tenant_id, shown.stage_id, shown.version_id), (id, tenant, stage, version));
    assert_eq!((full.project_id, shown.created), (project, fixture.foundation.clock.now()));
    assert_eq!(full.config, DeploymentConfig::default());
    assert_eq!(fixture.deployments.of_stage(stage).await.unwrap(), std::slice::from_ref(shown));
}

#[tokio::test]
async fn nobody_else_deploys_or_sees_a_deployment() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let id = fixture.deploy(path, version).await.unwrap();
    for caller in no_managers(&fixture, path).await {
        assert!(refused(&fixture, &caller, path, version).await.is(codes::PERMISSION_NOT_FOUND));
    }
    let others = [ProjectPermission::StageManager, ProjectPermission::VersionManager];
    let blind = fixture.developer_with(path, &others, StagePermission::ALL).await;
    let hidden = fixture.deployments.get(&blind, path.tenant, id).await.unwrap_err();
    assert!(hidden.is(codes::PERMISSION_NOT_FOUND));
    for caller in strangers() {
        assert!(refused(&fixture, &caller, path, version).await.is(codes::WRONG_ROLE));
        assert!(fixture.deployments.get(&caller, path.tenant, id).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert_eq!(fixture.deployments.of_stage(path.stage).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_deployment_of_another_tenant_is_not_there() {
    let fixture = Fixture::new().await;
    let (path, other) = (fixture.stage().await, fixture.stage().await);
    let version = fixture.deployable_version(path).await;
    let id = fixture.deploy(path, version).await.unwrap();
    let missing = fixture.deployments.get(&support(), other.tenant, id).await.unwrap_err();
    assert!(missing.is(problems::NOT_FOUND));
    assert_eq!((missing.kind().status(), missing.qualifier()), (404, "OBJECT_NOT_FOUND"));
    let unknown = DeploymentId::from_i64(i64::MAX).unwrap();
    assert!(
        fixture.deployments.get(&support(), path.tenant, unknown).await.unwrap_err().is(problems::NOT_FOUND)
    );
    assert!(fixture.deployments.full(unknown).await.unwrap_err().is(problems::NOT_FOUND));
}

/// Each case has the fault that it names and, where they are possible together, all the later ones.
#[tokio::test]
async fn the_checks_come_in_the_order_of_the_contract() {
    let fixture = Fixture::new().await;
    let (path, stranger) = (fixture.stage().await, fixture.stage().await);
    let neighbour = fixture.stage_in(path.tenant).await;
    let [nobody, _] = no_managers(&fixture, neighbour).await;
    let bare = fixture.version_with(path, r#"{"modes":[]}"#, &[]).await;
    let match_only = fixture.version_with(path, r#"{"modes":[]}"#, &[ImageQualifier::Match]).await;
    let (ready, of_stranger) =
        (fixture.deployable_version(path).await, fixture.deployable_version(stranger).await);
    let no_stage = StagePath { stage: StageId::from_i64(i64::MAX).unwrap(), ..path };
    let stage_of_stranger = StagePath { stage: stranger.stage, ..path };
    let stage_of_neighbour = StagePath { stage: neighbour.stage, ..path };
    let stage_not_found = omgservers_projects::problems::STAGE_NOT_FOUND;
    let cases: [(StagePath, VersionId, Code); 9] = [
        (no_stage, bare, problems::NO_IMAGE),
        // Unlike in the contract: what isn't there has no state either.
        (no_stage, VersionId::from_i64(i64::MAX).unwrap(), omgservers_versions::problems::NOT_FOUND),
        (no_stage, of_stranger, omgservers_versions::problems::NOT_FOUND),
        (no_stage, match_only, stage_not_found),
        (stage_of_stranger, match_only, stage_not_found),
        (stage_of_neighbour, match_only, problems::FOREIGN_VERSION),
        (neighbour, ready, problems::FOREIGN_VERSION),
        (StagePath { project: neighbour.project, ..path }, ready, problems::FOREIGN_VERSION),
        (path, match_only, codes::PERMISSION_NOT_FOUND),
    ];
    for (index, (at, version, expected)) in cases.into_iter().enumerate() {
        let problem = refused(&fixture, &nobody, at, version).await;
        assert!(problem.is(expected), "case {index}: {problem:?}");
    }
    assert!(refused(&fixture, &support(), path, match_only).await.is(problems::NO_IMAGE));
    let foreign = refused(&fixture, &support(), stage_of_neighbour, ready).await;
    assert_eq!((foreign.kind(), foreign.qualifier()), (Kind::Forbidden, "WRONG_REQUEST"));
    for at in [path, neighbour, stranger] {
        assert_eq!(fixture.deployments.of_stage(at.stage).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_version_is_not_deployed_without_the_images_that_it_needs() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let (plain, modes) = (r#"{"modes":[]}"#.to_owned(), format!(r#"{{"modes":[{MODE}]}}"#));
    use ImageQualifier::{Lobby, Match, Universal};
    for (config, images, missing) in [
        (&plain, &[][..], Some("no image was pushed")),
        (&plain, &[Match], Some("no image for lobbies")),
        (&modes, &[Match], Some("no image for lobbies")),
        (&modes, &[Lobby], Some("no image for matches")),
        (&plain, &[Lobby], None),
        (&modes, &[Universal], None),
        (&modes, &[Lobby, Match], None),
    ] {
        let version = fixture.version_with(path, config, images).await;
        let deployed = fixture.deploy(path, version).await;
        match missing {
            None => assert!(deployed.is_ok(), "{images:?}"),
            Some(text) => {
                let problem = deployed.unwrap_err();
                assert_eq!((problem.kind().status(), problem.qualifier()), (409, "WRONG_VERSION_STATE"));
                assert!(problem.sentence().contains(text), "{problem:?}");
            }
        }
    }
    assert_eq!(fixture.deployments.of_stage(path.stage).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_wrong_configuration_is_refused_with_the_name_of_the_field() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let StagePath { tenant, project, stage } = path;
    let none = DeploymentConfig { max_lobbies: 0, ..DeploymentConfig::default() };
    let crossed = DeploymentConfig { min_lobbies: 3, max_lobbies: 2, ..DeploymentConfig::default() };
    let lobby = LobbyConfig { max_assignments: 0, ..LobbyConfig::default() };
    let empty = DeploymentConfig { lobby, ..DeploymentConfig::default() };
    for (config, field) in [
        (none, "`config.max_lobbies`"),
        (crossed, "`config.max_lobbies`"),
        (empty, "`config.lobby.max_assignments`"),
    ] {
        let deployed =
            fixture.deployments.deploy(&support(), tenant, project, stage, version, Some(&config)).await;
        let problem = deployed.unwrap_err();
        assert!(problem.is(codes::VALIDATION) && problem.sentence().starts_with(field), "{problem:?}");
    }
    assert_eq!(fixture.deployments.of_stage(stage).await.unwrap(), []);
}

#[tokio::test]
async fn a_deployment_runs_as_the_request_or_else_the_version_configures() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let StagePath { tenant, project, stage } = path;
    let special = r#"{"modes":[],"deployment":{"lobby":{"max_assignments":7}}}"#;
    let version = fixture.version_with(path, special, &[ImageQualifier::Universal]).await;
    for (asked, expected) in [(None, config(7)), (Some(config(9)), config(9))] {
        let deployed =
            fixture.deployments.deploy(&support(), tenant, project, stage, version, asked.as_ref()).await;
        assert_eq!(fixture.deployments.full(deployed.unwrap()).await.unwrap().config, expected);
    }
}
