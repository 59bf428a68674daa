//! Who may do what. Each gate is tried by a developer who holds everything but the one permission, by one who
//! holds it elsewhere only, and by every other role.

use omgservers_api::{Problem, ProjectPermission, Ref, Role, StagePermission, problem::codes};
use omgservers_core::Caller;
use omgservers_projects::Projects as _;

use crate::bed::{Bed, Place, strangers, support, user};

/// Everything that a permission stands before, with that permission.
const GATES: [(&str, &str); 9] = [
    ("create", "PROJECT_MANAGER"),
    ("create_alias", "PROJECT_MANAGER"),
    ("delete", "PROJECT_MANAGER"),
    ("get", "PROJECT_VIEWER"),
    ("get_stage", "PROJECT_VIEWER"),
    ("create_stage", "STAGE_MANAGER"),
    ("create_stage_alias", "STAGE_MANAGER"),
    ("delete_stage", "STAGE_MANAGER"),
    ("require_stage", "DEPLOYMENT_MANAGER"),
];

async fn attempt(bed: &Bed, caller: &Caller, what: &str, at: Place) -> Result<(), Problem> {
    let (it, Place { tenant, project, stage }) = (&bed.projects, at);
    match what {
        "create" => it.create(caller, tenant).await.map(drop),
        "create_alias" => it.create_alias(caller, tenant, project, "game").await,
        "delete" => it.delete(caller, tenant, &project.into()).await.map(drop),
        "get" => it.get(caller, tenant, project).await.map(drop),
        "get_stage" => it.get_stage(caller, tenant, project, stage).await.map(drop),
        "create_stage" => it.create_stage(caller, tenant, project).await.map(drop),
        "create_stage_alias" => it.create_stage_alias(caller, tenant, stage, "prod").await,
        "delete_stage" => it.delete_stage(caller, tenant, project, &stage.into()).await.map(drop),
        "require_stage" => it.require_stage(caller, tenant, stage, StagePermission::DeploymentManager).await,
        other => unreachable!("{other}"),
    }
}

async fn is_untouched(bed: &Bed, at: Place) -> bool {
    let (project, _, stages) = bed.projects.get(&support(), at.tenant, at.project).await.unwrap();
    let all = bed.projects.of_tenant(at.tenant).await.unwrap();
    all.len() == 1
        && project.aliases.is_empty()
        && stages.len() == 1
        && stages.iter().all(|it| it.aliases.is_empty())
}

#[tokio::test]
async fn a_developer_without_the_one_permission_is_refused() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    for (what, permission) in GATES {
        let id = bed.developer().await;
        bed.grant_all_but(id, here, &[permission]).await;
        let refused = attempt(&bed, &user(Role::Developer, id), what, here).await.unwrap_err();
        assert!(refused.is(codes::PERMISSION_NOT_FOUND), "{what}: {refused:?}");
        assert!(refused.sentence().contains(permission), "{refused}");
    }
    assert!(is_untouched(&bed, here).await);
}

#[tokio::test]
async fn permissions_of_another_place_open_nothing() {
    let bed = Bed::new().await;
    let (here, elsewhere) = (bed.place().await, bed.place().await);
    let id = bed.developer().await;
    bed.grant_all_but(id, elsewhere, &[]).await;
    for (what, _) in GATES {
        let refused = attempt(&bed, &user(Role::Developer, id), what, here).await.unwrap_err();
        assert!(refused.is(codes::PERMISSION_NOT_FOUND), "{what}: {refused:?}");
    }
    assert!(is_untouched(&bed, here).await);
}

#[tokio::test]
async fn a_permission_counts_under_the_tenant_that_it_was_given_in() {
    let bed = Bed::new().await;
    let (here, other) = (bed.place().await, bed.place().await);
    let id = bed.developer().await;
    bed.grant_all_but(id, here, &[]).await;
    let developer = user(Role::Developer, id);
    for permission in ProjectPermission::ALL {
        assert!(bed.projects.require(&developer, here.tenant, here.project, *permission).await.is_ok());
        let other = bed.projects.require(&developer, other.tenant, here.project, *permission).await;
        assert!(other.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
    for permission in StagePermission::ALL {
        assert!(bed.projects.require_stage(&developer, here.tenant, here.stage, *permission).await.is_ok());
        let other = bed.projects.require_stage(&developer, other.tenant, here.stage, *permission).await;
        assert!(other.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    }
}

#[tokio::test]
async fn permissions_are_of_no_use_to_other_roles() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    let id = bed.developer().await;
    bed.grant_all_but(id, here, &[]).await;
    for stranger in strangers(id) {
        for (what, _) in GATES {
            let refused = attempt(&bed, &stranger, what, here).await.unwrap_err();
            assert!(refused.is(codes::WRONG_ROLE), "{what} by {stranger:?}: {refused:?}");
        }
    }
    assert!(is_untouched(&bed, here).await);
}

#[tokio::test]
async fn the_one_permission_is_enough_and_support_needs_none() {
    let bed = Bed::new().await;
    let everything =
        ["PROJECT_MANAGER", "TENANT_VIEWER", "STAGE_MANAGER", "VERSION_MANAGER", "PROJECT_VIEWER"];
    let everything = [&everything[..], &["DEPLOYMENT_MANAGER", "STAGE_VIEWER"]].concat();
    for (what, permission) in GATES {
        let (here, id) = (bed.place().await, bed.developer().await);
        let but: Vec<_> = everything.iter().copied().filter(|it| *it != permission).collect();
        bed.grant_all_but(id, here, &but).await;
        attempt(&bed, &user(Role::Developer, id), what, here).await.unwrap();
        for trusted in [support(), Caller::System("test")] {
            attempt(&bed, &trusted, what, bed.place().await).await.unwrap();
        }
    }
}

#[tokio::test]
async fn other_roles_do_not_learn_whether_there_is_such_a_stage() {
    let bed = Bed::new().await;
    let here = bed.place().await;
    for stranger in strangers(bed.developer().await) {
        let named =
            bed.projects.create_stage_alias(&stranger, here.tenant, crate::bed::missing(), "prod").await;
        assert!(named.unwrap_err().is(codes::WRONG_ROLE));
    }
}

#[tokio::test]
async fn only_support_gives_and_takes_permissions() {
    let bed = Bed::new().await;
    let Place { tenant, project, stage } = bed.place().await;
    let id = bed.developer().await;
    bed.grant_all_but(id, Place { tenant, project, stage }, &["STAGE_VIEWER", "VERSION_MANAGER"]).await;
    let (of, it) = (Ref::Id(id), &bed.projects);
    let (kinds, stage_kinds) = (ProjectPermission::ALL, StagePermission::ALL);
    for caller in strangers(id).into_iter().chain([user(Role::Developer, id)]) {
        let refused = [
            it.grant(&caller, tenant, project, &of, kinds).await.unwrap_err(),
            it.revoke(&caller, tenant, project, &of, kinds).await.unwrap_err(),
            it.grant_stage(&caller, tenant, stage, &of, stage_kinds).await.unwrap_err(),
            it.revoke_stage(&caller, tenant, stage, &of, stage_kinds).await.unwrap_err(),
        ];
        assert!(refused.iter().all(|it| it.is(codes::WRONG_ROLE)), "{refused:?}");
    }
    let grants = bed.projects.get(&support(), tenant, project).await.unwrap().1;
    let stage_grants = bed.projects.get_stage(&support(), tenant, project, stage).await.unwrap().1;
    assert_eq!((grants.len(), stage_grants.len()), (2, 1));
}
