use std::sync::Arc;

use chrono::{DateTime, Utc};
use omgservers_api::{
    Problem, ProjectId, RuntimeQualifier, TenantId, VersionId,
    config::VersionConfig,
    details::{Image, Version, VersionItem},
    roles::ImageQualifier,
};
use omgservers_core::{Caller, Existences};

/// Where runtimes of a deployment get their image from. Kept with the deployment, so that a later
/// push to the same tag changes nothing that runs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PinnedImage {
    /// Which runtimes it is for.
    pub qualifier: ImageQualifier,
    /// `omgservers/<tenant>/<project>/<kind>`, without host and tag.
    pub repository: String,
    /// `sha256:…` of the manifest.
    pub digest: String,
}

/// The image that a runtime of this kind runs: the universal one if there is one, else its own
/// kind's.
pub fn image_for(images: &[PinnedImage], qualifier: RuntimeQualifier) -> Option<&PinnedImage> {
    let own = match qualifier {
        RuntimeQualifier::Lobby => ImageQualifier::Lobby,
        RuntimeQualifier::Match => ImageQualifier::Match,
    };
    let of = |kind| images.iter().find(move |it| it.qualifier == kind);
    of(ImageQualifier::Universal).or_else(|| of(own))
}

/// A version with what runs of it.
#[derive(Debug, Clone)]
pub struct VersionFull {
    /// Its id.
    pub id: VersionId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its project.
    pub project_id: ProjectId,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// What it is made of.
    pub config: VersionConfig,
}

/// What other crates, the HTTP API and tools may ask of versions.
#[async_trait::async_trait]
pub trait Versions: Send + Sync {
    /// Makes a version. Needs the project's VERSION_MANAGER. Problems: `auth.permission`,
    /// `request.invalid`, `projects.not_found`.
    async fn create(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        config: &VersionConfig,
    ) -> Result<VersionId, Problem>;

    /// The version and its images. Problems: `auth.permission` without the project's
    /// PROJECT_VIEWER, `versions.not_found`.
    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        version: VersionId,
    ) -> Result<(Version, Vec<Image>), Problem>;

    /// The versions of a project, oldest first. PROJECT_VIEWER is checked by who calls.
    async fn of_project(&self, project: ProjectId) -> Result<Vec<VersionItem>, Problem>;

    /// Deletes a version of the tenant; its deployments follow. Needs the project's
    /// VERSION_MANAGER. `false` when there is none. Problems: `auth.permission`.
    async fn delete(&self, caller: &Caller, tenant: TenantId, version: VersionId) -> Result<bool, Problem>;

    /// A version as it was made; it never changes, so answers come from memory. Problems:
    /// `versions.not_found`.
    async fn config(&self, version: VersionId) -> Result<Arc<VersionFull>, Problem>;

    /// The images that the version has now.
    async fn images(&self, version: VersionId) -> Result<Vec<PinnedImage>, Problem>;

    /// Records that `repository:tag` is the manifest `digest`, in the step that accepts the
    /// manifest. The tag is the version's id, and the version must belong to the project that the
    /// repository names. A later push replaces the image of that kind; the same digest once more
    /// changes nothing. Problems: `versions.repository` (no repository of ours),
    /// `versions.not_found` (also when the tag is no id), `versions.foreign_project`,
    /// `request.invalid` (the digest).
    async fn attach_image(&self, repository: &str, tag: &str, digest: &str) -> Result<(), Problem>;

    /// Whether `ids` exist; what their owner can't tell is unknown. For the crates to the right,
    /// which hold ids of versions.
    async fn exist(&self, ids: &[VersionId]) -> Result<Existences<VersionId>, Problem>;
}
