//! Which callers may do what. A developer with all permissions but one tries each guard, and so do
//! a developer who holds that permission elsewhere only, and every other role.

use omgservers_api::{Problem, ProjectPermission, Ref, Role, StagePermission, problem::codes};
use omgservers_core::Caller;
use omgservers_fixtures::{Fixture, StagePath, outsiders, support, user};
use omgservers_projects::Projects as _;

/// Everything that a permission stands before, with that permission.
const GUARDS: [(&str, &str); 10] = [
    ("create", "PROJECT_MANAGER"),
    ("create_alias", "PROJECT_MANAGER"),
    ("delete", "PROJECT_MANAGER"),
    ("list", "TENANT_VIEWER"),
    ("get", "PROJECT_VIEWER"),
    ("get_stage", "PROJECT_VIEWER"),
    ("create_stage", "STAGE_MANAGER"),
    ("create_stage_alias", "STAGE_MANAGER"),
    ("delete_stage", "STAGE_MANAGER"),
    ("require_stage", "DEPLOYMENT_MANAGER"),
];

async fn attempt(fixture: &Fixture, caller: &Caller, what: &str, at: StagePath) -> Result<(), Problem> {
    let (projects, StagePath { tenant, project, stage }) = (&fixture.projects, at);
    match what {
        "create" => projects.create(caller, tenant).await.map(drop),
        "create_alias" => projects.create_alias(caller, tenant, project, "game").await,
        "delete" => projects.delete(caller, tenant, &project.into()).await.map(drop),
        "list" => projects.list(caller, tenant, None, 10).await.map(drop),
        "get" => projects.get(caller, tenant, project).await.map(drop),
        "get_stage" => projects.get_stage(caller, tenant, project, stage).await.map(drop),
        "create_stage" => projects.create_stage(caller, tenant, project).await.map(drop),
        "create_stage_alias" => projects.create_stage_alias(caller, tenant, stage, "prod").await,
        "delete_stage" => projects.delete_stage(caller, tenant, project, &stage.into()).await.map(drop),
        "require_stage" => {
            projects.require_stage(caller, tenant, stage, StagePermission::DeploymentManager).await
        }
        other => unreachable!("{other}"),
    }
}

async fn is_untouched(fixture: &Fixture, at: StagePath) -> bool {
    let (project, _, stages) = fixture.projects.get(&support(), at.tenant, at.project).await.unwrap();
    let all = fixture.projects.of_tenant(at.tenant).await.unwrap();
    all.len() == 1
        && project.aliases.is_empty()
        && stages.len() == 1
        && stages.iter().all(|it| it.aliases.is_empty())
}

#[tokio::test]
async fn a_developer_without_the_one_permission_is_refused() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    for (what, permission) in GUARDS {
        let id = fixture.developer().await;
        fixture.grant_all_but(id, here, &[permission]).await;
        let refused = attempt(&fixture, &user(Role::Developer, id), what, here).await.unwrap_err();
        assert!(refused.is(codes::PERMISSION_NOT_FOUND), "{what}: {refused:?}");
        assert!(refused.sentence().contains(permission), "{refused}");
    }
    assert!(is_untouched(&fixture, here).await);
}

#[tokio::test]
async fn permissions_of_another_place_open_nothing() {
    let fixture = Fixture::new().await;
    let (here, elsewhere) = (fixture.stage().await, fixture.stage().await);
    let id = fixture.developer().await;
    fixture.grant_all_but(id, elsewhere, &[]).await;
    for (what, _) in GUARDS {
        let refused = attempt(&fixture, &user(Role::Developer, id), what, here).await.unwrap_err();
        assert!(refused.is(codes::PERMISSION_NOT_FOUND), "{what}: {refused:?}");
    }
    assert!(is_untouched(&fixture, here).await);
}

