use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use omgservers_api::{Ref, Role, TenantId, TenantPermission, problem::codes};
use omgservers_core::{Worker as _, db::Fault, existing};
use omgservers_fixtures::{Fixture, strangers, support, user, was_rung};
use omgservers_tenants::{FreeNames, PgTenants, Tenants as _, problems};

fn acme() -> Ref<TenantId> {
    Ref::Alias("acme".to_owned())
}

/// Tenants whose transaction number `which`, counted from 1, is committed and fails nevertheless.
fn faulty(fixture: &Fixture, which: u32) -> PgTenants {
    let count = Arc::new(AtomicU32::new(0));
    let fault = move || (count.fetch_add(1, Ordering::SeqCst) + 1 == which).then_some(Fault::AfterCommit);
    fixture.tenants_on(&fixture.foundation.db.with_faults(Arc::new(fault)))
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_with_all_that_was_its_own() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    fixture.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    assert!(fixture.tenants.delete(&support(), &acme()).await.unwrap());
    for name in [Ref::Id(tenant), acme()] {
        assert!(fixture.tenants.find(&name).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(
            !fixture.tenants.delete(&support(), &name).await.unwrap(),
            "there is nothing to delete any more"
        );
    }
    assert!(fixture.tenants.get(&support(), tenant).await.unwrap_err().is(problems::NOT_FOUND));
    let developer = user(Role::Developer, id);
    let granted = fixture.tenants.require(&developer, tenant, TenantPermission::TenantViewer).await;
    assert!(granted.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn the_names_of_a_deleted_tenant_can_be_given_again() {
    let fixture = Fixture::new().await;
    let (first, second) = (fixture.tenant().await, fixture.tenant().await);
    fixture.tenants.create_alias(&support(), first, "acme").await.unwrap();
    assert!(fixture.tenants.delete(&support(), &first.into()).await.unwrap());
    fixture.tenants.create_alias(&support(), second, "acme").await.unwrap();
    assert_eq!(fixture.tenants.find(&acme()).await.unwrap(), second);
    assert!(!fixture.tenants.delete(&support(), &first.into()).await.unwrap());
    assert_eq!(
        fixture.tenants.find(&acme()).await.unwrap(),
        second,
        "deleting the first again takes nothing away"
    );
}

#[tokio::test]
async fn only_support_deletes_tenants() {
    let fixture = Fixture::new().await;
    let (tenant, id) = (fixture.tenant().await, fixture.developer().await);
    fixture.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id) {
        assert!(fixture.tenants.delete(&stranger, &tenant.into()).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert_eq!(fixture.tenants.find(&tenant.into()).await.unwrap(), tenant);
}

#[tokio::test]
async fn who_comes_after_a_tenant_is_woken_by_its_deletion_and_by_nothing_else() {
    let fixture = Fixture::new().await;
    let tenant = fixture.tenant().await;
    assert!(!was_rung(&fixture.tenant_deleted).await);
    assert!(fixture.tenants.delete(&support(), &tenant.into()).await.unwrap());
    assert!(was_rung(&fixture.tenant_deleted).await);
    assert!(!fixture.tenants.delete(&support(), &tenant.into()).await.unwrap());
    assert!(!was_rung(&fixture.tenant_deleted).await);
}

#[tokio::test]
async fn which_tenants_exist_is_answered_for_many_at_once() {
    let fixture = Fixture::new().await;
    let (here, gone) = (fixture.tenant().await, fixture.tenant().await);
    fixture.tenants.delete(&support(), &gone.into()).await.unwrap();
    assert_eq!(existing(&fixture.tenants.exist(&[here, gone, here]).await.unwrap()), [here].into());
    assert!(existing(&fixture.tenants.exist(&[]).await.unwrap()).is_empty());
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_leaves_a_name_that_stands_for_nothing_until_it_is_freed() {
    let fixture = Fixture::new().await;
    let (tenant, other) = (fixture.tenant().await, fixture.tenant().await);
    fixture.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    fixture.tenants.create_alias(&support(), other, "other").await.unwrap();
    assert!(faulty(&fixture, 1).delete(&support(), &tenant.into()).await.is_err());
    assert!(fixture.tenants.find(&acme()).await.unwrap_err().is(problems::NOT_FOUND));
    let mut worker = FreeNames::new(fixture.tenants.clone());
    assert_eq!(worker.run_once().await.unwrap().changed, 1);
    assert_eq!(worker.run_once().await.unwrap().changed, 0);
    fixture.tenants.create_alias(&support(), other, "acme").await.unwrap();
    assert_eq!(fixture.tenants.find(&Ref::Alias("other".into())).await.unwrap(), other);
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_can_be_repeated_under_the_same_name() {
    let fixture = Fixture::new().await;
    let (tenant, other) = (fixture.tenant().await, fixture.tenant().await);
    fixture.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    assert!(faulty(&fixture, 1).delete(&support(), &acme()).await.is_err());
    assert!(!fixture.tenants.delete(&support(), &acme()).await.unwrap());
    fixture.tenants.create_alias(&support(), other, "acme").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_given_while_its_tenant_is_deleted_does_not_stay_behind() {
    let fixture = Fixture::new().await;
    let tenants = fixture.tenants_on(&fixture.foundation.test_db.pool(4).await);
    for turn in 0..30 {
        let (tenant, name) = (fixture.tenant().await, format!("name-{turn}"));
        let deletion = tokio::spawn({
            let tenants = tenants.clone();
            async move { tenants.delete(&support(), &tenant.into()).await }
        });
        let named = tenants.create_alias(&support(), tenant, &name).await;
        assert!(deletion.await.unwrap().unwrap());
        assert!(named.is_ok() || named.is_err_and(|it| it.is(problems::NOT_FOUND)));
        let dependent = fixture.tenant().await;
        tenants.create_alias(&support(), dependent, &name).await.unwrap();
    }
}

#[tokio::test]
async fn more_names_than_fit_on_a_page_are_freed_in_one_run() {
    let fixture = Fixture::new().await;
    let cut_off =
        fixture.tenants_on(&fixture.foundation.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    for turn in 0..501 {
        let tenant = fixture.tenant().await;
        fixture.tenants.create_alias(&support(), tenant, &format!("name-{turn}")).await.unwrap();
        assert!(cut_off.delete(&support(), &tenant.into()).await.is_err());
    }
    let stays = fixture.tenant().await;
    fixture.tenants.create_alias(&support(), stays, "acme").await.unwrap();
    assert_eq!(FreeNames::new(fixture.tenants.clone()).run_once().await.unwrap().changed, 501);
    assert_eq!(fixture.tenants.find(&acme()).await.unwrap(), stays);
}
