//! Category "content management": deletes.

use serde_json::{Value, json};

use crate::fixture::{RegistryFixture, SYSTEM, digest, error};
use omgservers_deployments::Deployments as _;

#[tokio::test(flavor = "multi_thread")]
async fn tags_manifests_and_blobs_are_deleted() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let second = fixture.version(path.tenant, path.project).await.to_string();
    let first = path.version.to_string();
    let (image, text) = owner.image(&first, "a layer").await;
    assert_eq!(owner.put(&second, crate::fixture::OCI_IMAGE, &text).await.status(), 201);
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
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (image, _) = owner.image(&path.version.to_string(), "a layer").await;
    let (tenant, project, stage, version) = (path.tenant, path.project, path.stage, path.version);
    let deployment =
        fixture.deployments.deploy(&SYSTEM, tenant, project, stage, version, None).await.unwrap();
    let (status, code, message) = error(owner.delete(&format!("manifests/{image}")).await).await;
    assert_eq!((status, code.as_str()), (403, "DENIED"));
    assert!(message.contains("deployment"), "{message}");
    assert_eq!(owner.head(&format!("manifests/{image}")).await.status(), 200);
    fixture.deployments.delete(&SYSTEM, tenant, deployment).await.unwrap();
    assert_eq!(owner.delete(&format!("manifests/{image}")).await.status(), 202);
}