#[tokio::test]
async fn a_permission_counts_under_the_tenant_that_it_was_given_in() {
    let fixture = Fixture::new().await;
    let (here, other) = (fixture.stage().await, fixture.stage().await);
    let id = fixture.developer().await;
    fixture.grant_all_but(id, here, &[]).await;
    let developer = user(Role::Developer, id);
    for permission in ProjectPermission::ALL {
        assert!(fixture.projects.require(&developer, here.tenant, here.project, *permission).await.is_ok());
        let other = fixture.projects.require(&developer, other.tenant, here.project, *permission).await;
        assert!(other.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for permission in StagePermission::ALL {
        assert!(
            fixture.projects.require_stage(&developer, here.tenant, here.stage, *permission).await.is_ok()
        );
        let other = fixture.projects.require_stage(&developer, other.tenant, here.stage, *permission).await;
        assert!(other.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
}

#[tokio::test]
async fn permissions_are_of_no_use_to_other_roles() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    let id = fixture.developer().await;
    fixture.grant_all_but(id, here, &[]).await;
    for stranger in outsiders(id) {
        for (what, _) in GUARDS {
            let refused = attempt(&fixture, &stranger, what, here).await.unwrap_err();
            assert!(refused.is(codes::WRONG_ROLE), "{what} by {stranger:?}: {refused:?}");
        }
    }
    assert!(is_untouched(&fixture, here).await);
}

#[tokio::test]
async fn the_one_permission_is_enough_and_support_needs_none() {
    let fixture = Fixture::new().await;
    let everything =
        ["PROJECT_MANAGER", "TENANT_VIEWER", "STAGE_MANAGER", "VERSION_MANAGER", "PROJECT_VIEWER"];
    let everything = [&everything[..], &["DEPLOYMENT_MANAGER", "STAGE_VIEWER"]].concat();
    for (what, permission) in GUARDS {
        let (here, id) = (fixture.stage().await, fixture.developer().await);
        let but: Vec<_> = everything.iter().copied().filter(|it| *it != permission).collect();
        fixture.grant_all_but(id, here, &but).await;
        attempt(&fixture, &user(Role::Developer, id), what, here).await.unwrap();
        for trusted in [support(), Caller::System("test")] {
            attempt(&fixture, &trusted, what, fixture.stage().await).await.unwrap();
        }
    }
}

#[tokio::test]
async fn other_roles_do_not_learn_whether_there_is_such_a_stage() {
    let fixture = Fixture::new().await;
    let here = fixture.stage().await;
    for stranger in outsiders(fixture.developer().await) {
        let named = fixture
            .projects
            .create_stage_alias(&stranger, here.tenant, omgservers_fixtures::missing(), "prod")
            .await;
        assert!(named.unwrap_err().is(codes::WRONG_ROLE));
    }
}

#[tokio::test]
async fn only_support_gives_and_takes_permissions() {
    let fixture = Fixture::new().await;
    let StagePath { tenant, project, stage } = fixture.stage().await;
    let id = fixture.developer().await;
    fixture
        .grant_all_but(id, StagePath { tenant, project, stage }, &["STAGE_VIEWER", "VERSION_MANAGER"])
        .await;
    let (of, projects) = (Ref::Id(id), &fixture.projects);
    let (kinds, stage_kinds) = (ProjectPermission::ALL, StagePermission::ALL);
    for caller in outsiders(id).into_iter().chain([user(Role::Developer, id)]) {
        let refused = [
            projects.grant(&caller, tenant, project, &of, kinds).await.unwrap_err(),
            projects.revoke(&caller, tenant, project, &of, kinds).await.unwrap_err(),
            projects.grant_stage(&caller, tenant, stage, &of, stage_kinds).await.unwrap_err(),
            projects.revoke_stage(&caller, tenant, stage, &of, stage_kinds).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|it| it.is(codes::WRONG_ROLE)), "{refused:?}");
    }
    let grants = fixture.projects.get(&support(), tenant, project).await.unwrap().1;
    let stage_grants = fixture.projects.get_stage(&support(), tenant, project, stage).await.unwrap().1;
    assert_eq!((grants.len(), stage_grants.len()), (2, 1));
}
