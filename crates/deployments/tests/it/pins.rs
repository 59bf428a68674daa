use std::collections::HashSet;

use omgservers_api::{RuntimeQualifier, roles::ImageQualifier};
use omgservers_deployments::Deployments as _;
use omgservers_versions::image_for;

use crate::bed::{Bed, digest, support};

#[tokio::test]
async fn a_second_push_changes_nothing_that_is_deployed() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    let first = bed.deploy(place, version).await.unwrap();
    bed.push(place, version, ImageQualifier::Universal, 2).await;
    bed.push(place, version, ImageQualifier::Lobby, 3).await;
    let second = bed.deploy(place, version).await.unwrap();
    // From the table, not from what the first one left in memory.
    let other = bed.deployments_on(&bed.ground.db);
    for deployments in [&bed.deployments, &other] {
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
async fn the_registry_is_told_of_every_digest_that_a_deployment_needs() {
    let bed = Bed::new().await;
    let place = bed.place().await;
    let version = bed.ready(place).await;
    assert_eq!(bed.deployments.pinned_digests().await.unwrap(), HashSet::new(), "a push alone pins nothing");
    let first = bed.deploy(place, version).await.unwrap();
    bed.push(place, version, ImageQualifier::Universal, 2).await;
    bed.deploy(place, version).await.unwrap();
    bed.push(place, version, ImageQualifier::Universal, 3).await;
    assert_eq!(bed.deployments.pinned_digests().await.unwrap(), HashSet::from([digest(1), digest(2)]));
    assert!(bed.deployments.delete(&support(), place.tenant, first).await.unwrap());
    assert_eq!(bed.deployments.pinned_digests().await.unwrap(), HashSet::from([digest(2)]));
}
