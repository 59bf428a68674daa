//! Manifests and tags of a repository: put, get, delete, list.

use bytes::Bytes;
use omgservers_api::{Kind, Problem};
use omgservers_core::context::inherit;
use omgservers_versions::Repository;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use crate::{
    Algorithm, Digest, OCI_INDEX, Registry, problems,
    rules::{
        manifest::{self, MOST_MANIFEST_BYTES, Manifest},
        name,
    },
    store::{self, ManifestRow},
    worker,
};

/// Most tags and most referrers of one answer.
const MOST_LISTED: usize = 1000;

/// A manifest that was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// Its digest.
    pub digest: Digest,
    /// The manifest that it says something about.
    pub subject: Option<Digest>,
}

/// A manifest as it was put.
#[derive(Debug, Clone)]
pub struct StoredManifest {
    /// Its digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub content: Bytes,
}

/// A page of tags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// Sorted by bytes.
    pub tags: Vec<String>,
    /// Whether there are more behind the last one.
    pub more: bool,
}

/// A page of referrers.
#[derive(Debug, Clone)]
pub struct Referrers {
    /// An OCI index of them.
    pub index: Value,
    /// The last digest, if there are more behind it.
    pub more: Option<String>,
}

impl Registry {
    /// Takes a manifest under a tag, under its digest, or both at once. A tag of digits is the id
    /// of a version. The version gets the image before the tag is there, so another push heals a
    /// failure in between. Other tags are taken and mean nothing to versions. It is
    /// cancel-safe: it completes when its caller goes away. Problems: `registry.manifest_invalid`,
    /// also when the version doesn't take the image; `registry.denied`, `registry.digest_invalid`,
    /// `registry.manifest_blob_unknown`, `registry.too_large`.
    pub async fn put_manifest(
        &self,
        repository: &Repository,
        reference: &str,
        content_type: Option<&str>,
        content: Bytes,
    ) -> Result<Accepted, Problem> {
        let (tag, digest) = match reference.parse::<Digest>() {
            Ok(digest) if digest.algorithm().of(&content) != digest => {
                return Err(problems::DIGEST_INVALID.into());
            }
            Ok(digest) => (None, digest),
            Err(_) if name::is_tag(reference) => (Some(reference.to_owned()), Algorithm::Sha256.of(&content)),
            Err(problem) if reference.contains(':') => return Err(problem),
            Err(_) => return Err(problems::MANIFEST_INVALID.detail(format!("{reference:?} isn't a tag"))),
        };
        let read = manifest::parse(content_type, &content)?;
        let (registry, repository) = (self.clone(), *repository);
        // A task of its own: a client that disconnects can't leave a manifest without its tag.
        let keep = async move {
            let subject = read.subject.clone();
            registry.keep_manifest(&repository, &digest, read, &content).await?;
            if let Some(tag) = tag {
                registry.tag(&repository, &tag, &digest).await?;
            }
            Ok(Accepted { digest, subject })
        };
        tokio::spawn(inherit(keep)).await.map_err(Problem::internal)?
    }

    async fn keep_manifest(
        &self,
        repository: &Repository,
        digest: &Digest,
        read: Manifest,
        content: &Bytes,
    ) -> Result<(), Problem> {
        let inner = &self.inner;
        let now = inner.clock.now();
        let (blobs, manifests) = (texts(&read.blobs), texts(&read.manifests));
        let row = ManifestRow {
            tenant_id: repository.tenant,
            project_id: repository.project,
            kind: repository.qualifier,
            digest: digest.to_string(),
            media_type: read.media_type,
            size: i64::try_from(content.len()).map_err(Problem::internal)?,
            subject: read.subject.map(|it| it.to_string()),
            artifact_type: read.artifact_type,
            annotations: read.annotations.map(|it| json!(it)),
            touched: now,
        };
        inner
            .db
            .write(async |conn| {
                store::ensure_repository(conn, repository, now).await?;
                let known = store::touch_links(conn, repository, &blobs, now).await?;
                all_known(&read.blobs, &known)?;
                let known = store::touch_manifests(conn, repository, &manifests, now).await?;
                all_known(&read.manifests, &known)?;
                store::hold_bytes(conn, digest).await?;
                let targets: Vec<String> = blobs.iter().chain(&manifests).cloned().collect();
                store::put_manifest(conn, &row, &targets).await?;
                inner.disk.write_blob(digest, content).await
            })
            .await
    }

