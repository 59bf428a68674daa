use omgservers_accounts::problems::NOT_FOUND as NO_USER;
use omgservers_api::{Kind, Ref, Role, TenantId, TenantPermission, UserId, ids::Id as _, problem::codes};
use omgservers_core::{Clock as _, Worker as _};
use omgservers_tenants::{SweepPermissions, Tenants as _, problems};

use TenantPermission::{ProjectManager, TenantViewer};
use omgservers_accounts::Accounts as _;
use omgservers_fixtures::{Fixture, strangers, support, user};

#[tokio::test]
async fn only_what_is_new_is_answered_and_repeats_count_once() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    let grant =
        async |wanted: &[_]| fixture.tenants.grant(&support(), tenant, &id.into(), wanted).await.unwrap();
    assert_eq!(grant(&[TenantViewer, TenantViewer]).await, [TenantViewer]);
    assert_eq!(grant(&[TenantViewer, ProjectManager]).await, [ProjectManager]);
    assert_eq!(grant(&[TenantViewer, ProjectManager]).await, []);
    assert_eq!(grant(&[]).await, []);
    let (_, grants) = fixture.tenants.get(&support(), tenant).await.unwrap();
    let granted: Vec<_> = grants.iter().map(|it| (it.tenant_id, it.user_id, it.permission)).collect();
    assert_eq!(granted, [(tenant, id, TenantViewer), (tenant, id, ProjectManager)]);
    assert!(
        grants.iter().all(|it| it.id.slot() == tenant.slot() && it.created == fixture.foundation.clock.now())
    );
}

#[tokio::test]
async fn only_what_was_held_is_answered_when_it_is_taken() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.tenants.grant(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    let revoke = async |user: Ref<UserId>| {
        fixture.tenants.revoke(&support(), tenant, &user, &[ProjectManager, TenantViewer]).await.unwrap()
    };
    assert_eq!(revoke(fixture.developer().await.into()).await, [], "another one holds nothing");
    assert_eq!(revoke(id.into()).await, [TenantViewer]);
    assert_eq!(revoke(id.into()).await, []);
    assert_eq!(revoke(UserId::from_i64(i64::MAX).unwrap().into()).await, []);
    let nobody =
        fixture.tenants.revoke(&support(), tenant, &Ref::Alias("nobody".into()), &[TenantViewer]).await;
    assert!(nobody.unwrap_err().is(NO_USER));
}

#[tokio::test]
async fn a_user_gets_permissions_under_a_second_name() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.accounts.create_alias(&support(), Role::Developer, id, "ada").await.unwrap();
    let ada = Ref::Alias("ada".to_owned());
    assert_eq!(
        fixture.tenants.grant(&support(), tenant, &ada, &[TenantViewer]).await.unwrap(),
        [TenantViewer]
    );
    assert!(fixture.tenants.require(&user(Role::Developer, id), tenant, TenantViewer).await.is_ok());
    assert_eq!(
        fixture.tenants.revoke(&support(), tenant, &ada, &[TenantViewer]).await.unwrap(),
        [TenantViewer]
    );
}

#[tokio::test]
async fn nothing_is_given_to_nobody_or_in_nothing() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    let nobody = UserId::from_i64(i64::MAX).unwrap();
    let problem =
        fixture.tenants.grant(&support(), tenant, &nobody.into(), &[TenantViewer]).await.unwrap_err();
    assert_eq!((problem.kind(), problem.code()), (Kind::NotFound, NO_USER.code));
    for value in [99, i64::MAX] {
        let missing = TenantId::from_i64(value).unwrap();
        let problem =
            fixture.tenants.grant(&support(), missing, &id.into(), &[TenantViewer]).await.unwrap_err();
        assert!(problem.is(problems::NOT_FOUND));
        assert_eq!(
            fixture.tenants.revoke(&support(), missing, &id.into(), &[TenantViewer]).await.unwrap(),
            []
        );
    }
}

#[tokio::test]
async fn only_support_gives_and_takes_permissions() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id) {
        let granted = fixture.tenants.grant(&stranger, tenant, &id.into(), &[TenantViewer]).await;
        assert!(granted.unwrap_err().is(codes::WRONG_ROLE));
        let revoked = fixture.tenants.revoke(&stranger, tenant, &id.into(), &[TenantViewer]).await;
        assert!(revoked.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert_eq!(fixture.tenants.get(&support(), tenant).await.unwrap().1.len(), 2);
}

#[tokio::test]
async fn a_developer_needs_this_permission_in_this_tenant() {
    let fixture = Fixture::new().await;
    let (tenant, other, id) = (fixture.tenant().await, fixture.tenant().await, fixture.developer().await);
    let developer = user(Role::Developer, id);
    fixture.tenants.grant(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    fixture.tenants.grant(&support(), other, &id.into(), &[ProjectManager]).await.unwrap();

    assert!(fixture.tenants.require(&developer, tenant, TenantViewer).await.is_ok());
    assert!(fixture.tenants.get(&developer, tenant).await.is_ok());
    let problem = fixture.tenants.require(&developer, tenant, ProjectManager).await.unwrap_err();
    assert!(problem.is(codes::PERMISSION_NOT_FOUND));
    assert_eq!((problem.qualifier(), problem.kind()), ("PERMISSION_NOT_FOUND", Kind::Forbidden));
    assert!(fixture.tenants.get(&developer, other).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
    let another = user(Role::Developer, fixture.developer().await);
    assert!(fixture.tenants.get(&another, tenant).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));

    fixture.tenants.revoke(&support(), tenant, &id.into(), &[TenantViewer]).await.unwrap();
    assert!(fixture.tenants.get(&developer, tenant).await.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn a_permission_is_of_no_use_to_any_other_role() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id).into_iter().filter(|it| *it != user(Role::Developer, id)) {
        for permission in TenantPermission::ALL {
            let refused = fixture.tenants.require(&stranger, tenant, *permission).await.unwrap_err();
            assert!(refused.is(codes::WRONG_ROLE), "{stranger:?}");
        }
        assert!(fixture.tenants.get(&stranger, tenant).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert!(fixture.tenants.require(&support(), tenant, ProjectManager).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn grants_at_the_same_time_give_each_permission_once() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    let tenants = fixture.tenants_on(&fixture.foundation.test_db.pool(8).await);
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
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant().await;
    let (leaves, stays) = (fixture.developer().await, fixture.developer().await);
    for id in [leaves, stays] {
        fixture.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    }
    let mut sweep = SweepPermissions::new(fixture.tenants.clone());
    assert_eq!(sweep.run_once().await.unwrap().changed, 0);
    fixture.accounts.delete(&support(), Role::Developer, &leaves.into()).await.unwrap();
    assert_eq!(sweep.run_once().await.unwrap().changed, 2);
    let (_, grants) = fixture.tenants.get(&support(), tenant).await.unwrap();
    assert_eq!(grants.iter().map(|it| it.user_id).collect::<Vec<_>>(), [stays, stays]);
}
