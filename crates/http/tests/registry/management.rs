//! Category "content management": deletes.

use serde_json::{Value, json};

use crate::house::{House, SYSTEM, digest, error};

#[tokio::test(flavor = "multi_thread")]
async fn tags_manifests_and_blobs_are_deleted() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let second = house.version(place.tenant, place.project).await.to_string();
    let first = place.version.to_string();
    let (image, text) = owner.image(&first, "a layer").await;
    assert_eq!(owner.put(&second, crate::house::OCI_IMAGE, &text).await.status(), 201);
    let layer = digest(b"a layer");

    assert_eq!(owner.delete(&format!("manifests/{first}")).await.status(), 202);
    assert_eq!(owner.head(&format!("manifests/{first}")).await.status(), 404);
    assert_eq!(owner.head(&format!("manifests/{image}")).await.status(), 200, "only the tag is gone");
    assert_eq!(error(owner.delete(&format!("manifests/{first}")).await).await.1, "MANIFEST_UNKNOWN");

    let (status, code, _) = error(owner.delete(&format!("blobs/{layer}")).await).await;
    assert_eq!((status, code.as_str()), (405, "UNSUPPORTED"), "an image needs it");

    assert_eq!(owner.delete(&format!("manifests/{image}")).await.status(), 202);
    assert_eq!(owner.head(&format!("manifests/{second}")).await.status(), 404, "its tags go with it");
    let tags: Value = owner.get("tags/list").await.json().await.unwrap();
    assert_eq!(tags["tags"], json!([]));
    assert_eq!(error(owner.delete(&format!("manifests/{image}")).await).await.1, "MANIFEST_UNKNOWN");

    assert_eq!(owner.delete(&format!("blobs/{layer}")).await.status(), 202);
    assert_eq!(owner.head(&format!("blobs/{layer}")).await.status(), 404);
    assert_eq!(error(owner.delete(&format!("blobs/{layer}")).await).await.1, "BLOB_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_deployment_runs_is_not_deleted() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let (image, _) = owner.image(&place.version.to_string(), "a layer").await;
    let (tenant, project, stage, version) = (place.tenant, place.project, place.stage, place.version);
    let deployment = house.deployments.deploy(&SYSTEM, tenant, project, stage, version, None).await.unwrap();
    let (status, code, message) = error(owner.delete(&format!("manifests/{image}")).await).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    assert!(message.contains("deployment"), "{message}");
    assert_eq!(owner.head(&format!("manifests/{image}")).await.status(), 200);
    house.deployments.delete(&SYSTEM, tenant, deployment).await.unwrap();
    assert_eq!(owner.delete(&format!("manifests/{image}")).await.status(), 202);
}
