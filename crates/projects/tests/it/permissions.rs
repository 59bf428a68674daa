use omgservers_accounts::Accounts as _;
use omgservers_accounts::problems::NOT_FOUND as NO_USER;
use omgservers_api::{
    ProjectPermission::{ProjectViewer, StageManager, VersionManager},
    Role,
    StagePermission::{DeploymentManager, StageViewer},
};
use omgservers_fixtures::{Fixture, StagePath, alias, missing, support, user};
use omgservers_projects::{Projects as _, problems};

#[tokio::test]
async fn only_what_is_new_is_answered_and_repeats_count_once() {
    let fixture = Fixture::new().await;
    let (StagePath { tenant, project, stage }, id) = (fixture.stage().await, fixture.developer().await);
    let of = id.into();
    let grant =
        async |wanted: &[_]| fixture.projects.grant(&support(), tenant, project, &of, wanted).await.unwrap();
    assert_eq!(grant(&[StageManager, StageManager]).await, [StageManager]);
    assert_eq!(grant(&[StageManager, ProjectViewer]).await, [ProjectViewer]);
    assert_eq!(grant(&[StageManager]).await, []);
    assert_eq!(grant(&[]).await, []);
    let grant = async |wanted: &[_]| {
        fixture.projects.grant_stage(&support(), tenant, stage, &of, wanted).await.unwrap()
    };
    assert_eq!(grant(&[StageViewer, StageViewer]).await, [StageViewer]);
    assert_eq!(grant(&[StageViewer, DeploymentManager]).await, [DeploymentManager]);
    assert_eq!(grant(&[StageViewer]).await, []);
}

#[tokio::test]
async fn only_what_was_held_is_answered_when_it_is_taken() {
    let fixture = Fixture::new().await;
    let (at, id) = (fixture.stage().await, fixture.developer().await);
    let StagePath { tenant, project, stage } = at;
    fixture.grant_all_but(id, at, &["VERSION_MANAGER", "STAGE_VIEWER"]).await;
    let revoke = async |user, wanted: &[_]| {
        fixture.projects.revoke(&support(), tenant, project, &user, wanted).await.unwrap()
    };
    assert_eq!(revoke(missing::<omgservers_api::UserId>().into(), &[StageManager]).await, []);
    assert_eq!(revoke(id.into(), &[VersionManager, StageManager]).await, [StageManager]);
    assert_eq!(revoke(id.into(), &[VersionManager, StageManager]).await, []);
    let revoke = async |user, wanted: &[_]| {
        fixture.projects.revoke_stage(&support(), tenant, stage, &user, wanted).await.unwrap()
    };
    assert_eq!(revoke(missing::<omgservers_api::UserId>().into(), &[DeploymentManager]).await, []);
    assert_eq!(revoke(id.into(), &[StageViewer, DeploymentManager]).await, [DeploymentManager]);
    assert_eq!(revoke(id.into(), &[DeploymentManager]).await, []);
    let developer = user(Role::Developer, id);
    assert!(fixture.projects.require(&developer, tenant, project, ProjectViewer).await.is_ok());
    assert!(fixture.projects.require(&developer, tenant, project, StageManager).await.is_err());
    assert!(fixture.projects.require_stage(&developer, tenant, stage, DeploymentManager).await.is_err());
}

#[tokio::test]
async fn permissions_are_given_and_taken_under_a_second_name() {
    let fixture = Fixture::new().await;
    let (StagePath { tenant, project, stage }, id) = (fixture.stage().await, fixture.developer().await);
    fixture.accounts.create_alias(&support(), Role::Developer, id, "ada").await.unwrap();
    let (ada, nobody, projects) = (alias("ada"), alias("nobody"), &fixture.projects);
    let (viewer, manager) = ([ProjectViewer], [DeploymentManager]);
    assert_eq!(projects.grant(&support(), tenant, project, &ada, &viewer).await.unwrap(), viewer);
    assert_eq!(projects.revoke(&support(), tenant, project, &ada, &viewer).await.unwrap(), viewer);
    assert_eq!(projects.grant_stage(&support(), tenant, stage, &ada, &manager).await.unwrap(), manager);
    assert_eq!(projects.revoke_stage(&support(), tenant, stage, &ada, &manager).await.unwrap(), manager);
    assert!(projects.revoke(&support(), tenant, project, &nobody, &viewer).await.unwrap_err().is(NO_USER));
    assert!(
        projects.revoke_stage(&support(), tenant, stage, &nobody, &manager).await.unwrap_err().is(NO_USER)
    );
}

#[tokio::test]
async fn nothing_is_given_to_nobody_or_in_another_place() {
    let fixture = Fixture::new().await;
    let (here, other, id) = (fixture.stage().await, fixture.stage().await, fixture.developer().await);
    let (nobody, of, projects) = (missing::<omgservers_api::UserId>().into(), id.into(), &fixture.projects);
    let (viewer, manager) = ([ProjectViewer], [DeploymentManager]);
    let problem = projects.grant(&support(), here.tenant, here.project, &nobody, &viewer).await.unwrap_err();
    assert!(problem.is(NO_USER));
    let problem =
        projects.grant_stage(&support(), here.tenant, here.stage, &nobody, &manager).await.unwrap_err();
    assert!(problem.is(NO_USER));
    for project in [other.project, missing()] {
        let problem = projects.grant(&support(), here.tenant, project, &of, &viewer).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
    }
    for stage in [other.stage, missing()] {
        let problem = projects.grant_stage(&support(), here.tenant, stage, &of, &manager).await.unwrap_err();
        assert!(problem.is(problems::STAGE_NOT_FOUND));
    }

    fixture.grant_all_but(id, other, &[]).await;
    assert_eq!(projects.revoke(&support(), here.tenant, other.project, &of, &viewer).await.unwrap(), []);
    assert_eq!(projects.revoke_stage(&support(), here.tenant, other.stage, &of, &manager).await.unwrap(), []);
    assert_eq!(projects.revoke(&support(), other.tenant, other.project, &of, &viewer).await.unwrap(), viewer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grants_at_the_same_time_give_each_permission_once() {
    let fixture = Fixture::new().await;
    let (StagePath { tenant, project, .. }, id) = (fixture.stage().await, fixture.developer().await);
    let projects = fixture.projects_on(&fixture.foundation.test_db.pool(8).await);
    let mut grants = tokio::task::JoinSet::new();
    for turn in 0..32 {
        let projects = projects.clone();
        let wanted =
            if turn % 2 == 0 { [StageManager, ProjectViewer] } else { [ProjectViewer, StageManager] };
        grants.spawn(async move {
            projects.grant(&support(), tenant, project, &id.into(), &wanted).await.unwrap()
        });
    }
    let mut given = grants.join_all().await.concat();
    given.sort_unstable();
    assert_eq!(given, [StageManager, ProjectViewer]);
}
