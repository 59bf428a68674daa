use std::collections::HashSet;

use omgservers_api::{RuntimeQualifier, roles::ImageQualifier};
use omgservers_deployments::Deployments as _;
use omgservers_fixtures::{Fixture, digest, support};
use omgservers_versions::image_for;

#[tokio::test]
async fn a_second_push_changes_nothing_that_is_deployed() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    let first = fixture.deploy(path, version).await.unwrap();
    fixture.attach_image(path, version, ImageQualifier::Universal, 2).await;
    fixture.attach_image(path, version, ImageQualifier::Lobby, 3).await;
    let second = fixture.deploy(path, version).await.unwrap();
    // From the table, not from what the first one left in memory.
    let other = fixture.deployments_on(fixture.foundation.db.clone());
    for deployments in [&fixture.deployments, &other] {
        let of = async |id| deployments.full(id).await.unwrap().images.clone();
        let (old, new) = (of(first).await, of(second).await);
        assert_eq!(old.len(), 1);
        assert_eq!(image_for(&old, RuntimeQualifier::Lobby).unwrap().digest, digest(1));
        assert_eq!(image_for(&old, RuntimeQualifier::Match).unwrap().digest, digest(1));
        assert_eq!(new.len(), 2);
        assert_eq!(image_for(&new, RuntimeQualifier::Match).unwrap().digest, digest(2));
    }
}

#[tokio::test]
async fn the_registry_gets_every_digest_that_a_deployment_needs() {
    let fixture = Fixture::new().await;
    let path = fixture.stage().await;
    let version = fixture.deployable_version(path).await;
    assert_eq!(
        fixture.deployments.pinned_digests().await.unwrap(),
        HashSet::new(),
        "a push alone pins nothing"
    );
    let first = fixture.deploy(path, version).await.unwrap();
    fixture.attach_image(path, version, ImageQualifier::Universal, 2).await;
    fixture.deploy(path, version).await.unwrap();
    fixture.attach_image(path, version, ImageQualifier::Universal, 3).await;
    assert_eq!(fixture.deployments.pinned_digests().await.unwrap(), HashSet::from([digest(1), digest(2)]));
    assert!(fixture.deployments.delete(&support(), path.tenant, first).await.unwrap());
    assert_eq!(fixture.deployments.pinned_digests().await.unwrap(), HashSet::from([digest(2)]));
}
