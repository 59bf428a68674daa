use omgservers_accounts::problems::NOT_FOUND as NO_USER;
use omgservers_api::{Kind, Ref, Role, TenantId, TenantPermission, UserId, ids::Id as _, problem::codes};
use omgservers_core::{Clock as _, Worker as _};
use omgservers_tenants::{SweepPermissions, Tenants as _, problems};

use TenantPermission::{ProjectManager, TenantViewer};

use crate::bed::{Bed, strangers, support, user};

#[tokio::test]
async fn only_what_is_new_is_answered_and_repeats_count_once() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    let grant = async |wanted: &[_]| bed.tenants.grant(&support(), tenant, &id.into(), wanted).await.unwrap();
    assert_eq!(grant(&[TenantViewer, TenantViewer]).await, [TenantViewer]);
    assert_eq!(grant(&[TenantViewer, ProjectManager]).await, [ProjectManager]);
    assert_eq!(grant(&[TenantViewer, ProjectManager]).await, []);
    assert_eq!(grant(&[]).await, []);
    let (_, grants) = bed.tenants.get(&support(), tenant).await.unwrap();
    let held: Vec<_> = grants.iter().map(|it| (it.tenant_id, it.user_id, it.permission)).collect();
    assert_eq!(held, [(tenant, id, TenantViewer), (tenant, id, ProjectManager)]);
    assert!(grants.iter().all(|it| it.id.slot() == tenant.slot() && it.created == bed.ground.clock.now()));
}

#[tokio::test]
async fn only_what_was_held_is_answered_when_it_is_taken() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.tenants.grant(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    let revoke = async |user: Ref<UserId>| {
        bed.tenants.revoke(&support(), tenant, &user, &[ProjectManager, TenantViewer]).await.unwrap()
    };
    assert_eq!(revoke(bed.developer().await.into()).await, [], "another one holds nothing");
    assert_eq!(revoke(id.into()).await, [TenantViewer]);
    assert_eq!(revoke(id.into()).await, []);
    assert_eq!(revoke(UserId::from_i64(i64::MAX).unwrap().into()).await, []);
    let nobody = bed.tenants.revoke(&support(), tenant, &Ref::Alias("nobody".into()), &[TenantViewer]).await;
    assert!(nobody.unwrap_err().is(NO_USER));
}

#[tokio::test]
async fn a_user_gets_permissions_under_a_second_name() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.accounts.create_alias(&support(), Role::Developer, id, "ada").await.unwrap();
    let ada = Ref::Alias("ada".to_owned());
    assert_eq!(bed.tenants.grant(&support(), tenant, &ada, &[TenantViewer]).await.unwrap(), [TenantViewer]);
    assert!(bed.tenants.require(&user(Role::Developer, id), tenant, TenantViewer).await.is_ok());
    assert_eq!(bed.tenants.revoke(&support(), tenant, &ada, &[TenantViewer]).await.unwrap(), [TenantViewer]);
}

#[tokio::test]
async fn nothing_is_given_to_nobody_or_in_nothing() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    let nobody = UserId::from_i64(i64::MAX).unwrap();
    let problem = bed.tenants.grant(&support(), tenant, &nobody.into(), &[TenantViewer]).await.unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::NotFound, NO_USER.code));
    for value in [99, i64::MAX] {
        let missing = TenantId::from_i64(value).unwrap();
        let problem = bed.tenants.grant(&support(), missing, &id.into(), &[TenantViewer]).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
        assert_eq!(bed.tenants.revoke(&support(), missing, &id.into(), &[TenantViewer]).await.unwrap(), []);
    }
}

#[tokio::test]
async fn only_support_gives_and_takes_permissions() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id) {
        let granted = bed.tenants.grant(&stranger, tenant, &id.into(), &[TenantViewer]).await;
        assert!(granted.unwrap_err().is(codes::WRONG_ROLE));
        let revoked = bed.tenants.revoke(&stranger, tenant, &id.into(), &[TenantViewer]).await;
        assert!(revoked.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert_eq!(bed.tenants.get(&support(), tenant).await.unwrap().1.len(), 2);
}

#[tokio::test]
async fn a_developer_needs_this_permission_in_this_tenant() {
    let bed = Bed::new().await;
    let (tenant, other, id) = (bed.tenant().await, bed.tenant().await, bed.developer().await);
    let developer = user(Role::Developer, id);
    bed.tenants.grant(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    bed.tenants.grant(&support(), other, &id.into(), &[ProjectManager]).await.unwrap();

    assert!(bed.tenants.require(&developer, tenant, TenantViewer).await.is_ok());
    assert!(bed.tenants.get(&developer, tenant).await.is_ok());
    let problem = bed.tenants.require(&developer, tenant, ProjectManager).await.unwrap_err();
    assert!(problem.is(codes::PERMISSION_NOT_FOUND));
    assert_eq!((problem.qualifier(), problem.kind()), ("PERMISSION_NOT_FOUND", Kind::Forbidden));
    assert!(bed.tenants.get(&developer, other).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    let another = user(Role::Developer, bed.developer().await);
    assert!(bed.tenants.get(&another, tenant).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));

    bed.tenants.revoke(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    assert!(bed.tenants.get(&developer, tenant).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn a_permission_is_of_no_use_to_any_other_role() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id).into_iter().filter(|it| *it != user(Role::Developer, id)) {
        for permission in TenantPermission::ALL {
            let refused = bed.tenants.require(&stranger, tenant, *permission).await.unwrap_err();
            assert!(refused.is(codes::WRONG_ROLE), "{stranger:?}");
        }
        assert!(bed.tenants.get(&stranger, tenant).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert!(bed.tenants.require(&support(), tenant, ProjectManager).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grants_at_the_same_time_give_each_permission_once() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    let tenants = bed.tenants_on(&bed.ground.test_db.pool(8).await);
    let mut grants = tokio::task::JoinSet::new();
    for turn in 0..32 {
        let tenants = tenants.clone();
        let wanted =
            if turn % 2 == 0 { [TenantViewer, ProjectManager] } else { [ProjectManager, TenantViewer] };
        grants.spawn(async move { tenants.grant(&support(), tenant, &id.into(), &wanted).await.unwrap() });
    }
    let mut given = grants.join_all().await.concat();
    given.sort_unstable();
    assert_eq!(given, [ProjectManager, TenantViewer]);
}

#[tokio::test]
async fn the_permissions_of_a_deleted_user_go_and_those_of_others_stay() {
    let bed = Bed::new().await;
    let tenant = bed.tenant().await;
    let (leaves, stays) = (bed.developer().await, bed.developer().await);
    for id in [leaves, stays] {
        bed.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    }
    let mut sweep = SweepPermissions { db: bed.ground.db.clone(), accounts: bed.accounts.clone() };
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    bed.accounts.delete(&support(), Role::Developer, &leaves.into()).await.unwrap();
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    let (_, grants) = bed.tenants.get(&support(), tenant).await.unwrap();
    assert_eq!(grants.iter().map(|it| it.user_id).collect::<Vec<_>>(), [stays, stays]);
}
