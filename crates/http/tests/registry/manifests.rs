//! Categories "push" and "pull": manifests, and what becomes of a version's image.

use omgservers_api::roles::ImageQualifier;
use omgservers_registry::Algorithm;
use omgservers_versions::PinnedImage;
use reqwest::Method;
use serde_json::json;

use crate::house::{House, OCI_IMAGE, OCI_INDEX, digest, error, header};

const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pushed_under_a_version_and_pulled_by_tag_and_by_digest() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let tag = place.version.to_string();
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
        repository: place.universal().to_string(),
        digest: digest.to_string(),
    };
    assert_eq!(house.versions.images(place.version).await.unwrap(), [image]);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_of_docker_and_lists_of_images_are_taken() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let config = owner.part("{}").await;
    let image = json!({"schemaVersion": 2, "mediaType": DOCKER_IMAGE, "config": config, "layers": []});
    let (child, text) = owner.manifest("", DOCKER_IMAGE, &image).await;
    let part = json!({"mediaType": DOCKER_IMAGE, "digest": child.to_string(), "size": text.len()});
    for kind in [DOCKER_LIST, OCI_INDEX] {
        let list = json!({"schemaVersion": 2, "mediaType": kind, "manifests": [part]});
        let (digest, _) = owner.manifest(&place.version.to_string(), kind, &list).await;
        let got = owner.get(&format!("manifests/{}", place.version)).await;
        assert_eq!(header(got.headers(), "content-type"), kind);
        assert_eq!(header(got.headers(), "docker-content-digest"), digest.to_string());
    }
    let long = Algorithm::Sha512.of(text.as_bytes());
    assert_eq!(owner.put(&long.to_string(), DOCKER_IMAGE, &text).await.status(), 201);
    assert_eq!(owner.get(&format!("manifests/{long}")).await.text().await.unwrap(), text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_lies_is_refused() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let config = owner.part("{}").await;
    let missing = json!({"mediaType": "a/b", "digest": digest(b"missing").to_string(), "size": 7});
    let mut short = config.clone();
    short["size"] = 1.into();
    let image = |config: &serde_json::Value, layers: &serde_json::Value| {
        json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": layers}).to_string()
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [missing]}).to_string();
    let right = image(&config, &json!([]));
    let tag = place.version.to_string();
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
    assert!(house.versions.images(place.version).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_of_digits_is_a_version_of_the_project() {
    let house = House::new().await;
    let place = house.place().await;
    let sibling = house.place_in(place.tenant).await;
    let stranger = house.place().await;
    let owner = house.owner(place.universal());
    let (_, text) = owner.image("", "a layer").await;
    for (tag, status, code) in [
        ("12345".to_owned(), 400, "MANIFEST_INVALID"),
        ("0".to_owned(), 400, "MANIFEST_INVALID"),
        ("9".repeat(128), 400, "MANIFEST_INVALID"),
        (format!("0{}", place.version), 400, "MANIFEST_INVALID"),
        (sibling.version.to_string(), 403, "DENIED"),
        (stranger.version.to_string(), 403, "DENIED"),
    ] {
        let (found, word, message) = error(owner.put(&tag, OCI_IMAGE, &text).await).await;
        assert_eq!((found, word.as_str()), (status, code), "{tag}: {message}");
        assert!(message.contains("version") && message.contains(&tag), "{message}");
        assert_eq!(owner.head(&format!("manifests/{tag}")).await.status(), 404);
    }
    for other in [sibling, stranger] {
        assert!(house.versions.images(other.version).await.unwrap().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_tag_is_taken_and_attached_to_nothing() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let other = format!("v{}", place.version);
    for tag in ["latest", "test0", "_1.2-rc3", &other, &"x".repeat(128)] {
        let (digest, _) = owner.image(tag, tag).await;
        let head = owner.head(&format!("manifests/{tag}")).await;
        assert_eq!(header(head.headers(), "docker-content-digest"), digest.to_string(), "{tag}");
    }
    assert!(house.versions.images(place.version).await.unwrap().is_empty());
    let (version, _) = owner.image(&place.version.to_string(), "of the version").await;
    let images = house.versions.images(place.version).await.unwrap();
    assert_eq!(images.iter().map(|it| it.digest.as_str()).collect::<Vec<_>>(), [version.to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_a_tag_again_moves_it_and_what_is_deployed_stays() {
    let house = House::new().await;
    let place = house.place().await;
    let owner = house.owner(place.universal());
    let tag = place.version.to_string();
    let (old, _) = owner.image(&tag, "old").await;
    let system = crate::house::SYSTEM;
    let (tenant, project, stage, version) = (place.tenant, place.project, place.stage, place.version);
    let deployed = house.deployments.deploy(&system, tenant, project, stage, version, None).await.unwrap();
    let (new, _) = owner.image(&tag, "new").await;
    assert_eq!(
        header(owner.head(&format!("manifests/{tag}")).await.headers(), "docker-content-digest"),
        new.to_string()
    );
    let images = house.versions.images(version).await.unwrap();
    assert_eq!(images.iter().map(|it| it.digest.as_str()).collect::<Vec<_>>(), [new.to_string()]);
    let full = house.deployments.full(deployed).await.unwrap();
    assert_eq!(full.images[0].digest, old.to_string());
    assert_eq!(owner.get(&format!("manifests/{old}")).await.status(), 200);
}
