//! Category "content discovery": tags and referrers.

use omgservers_registry::Digest;
use reqwest::Method;
use serde_json::{Value, json};

use crate::fixture::{Client, OCI_IMAGE, OCI_INDEX, RegistryFixture, digest, error, header};

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_listed_in_order_and_in_pages() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    assert_eq!(error(owner.get("tags/list").await).await.1, "NAME_UNKNOWN");
    let (_, text) = owner.image("", "a layer").await;
    assert_eq!(owner.get("tags/list").await.json::<Value>().await.unwrap()["tags"], json!([]));
    let mut tags = Vec::new();
    for _ in 0..5 {
        let tag = fixture.version(path.tenant, path.project).await.to_string();
        assert_eq!(owner.put(&tag, OCI_IMAGE, &text).await.status(), 201);
        tags.push(tag);
    }
    tags.sort();
    let list: Value = owner.get("tags/list").await.json().await.unwrap();
    assert_eq!(list, json!({"name": path.universal().to_string(), "tags": tags}));

    let first = owner.get("tags/list?n=2").await;
    let link = header(first.headers(), "link");
    assert_eq!(first.json::<Value>().await.unwrap()["tags"], json!(tags[..2]));
    let mut next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    let mut seen = tags[..2].to_vec();
    while !next.is_empty() {
        let page = owner.at(Method::GET, &next).send().await.unwrap();
        let link = header(page.headers(), "link");
        let page: Value = page.json().await.unwrap();
        seen.extend(page["tags"].as_array().unwrap().iter().map(|it| it.as_str().unwrap().to_owned()));
        next = link.trim_start_matches('<').split('>').next().unwrap().to_owned();
    }
    assert_eq!(seen, tags, "all of them, once");

    let none = owner.get("tags/list?n=0").await;
    assert!(none.headers().get("link").is_none());
    assert_eq!(none.json::<Value>().await.unwrap()["tags"], json!([]));
    let all = owner.get("tags/list?n=5").await;
    assert!(all.headers().get("link").is_none(), "there are no more");
    let last = owner.get(&format!("tags/list?last={}", tags[3])).await;
    assert_eq!(last.json::<Value>().await.unwrap()["tags"], json!(tags[4..]));
    assert_eq!(error(owner.get("tags/list?n=few").await).await.1, "PAGINATION_NUMBER_INVALID");
}

async fn refer(owner: &Client<'_>, kind: &str, to: &Digest, note: &str) -> Digest {
    let config = json!({"mediaType": kind, "digest": owner.blob(b"{}").await.to_string(), "size": 2});
    let subject = json!({"mediaType": OCI_IMAGE, "digest": to.to_string(), "size": 2});
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [],
        "subject": subject, "annotations": {"note": note},
    });
    let text = manifest.to_string();
    let digest = digest(text.as_bytes());
    let put = owner.put(&digest.to_string(), OCI_IMAGE, &text).await;
    assert_eq!((put.status().as_u16(), header(put.headers(), "oci-subject")), (201, to.to_string()));
    digest
}

#[tokio::test(flavor = "multi_thread")]
async fn what_refers_to_a_manifest_is_listed_and_filtered() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    // The subject may come later, or never.
    let missing = digest(b"missing");
    let list = owner.get(&format!("referrers/{missing}")).await;
    assert_eq!((list.status().as_u16(), header(list.headers(), "content-type")), (200, OCI_INDEX.to_owned()));
    assert!(list.headers().get("oci-filters-applied").is_none());
    let list: Value = list.json().await.unwrap();
    assert_eq!(list, json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));

    let (subject, _) = owner.image(&path.version.to_string(), "a layer").await;
    let signature = refer(&owner, "application/vnd.test.signature", &subject, "signed").await;
    let bill = refer(&owner, "application/vnd.test.sbom+json", &subject, "counted").await;
    refer(&owner, "application/vnd.test.signature", &missing, "early").await;
    let list: Value = owner.get(&format!("referrers/{subject}")).await.json().await.unwrap();
    let mut found: Vec<&str> =
        list["manifests"].as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap()).collect();
    found.sort_unstable();
    let mut expected = [signature.to_string(), bill.to_string()];
    expected.sort();
    assert_eq!(found, expected);

    let list =
        owner.get(&format!("referrers/{subject}?artifactType=application%2Fvnd.test.sbom%2Bjson")).await;
    assert_eq!(header(list.headers(), "oci-filters-applied"), "artifactType");
    let list: Value = list.json().await.unwrap();
    let descriptor = &list["manifests"][0];
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(descriptor["digest"], bill.to_string());
    assert_eq!(descriptor["artifactType"], "application/vnd.test.sbom+json");
    assert_eq!(descriptor["mediaType"], OCI_IMAGE);
    assert_eq!(descriptor["annotations"], json!({"note": "counted"}));
    assert!(descriptor["size"].as_u64().unwrap() > 100);

    let index = json!({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "artifactType": "a/b",
        "subject": {"mediaType": OCI_IMAGE, "digest": missing.to_string(), "size": 2},
    });
    owner.manifest("", OCI_INDEX, &index).await;
    let list: Value = owner.get(&format!("referrers/{missing}?artifactType=a/b")).await.json().await.unwrap();
    assert_eq!(list["manifests"][0]["mediaType"], OCI_INDEX);
    assert_eq!(error(owner.get("referrers/nothing").await).await.1, "DIGEST_INVALID");

    assert_eq!(owner.delete(&format!("manifests/{bill}")).await.status(), 202);
    let list: Value = owner.get(&format!("referrers/{subject}")).await.json().await.unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}