    async fn tag(&self, repository: &Repository, tag: &str, digest: &Digest) -> Result<(), Problem> {
        let inner = &self.inner;
        let _one_at_a_time = inner.lock_tag(repository, tag).await;
        let (now, names) = (inner.clock.now(), [digest.to_string()]);
        let [text] = &names;
        if name::names_version(tag) {
            let attached = inner.versions.attach_image(&repository.to_string(), tag, text).await;
            attached.map_err(|it| refused(tag, it))?;
        }
        inner
            .db
            .write(async |conn| {
                if store::touch_manifests(conn, repository, &names, now).await?.is_empty() {
                    return Err(problems::MANIFEST_UNKNOWN.into());
                }
                store::put_tag(conn, repository, tag, text, now).await
            })
            .await?;
        tracing::info!(%repository, tag, %digest, "an image was pushed");
        Ok(())
    }

    /// The manifest of a tag or a digest. Problems: `registry.manifest_unknown`.
    pub async fn manifest(
        &self,
        repository: &Repository,
        reference: &str,
    ) -> Result<StoredManifest, Problem> {
        let inner = &self.inner;
        let (row, now) = (self.find_row(repository, reference).await?, inner.clock.now());
        if worker::wants_touch(row.touched, now) {
            let names = [row.digest.clone()];
            inner.db.write(async |conn| store::touch_manifests(conn, repository, &names, now).await).await?;
        }
        let digest: Digest = row.digest.parse()?;
        let Some(file) = inner.disk.open_blob(&digest).await? else {
            tracing::error!(%digest, "the file of a manifest is gone");
            return Err(problems::MANIFEST_UNKNOWN.into());
        };
        let mut content = Vec::new();
        let most = u64::try_from(MOST_MANIFEST_BYTES).unwrap_or(u64::MAX);
        file.take(most).read_to_end(&mut content).await.map_err(Problem::internal)?;
        Ok(StoredManifest { digest, media_type: row.media_type, content: content.into() })
    }

    async fn find_row(&self, repository: &Repository, reference: &str) -> Result<ManifestRow, Problem> {
        let unknown =
            || problems::MANIFEST_UNKNOWN.detail(format!("{repository} has no manifest {reference:?}"));
        let mut conn = self.inner.db.read().await?;
        let digest = match reference.parse::<Digest>() {
            Ok(digest) => Some(digest.to_string()),
            Err(problem) if reference.contains(':') => return Err(problem),
            Err(_) if name::is_tag(reference) => store::find_tag(&mut conn, repository, reference).await?,
            Err(_) => None,
        };
        let digest = digest.ok_or_else(unknown)?;
        store::find_manifest(&mut conn, repository, &digest).await?.ok_or_else(unknown)
    }

    /// Deletes a tag, or a manifest with its tags. Problems: `registry.manifest_unknown`;
    /// `registry.denied` for a manifest that a deployment runs.
    pub async fn delete_manifest(&self, repository: &Repository, reference: &str) -> Result<(), Problem> {
        let inner = &self.inner;
        let unknown = || problems::MANIFEST_UNKNOWN.detail(format!("{repository} has no {reference:?}"));
        if name::is_tag(reference) {
            let deleted =
                inner.db.write(async |conn| store::delete_tag(conn, repository, reference).await).await?;
            return if deleted { Ok(()) } else { Err(unknown()) };
        }
        let name = reference.parse::<Digest>()?.to_string();
        if inner.deployments.pinned_digests().await?.contains(&name) {
            return Err(problems::DENIED.detail("a deployment runs this image; delete the deployment first"));
        }
        let now = inner.clock.now();
        let deleted =
            inner.db.write(async |conn| store::delete_manifest(conn, repository, &name, now).await).await?;
        if deleted { Ok(()) } else { Err(unknown()) }
    }

