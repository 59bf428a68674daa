use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use omgservers_api::{Ref, Role, TenantId, TenantPermission, problem::codes};
use omgservers_core::{Worker as _, db::Fault};
use omgservers_tenants::{FreeNames, PgTenants, Tenants as _, problems};

use crate::bed::{Bed, strangers, support, user, was_rung};

fn acme() -> Ref<TenantId> {
    Ref::Alias("acme".to_owned())
}

/// Tenants whose transaction number `which`, counted from 1, is committed and fails all the same.
fn faulty(bed: &Bed, which: u32) -> PgTenants {
    let count = Arc::new(AtomicU32::new(0));
    let fault = move || (count.fetch_add(1, Ordering::SeqCst) + 1 == which).then_some(Fault::AfterCommit);
    bed.tenants_on(&bed.ground.db.with_faults(Arc::new(fault)))
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_with_all_that_was_its_own() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    bed.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    assert!(bed.tenants.delete(&support(), &acme()).await.unwrap());
    for name in [Ref::Id(tenant), acme()] {
        assert!(bed.tenants.find(&name).await.unwrap_err().is(problems::NOT_FOUND));
        assert!(!bed.tenants.delete(&support(), &name).await.unwrap(), "there is nothing to delete any more");
    }
    assert!(bed.tenants.get(&support(), tenant).await.unwrap_err().is(problems::NOT_FOUND));
    let developer = user(Role::Developer, id);
    let held = bed.tenants.require(&developer, tenant, TenantPermission::TenantViewer).await;
    assert!(held.unwrap_err().is(codes::PERMISSION_NOT_FOUND));
}

#[tokio::test]
async fn the_names_of_a_deleted_tenant_can_be_given_again() {
    let bed = Bed::new().await;
    let (first, second) = (bed.tenant().await, bed.tenant().await);
    bed.tenants.create_alias(&support(), first, "acme").await.unwrap();
    assert!(bed.tenants.delete(&support(), &first.into()).await.unwrap());
    bed.tenants.create_alias(&support(), second, "acme").await.unwrap();
    assert_eq!(bed.tenants.find(&acme()).await.unwrap(), second);
    assert!(!bed.tenants.delete(&support(), &first.into()).await.unwrap());
    assert_eq!(
        bed.tenants.find(&acme()).await.unwrap(),
        second,
        "deleting the first again takes nothing away"
    );
}

#[tokio::test]
async fn only_support_deletes_tenants() {
    let bed = Bed::new().await;
    let (tenant, id) = (bed.tenant().await, bed.developer().await);
    bed.tenants.grant(&support(), tenant, &id.into(), TenantPermission::ALL).await.unwrap();
    for stranger in strangers(id) {
        assert!(bed.tenants.delete(&stranger, &tenant.into()).await.unwrap_err().is(codes::WRONG_ROLE));
    }
    assert_eq!(bed.tenants.find(&tenant.into()).await.unwrap(), tenant);
}

#[tokio::test]
async fn who_comes_after_a_tenant_is_woken_by_its_deletion_and_by_nothing_else() {
    let bed = Bed::new().await;
    let tenant = bed.tenant().await;
    assert!(!was_rung(&bed.heir).await);
    assert!(bed.tenants.delete(&support(), &tenant.into()).await.unwrap());
    assert!(was_rung(&bed.heir).await);
    assert!(!bed.tenants.delete(&support(), &tenant.into()).await.unwrap());
    assert!(!was_rung(&bed.heir).await);
}

#[tokio::test]
async fn which_tenants_exist_is_told_for_many_at_once() {
    let bed = Bed::new().await;
    let (here, gone) = (bed.tenant().await, bed.tenant().await);
    bed.tenants.delete(&support(), &gone.into()).await.unwrap();
    assert_eq!(bed.tenants.exist(&[here, gone, here]).await.unwrap(), [here].into());
    assert!(bed.tenants.exist(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_leaves_a_name_that_stands_for_nothing_until_it_is_freed() {
    let bed = Bed::new().await;
    let (tenant, other) = (bed.tenant().await, bed.tenant().await);
    bed.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    bed.tenants.create_alias(&support(), other, "other").await.unwrap();
    assert!(faulty(&bed, 1).delete(&support(), &tenant.into()).await.is_err());
    assert!(bed.tenants.find(&acme()).await.unwrap_err().is(problems::NOT_FOUND));
    let mut worker = FreeNames { db: bed.ground.db.clone() };
    assert_eq!(worker.run_once().await.unwrap().changed, 1);
    assert_eq!(worker.run_once().await.unwrap().changed, 0);
    bed.tenants.create_alias(&support(), other, "acme").await.unwrap();
    assert_eq!(bed.tenants.find(&Ref::Alias("other".into())).await.unwrap(), other);
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_can_be_repeated_under_the_same_name() {
    let bed = Bed::new().await;
    let (tenant, other) = (bed.tenant().await, bed.tenant().await);
    bed.tenants.create_alias(&support(), tenant, "acme").await.unwrap();
    assert!(faulty(&bed, 1).delete(&support(), &acme()).await.is_err());
    assert!(!bed.tenants.delete(&support(), &acme()).await.unwrap());
    bed.tenants.create_alias(&support(), other, "acme").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_name_given_while_its_tenant_is_deleted_does_not_stay_behind() {
    let bed = Bed::new().await;
    let tenants = bed.tenants_on(&bed.ground.test_db.pool(4).await);
    for turn in 0..30 {
        let (tenant, name) = (bed.tenant().await, format!("name-{turn}"));
        let deletion = tokio::spawn({
            let tenants = tenants.clone();
            async move { tenants.delete(&support(), &tenant.into()).await }
        });
        let named = tenants.create_alias(&support(), tenant, &name).await;
        assert!(deletion.await.unwrap().unwrap());
        assert!(named.is_ok() || named.is_err_and(|it| it.is(problems::NOT_FOUND)));
        let heir = bed.tenant().await;
        tenants.create_alias(&support(), heir, &name).await.unwrap();
    }
}

#[tokio::test]
async fn more_names_than_fit_on_a_page_are_freed_in_one_run() {
    let bed = Bed::new().await;
    let cut_off = bed.tenants_on(&bed.ground.db.with_faults(Arc::new(|| Some(Fault::AfterCommit))));
    for turn in 0..501 {
        let tenant = bed.tenant().await;
        bed.tenants.create_alias(&support(), tenant, &format!("name-{turn}")).await.unwrap();
        assert!(cut_off.delete(&support(), &tenant.into()).await.is_err());
    }
    let stays = bed.tenant().await;
    bed.tenants.create_alias(&support(), stays, "acme").await.unwrap();
    assert_eq!(FreeNames { db: bed.ground.db.clone() }.run_once().await.unwrap().changed, 501);
    assert_eq!(bed.tenants.find(&acme()).await.unwrap(), stays);
}
