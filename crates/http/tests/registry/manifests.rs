//! Categories "push" and "pull": manifests, and what becomes of a version's image.

use omgservers_api::roles::ImageQualifier;
use omgservers_registry::Algorithm;
use omgservers_versions::PinnedImage;
use reqwest::Method;
use serde_json::json;

use crate::fixture::{OCI_IMAGE, OCI_INDEX, RegistryFixture, digest, error, header};
use omgservers_deployments::Deployments as _;
use omgservers_versions::Versions as _;

const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_under_a_version_and_pulled_by_tag_and_by_digest() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let tag = path.version.to_string();
    let (digest, text) = owner.image(&tag, "a layer").await;
    for reference in [tag.clone(), digest.to_string()] {
        let got = owner.get(&format!("manifests/{reference}")).await;
        assert_eq!(got.status(), 200);
        assert_eq!(header(got.headers(), "docker-content-digest"), digest.to_string());
        assert_eq!(header(got.headers(), "content-type"), OCI_IMAGE);
        assert_eq!(got.text().await.unwrap(), text, "byte for byte");
        let head = owner.head(&format!("manifests/{reference}")).await;
        assert_eq!(header(head.headers(), "content-length"), text.len().to_string());
        assert_eq!(header(head.headers(), "docker-content-digest"), digest.to_string());
    }
    let image = PinnedImage {
        qualifier: ImageQualifier::Universal,
        repository: path.universal().to_string(),
        digest: digest.to_string(),
    };
    assert_eq!(fixture.versions.images(path.version).await.unwrap(), [image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_docker_and_lists_of_images_are_taken() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let config = owner.part("{}").await;
    let image = json!({"schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": config, "layers": []});
    let (child, text) = owner.manifest("", DOCKER_IMAGE, &image).await;
    let part = json!({"mediaType": DOCKER_IMAGE, "digest": child.to_string(), "size": text.len()});
    for kind in [DOCKER_LIST, OCI_INDEX] {
        let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [part]});
        let (digest, _) = owner.manifest(&path.version.to_string(), kind, &list).await;
        let got = owner.get(&format!("manifests/{}", path.version)).await;
        assert_eq!(header(got.headers(), "content-type"), kind);
        assert_eq!(header(got.headers(), "docker-content-digest"), digest.to_string());
    }
    let long = Algorithm::Sha512.of(text.as_bytes());
    assert_eq!(owner.put(&long.to_string(), DOCKER_IMAGE, &text).await.status(), 201);
    assert_eq!(owner.get(&format!("manifests/{long}")).await.text().await.unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_is_refused() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let config = owner.part("{}").await;
    let missing = json!({"mediaType": "a/b", "digest": digest(b"missing").to_string(), "size": 7});
    let mut short = config.clone();
    short["size"] = 1.into();
    let image = |config: &serde_json::Value, layers: &serde_json::Value| {
        json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": layers}).to_string()
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [missing]}).to_string();
    let right = image(&config, &json!([]));
    let tag = path.version.to_string();
    let other = digest(b"other").to_string();
    for (reference, kind, body, code) in [
        (tag.as_str(), OCI_IMAGE, image(&config, &json!([missing])), "MANIFEST_BLOB_UNKNOWN"),
        (&tag, OCI_IMAGE, image(&missing, &json!([])), "MANIFEST_BLOB_UNKNOWN"),
        (&tag, OCI_INDEX, index, "MANIFEST_BLOB_UNKNOWN"),
        (&tag, OCI_IMAGE, image(&short, &json!([])), "MANIFEST_INVALID"),
        (&tag, OCI_INDEX, right.clone(), "MANIFEST_INVALID"),
        (&tag, OCI_IMAGE, "no json".to_owned(), "MANIFEST_INVALID"),
        (&other, OCI_IMAGE, right.clone(), "DIGEST_INVALID"),
        ("sha256:abc", OCI_IMAGE, right.clone(), "DIGEST_INVALID"),
        ("-tag", OCI_IMAGE, right.clone(), "MANIFEST_INVALID"),
    ] {
        let (status, word, message) = error(owner.put(reference, kind, &body).await).await;
        assert_eq!((status, word.as_str()), (400, code), "{body}: {message}");
    }
    let large = " ".repeat((4 << 20) + 1);
    if let Ok(refused) = owner.request(Method::PUT, "manifests/large").body(large).send().await {
        assert_eq!(refused.status(), 413);
    }
    assert_eq!(owner.head(&format!("manifests/{tag}")).await.status(), 404, "nothing got the tag");
    assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_digits_is_a_version_of_the_project() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let sibling = fixture.version_path_in(path.tenant).await;
    let stranger = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (_, text) = owner.image("", "a layer").await;
    for (tag, status, code) in [
        ("12345".to_owned(), 400, "MANIFEST_INVALID"),
        ("0".to_owned(), 400, "MANIFEST_INVALID"),
        ("9".repeat(128), 400, "MANIFEST_INVALID"),
        (format!("0{}", path.version), 400, "MANIFEST_INVALID"),
        (sibling.version.to_string(), 403, "DENIED"),
        (stranger.version.to_string(), 403, "DENIED"),
    ] {
        let (found, word, message) = error(owner.put(&tag, OCI_IMAGE, &text).await).await;
        assert_eq!((found, word.as_str()), (status, code), "{tag}: {message}");
        assert!(message.contains("version") && message.contains(&tag), "{message}");
        assert_eq!(owner.head(&format!("manifests/{tag}")).await.status(), 404);
    }
    for other in [sibling, stranger] {
        assert!(fixture.versions.images(other.version).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_tag_is_taken_and_attached_to_nothing() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let other = format!("v{}", path.version);
    for tag in ["latest", "test0", "_1.2-rc3", &other, &"x".repeat(128)] {
        let (digest, _) = owner.image(tag, tag).await;
        let head = owner.head(&format!("manifests/{tag}")).await;
        assert_eq!(header(head.headers(), "docker-content-digest"), digest.to_string(), "{tag}");
    }
    assert!(fixture.versions.images(path.version).await.unwrap().is_empty());
    let (version, _) = owner.image(&path.version.to_string(), "of the version").await;
    let images = fixture.versions.images(path.version).await.unwrap();
    assert_eq!(images.iter().map(|it| it.digest.as_str()).collect::<Vec<_>>(), [version.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_a_tag_again_moves_it_and_what_is_deployed_stays() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let tag = path.version.to_string();
    let (old, _) = owner.image(&tag, "old").await;
    let system = crate::fixture::SYSTEM;
    let (tenant, project, stage, version) = (path.tenant, path.project, path.stage, path.version);
    let deployed = fixture.deployments.deploy(&system, tenant, project, stage, version, None).await.unwrap();
    let (new, _) = owner.image(&tag, "new").await;
    assert_eq!(
        header(owner.head(&format!("manifests/{tag}")).await.headers(), "docker-content-digest"),
        new.to_string()
    );
    let images = fixture.versions.images(version).await.unwrap();
    assert_eq!(images.iter().map(|it| it.digest.as_str()).collect::<Vec<_>>(), [new.to_string()]);
    let full = fixture.deployments.full(deployed).await.unwrap();
    assert_eq!(full.images[0].digest, old.to_string());
    assert_eq!(owner.get(&format!("manifests/{old}")).await.status(), 200);
}