    /// The tags of a repository behind `last`, at most `count` and at most 1000. Problems:
    /// `registry.name_unknown`, `registry.parameter_invalid` when `last` is no tag.
    pub async fn tags(
        &self,
        repository: &Repository,
        count: Option<usize>,
        last: Option<&str>,
    ) -> Result<Tags, Problem> {
        let last = last.unwrap_or_default();
        if !last.is_empty() && !name::is_tag(last) {
            return Err(problems::PARAMETER_INVALID.detail("`last` must be a tag"));
        }
        let mut conn = self.inner.db.read().await?;
        if !store::repository_exists(&mut conn, repository).await? {
            return Err(problems::NAME_UNKNOWN.detail(format!("nothing was pushed to {repository} yet")));
        }
        let count = count.unwrap_or(MOST_LISTED).min(MOST_LISTED);
        let tags = store::tags(&mut conn, repository, last, limit(count)).await?;
        // To ask for none is no start of a walk.
        let (tags, more) = page(tags, count);
        Ok(Tags { more: more && count > 0, tags })
    }

    /// The manifests that say something about another one, which needn't be there: those behind the
    /// digest `last`, at most 1000. Problems: `registry.parameter_invalid` for a `last` that is no
    /// digest and an `artifact_type` that is no media type.
    pub async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
        artifact_type: Option<&str>,
        last: Option<&str>,
    ) -> Result<Referrers, Problem> {
        let (subject, last) = (subject.to_string(), last.unwrap_or_default());
        if !last.is_empty() && last.parse::<Digest>().is_err() {
            return Err(problems::PARAMETER_INVALID.detail("`last` must be a digest"));
        }
        if artifact_type.is_some_and(|it| !manifest::is_media_type(it)) {
            return Err(problems::PARAMETER_INVALID.detail("`artifactType` must be a media type"));
        }
        let mut conn = self.inner.db.read().await?;
        let most = limit(MOST_LISTED);
        let rows = store::referrers(&mut conn, repository, &subject, artifact_type, last, most).await?;
        let (rows, more) = page(rows, MOST_LISTED);
        let more = rows.last().filter(|_| more).map(|it| it.digest.clone());
        let manifests: Vec<Referrer> = rows.into_iter().map(Referrer::from).collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        Ok(Referrers { index, more })
    }
}

/// A referrer in an index.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Referrer {
    media_type: String,
    digest: String,
    size: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    annotations: Option<Value>,
}

impl From<ManifestRow> for Referrer {
    fn from(ManifestRow { media_type, digest, size, artifact_type, annotations, .. }: ManifestRow) -> Self {
        Self { media_type, digest, size, artifact_type, annotations }
    }
}

/// One more than asked for tells whether there are more.
fn limit(count: usize) -> i64 {
    i64::try_from(count.saturating_add(1)).unwrap_or(i64::MAX)
}

fn page<T>(mut rows: Vec<T>, count: usize) -> (Vec<T>, bool) {
    let more = rows.len() > count;
    rows.truncate(count);
    (rows, more)
}

fn texts(parts: &[(Digest, u64)]) -> Vec<String> {
    let mut texts: Vec<String> = parts.iter().map(|it| it.0.to_string()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

fn all_known(parts: &[(Digest, u64)], known: &std::collections::HashMap<String, i64>) -> Result<(), Problem> {
    for (digest, size) in parts {
        let Some(found) = known.get(&digest.to_string()) else {
            return Err(
                problems::MANIFEST_BLOB_UNKNOWN.detail(format!("the repository doesn't have {digest}"))
            );
        };
        if u64::try_from(*found).ok() != Some(*size) {
            let reason = format!("{digest} has {found} bytes, not {size}");
            return Err(problems::MANIFEST_INVALID.detail(reason));
        }
    }
    Ok(())
}

/// What the developer reads who pushed.
fn refused(tag: &str, problem: Problem) -> Problem {
    let code = match problem.kind() {
        Kind::Internal | Kind::Unavailable => return problem,
        Kind::Forbidden => problems::DENIED,
        _ => problems::MANIFEST_INVALID,
    };
    let reason = problem.sentence().to_owned();
    let rule = "a tag of digits must be the id of a version of this project";
    code.detail(format!("{rule}, and {tag:?} isn't: {reason}")).because(problem)
}
