//! What the collector of garbage removes, and what it leaves.

use std::{sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use omgservers_api::roles::ImageQualifier;
use omgservers_core::{Doorbell, Worker as _};
use omgservers_registry::{CollectGarbage, ForgetProjects, Registry, problems};
use omgservers_versions::Repository;
use reqwest::Method;
use serde_json::json;

use crate::fixture::{OCI_IMAGE, OCI_INDEX, RegistryFixture, SYSTEM, digest, header};
use omgservers_deployments::Deployments as _;
use omgservers_projects::Projects as _;
use omgservers_versions::Versions as _;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(flavor = "multi_thread")]
async fn what_versions_have_and_deployments_run_stays_and_the_rest_goes() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let tag = path.version.to_string();
    let (deployed, _) = owner.image(&tag, "deployed").await;
    let (tenant, project, stage, version) = (path.tenant, path.project, path.stage, path.version);
    fixture.deployments.deploy(&SYSTEM, tenant, project, stage, version, None).await.unwrap();
    let (between, _) = owner.image(&tag, "between").await;
    let (latest, _) = owner.image(&tag, "latest").await;
    let (loose, _) = owner.image("", "loose").await;
    let blob = owner.blob(b"alone").await;
    assert_eq!(fixture.collect().await, 0, "everything is young");
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    for digest in [&deployed, &latest] {
        assert_eq!(owner.get(&format!("manifests/{digest}")).await.status(), 200);
    }
    for digest in [&between, &loose] {
        assert_eq!(owner.get(&format!("manifests/{digest}")).await.status(), 404);
        assert!(!fixture.file(digest).exists());
    }
    assert_eq!(owner.head(&format!("blobs/{blob}")).await.status(), 404);
    assert!(!fixture.file(&blob).exists());
    let between = digest(b"between");
    assert!(fixture.file(&between).exists(), "a blob is young again when its last manifest goes");
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    assert!(!fixture.file(&between).exists());
    // Two images with a layer each, and one configuration.
    assert_eq!(fixture.files(), (5, 0));
    assert_eq!(fixture.collect().await, 0, "nothing is left to do");

    assert_eq!(owner.delete(&format!("manifests/{tag}")).await.status(), 202);
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    assert_eq!(owner.get(&format!("manifests/{latest}")).await.status(), 200, "the version still has it");
    fixture.versions.delete(&SYSTEM, tenant, version).await.unwrap();
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    assert_eq!(owner.get(&format!("manifests/{latest}")).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tag_of_a_version_that_is_gone_goes() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    owner.image(&path.version.to_string(), "a layer").await;
    fixture.versions.delete(&SYSTEM, path.tenant, path.version).await.unwrap();
    fixture.collect().await;
    assert_eq!(owner.head(&format!("manifests/{}", path.version)).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_no_version_stays_until_it_is_deleted() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (old, _) = owner.image("latest", "old").await;
    let (new, _) = owner.image("latest", "new").await;
    fixture.versions.delete(&SYSTEM, path.tenant, path.version).await.unwrap();
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    assert_eq!(owner.get("manifests/latest").await.status(), 200);
    assert_eq!(owner.get(&format!("manifests/{new}")).await.status(), 200);
    assert_eq!(owner.get(&format!("blobs/{}", digest(b"new"))).await.status(), 200);
    assert_eq!(owner.get(&format!("manifests/{old}")).await.status(), 404, "the tag has moved on");
    assert_eq!(owner.delete("manifests/latest").await.status(), 202);
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    assert_eq!(owner.get(&format!("manifests/{new}")).await.status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_keeps_its_images_and_a_manifest_what_refers_to_it() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (child, text) = owner.image("", "a layer").await;
    let part = json!({"mediaType": OCI_IMAGE, "digest": child.to_string(), "size": text.len()});
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [part]});
    let (index, _) = owner.manifest(&path.version.to_string(), OCI_INDEX, &index).await;
    let about = |subject: &str| {
        let subject = json!({"mediaType": OCI_INDEX, "digest": subject, "size": 2});
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [], "subject": subject})
    };
    let (signature, _) = owner.manifest("", OCI_INDEX, &about(&index.to_string())).await;
    let (orphan, _) = owner.manifest("", OCI_INDEX, &about(&digest(b"gone").to_string())).await;
    fixture.foundation.clock.advance(HOUR + MINUTE);
    fixture.collect().await;
    for (digest, status) in [(&child, 200), (&index, 200), (&signature, 200), (&orphan, 404)] {
        assert_eq!(owner.get(&format!("manifests/{digest}")).await.status().as_u16(), status, "{digest}");
    }
    assert_eq!(owner.get(&format!("blobs/{}", digest(b"a layer"))).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_push_is_not_pulled_from_under_its_feet() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let layer = owner.part("an old layer").await;
    let config = owner.part("{}").await;
    let location = owner.start().await;
    owner.chunk(&location, 0, b"a new ").await;
    // A push begins just before the old layer would go: it finds the layer and won't send it again.
    fixture.foundation.clock.advance(HOUR - MINUTE);
    assert_eq!(owner.head(&format!("blobs/{}", digest(b"an old layer"))).await.status(), 200);
    assert_eq!(owner.head(&format!("blobs/{}", digest(b"{}"))).await.status(), 200);
    fixture.foundation.clock.advance(30 * MINUTE);
    fixture.collect().await;
    assert_eq!(owner.chunk(&location, 6, b"layer").await.status(), 202);
    assert_eq!(owner.finish(&location, &digest(b"a new layer"), b"").await.status(), 201);
    fixture.foundation.clock.advance(20 * MINUTE);
    fixture.collect().await;
    let new = json!({"mediaType": "a/b", "digest": digest(b"a new layer").to_string(), "size": 11});
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer, new]});
    owner.manifest(&path.version.to_string(), OCI_IMAGE, &manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_nobody_goes_on_with_end_after_a_day() {
    let fixture = RegistryFixture::new().await;
    let owner = fixture.owner(fixture.version_path().await.universal());
    let (left, used) = (owner.start().await, owner.start().await);
    owner.chunk(&left, 0, b"some").await;
    fixture.foundation.clock.advance(20 * HOUR);
    owner.chunk(&used, 0, b"some").await;
    fixture.foundation.clock.advance(5 * HOUR);
    fixture.collect().await;
    assert_eq!(owner.at(Method::GET, &left).send().await.unwrap().status(), 404);
    let status = owner.at(Method::GET, &used).send().await.unwrap();
    assert_eq!(header(status.headers(), "range"), "0-3");
    assert_eq!(fixture.files(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repositories_of_a_deleted_project_go_and_shared_blobs_stay() {
    let fixture = RegistryFixture::new().await;
    let (gone, kept) = (fixture.version_path().await, fixture.version_path().await);
    let (first, second) = (fixture.owner(gone.universal()), fixture.owner(kept.of(ImageQualifier::Lobby)));
    first.image(&gone.version.to_string(), "shared").await;
    second.image(&kept.version.to_string(), "shared").await;
    first.blob(b"of one").await;
    first.start().await;
    fixture.projects.delete(&SYSTEM, gone.tenant, &gone.project.into()).await.unwrap();
    fixture.collect().await;
    assert_eq!(first.get("tags/list").await.status(), 404);
    assert_eq!(first.head(&format!("blobs/{}", digest(b"of one"))).await.status(), 404);
    assert!(!fixture.file(&digest(b"of one")).exists());
    assert_eq!(second.get(&format!("blobs/{}", digest(b"shared"))).await.text().await.unwrap(), "shared");
    assert_eq!(fixture.files(), (3, 0), "manifest, configuration, layer");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_forgets_a_project_wakes_the_collector_and_only_then() {
    let fixture = RegistryFixture::new().await;
    let (gone, kept) = (fixture.version_path().await, fixture.version_path().await);
    fixture.owner(gone.universal()).image(&gone.version.to_string(), "gone").await;
    fixture.owner(kept.universal()).image(&kept.version.to_string(), "kept").await;
    let collector = Doorbell::default();
    let projects = Arc::new(fixture.projects.clone());
    let mut forget = ForgetProjects::new(fixture.registry.clone(), projects, collector.clone());
    assert_eq!(forget.run_once().await.unwrap().changed, 0);
    assert!(collector.rung().now_or_never().is_none(), "there is nothing to collect");
    fixture.projects.delete(&SYSTEM, gone.tenant, &gone.project.into()).await.unwrap();
    assert_eq!(forget.run_once().await.unwrap().changed, 1);
    assert!(collector.rung().now_or_never().is_some());
    fixture.collect().await;
    assert!(!fixture.file(&digest(b"gone")).exists() && fixture.file(&digest(b"kept")).exists());
}

/// Pushes a blob without HTTP between.
async fn push(registry: &Registry, repository: Repository, content: &str) {
    let upload = registry.start_upload(&repository).await.unwrap();
    let body = futures_util::stream::iter([Ok::<_, std::io::Error>(content.to_owned().into())]);
    registry.append(&repository, &upload.id, None, body).await.unwrap();
    registry.finish_upload(&repository, &upload.id, &digest(content.as_bytes())).await.unwrap();
}

/// Collects garbage all the time.
async fn keep_collecting(mut collector: CollectGarbage) {
    loop {
        collector.run_once().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_blob_that_comes_back_while_its_file_goes_is_whole() {
    let fixture = RegistryFixture::new().await;
    let repository = fixture.version_path().await.universal();
    let registry = fixture.busy().await;
    let projects = Arc::new(fixture.projects.clone());
    let collector = CollectGarbage::new(registry.clone(), projects);
    let collecting: Vec<_> = (0..2).map(|_| tokio::spawn(keep_collecting(collector.clone()))).collect();
    let known = digest(b"back again");
    for _ in 0..150 {
        push(&registry, repository, "back again").await;
        assert_eq!(registry.blob(&repository, &known).await.unwrap().size(), 10);
        registry.delete_blob(&repository, &known).await.unwrap();
    }
    assert!(collecting.iter().all(|it| !it.is_finished()), "no collector failed");
    collecting.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_old_blob_that_is_used_while_it_goes_is_whole_or_missed() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let (here, there) = (path.universal(), path.of(ImageQualifier::Lobby));
    let registry = fixture.busy().await;
    let projects = Arc::new(fixture.projects.clone());
    let mut collector = CollectGarbage::new(registry.clone(), projects);
    for round in 0..40 {
        let content = format!("round {round}");
        let (known, size) = (digest(content.as_bytes()), content.len());
        push(&registry, here, &content).await;
        fixture.foundation.clock.advance(HOUR + MINUTE);
        let config = json!({"digest": known.to_string(), "size": size});
        let image = json!({"schemaVersion": 2, "config": config, "layers": []}).to_string();
        let reference = digest(image.as_bytes()).to_string();
        let put = registry.put_manifest(&here, &reference, Some(OCI_IMAGE), image.into());
        let (collected, mounted, put) =
            tokio::join!(collector.run_once(), registry.mount(&there, &here, &known), put);
        collected.unwrap();
        if mounted.unwrap() {
            assert_eq!(usize::try_from(registry.blob(&there, &known).await.unwrap().size()), Ok(size));
        }
        match put {
            Ok(_) => {
                assert_eq!(usize::try_from(registry.blob(&here, &known).await.unwrap().size()), Ok(size));
            }
            Err(problem) => assert!(problem.is(problems::MANIFEST_BLOB_UNKNOWN), "{problem:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_file_is_brought_back_by_pushing_again() {
    let fixture = RegistryFixture::new().await;
    let path = fixture.version_path().await;
    let owner = fixture.owner(path.universal());
    let (image, _) = owner.image(&path.version.to_string(), "a layer").await;
    for lost in [&image, &digest(b"a layer")] {
        std::fs::remove_file(fixture.file(lost)).unwrap();
    }
    assert_eq!(owner.head(&format!("blobs/{}", digest(b"a layer"))).await.status(), 404);
    assert_eq!(owner.head(&format!("manifests/{image}")).await.status(), 404);
    owner.image(&path.version.to_string(), "a layer").await;
    assert_eq!(owner.get(&format!("blobs/{}", digest(b"a layer"))).await.status(), 200);
    assert_eq!(owner.get(&format!("manifests/{}", path.version)).await.status(), 200);
}
