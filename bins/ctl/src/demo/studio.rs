//! What a studio does before its first player: a tenant, a developer, a project, a version, a
//! deployment.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use omgservers_client::{
    Client, Developer, Support,
    api::{
        DeploymentId, Kind, Problem, ProjectId, StageId, TenantId, TenantPermission, UserId, VersionId,
        config::VersionConfig,
        details::ContainerFailure,
        entrypoint::{developer, support},
    },
};

use super::{backend::FirstPasswords, steps::Steps};

/// A studio with a version to push an image for.
pub(crate) struct Studio {
    pub(crate) alias: String,
    pub(crate) tenant: TenantId,
    pub(crate) project: ProjectId,
    pub(crate) stage: StageId,
    pub(crate) version: VersionId,
    pub(crate) developer_user: UserId,
    pub(crate) developer_password: String,
    pub(crate) support_token: String,
    pub(crate) developer_token: String,
    developer: Developer,
}

impl Studio {
    /// Founds it.
    pub(crate) async fn found(
        client: &Client,
        credentials: &FirstPasswords,
        steps: &mut Steps,
    ) -> anyhow::Result<Self> {
        let support_token = steps
            .step("Support signs in", async {
                Support::create_token(client, "support", &credentials.support)
                    .await
                    .context("the user support can't sign in")
            })
            .await?;
        let support = client.support(&support_token);
        let (tenant, alias) = steps.step("Support makes a tenant with an alias", tenant(&support)).await?;
        steps.note(&format!("tenant {tenant}, alias {alias}"))?;
        let made =
            steps.step("Support makes a developer with permissions", developer(&support, tenant)).await?;
        let developer_token = steps
            .step("The developer signs in", async {
                Ok(Developer::create_token(client, made.user_id, &made.password).await?)
            })
            .await?;
        let developer = client.developer(&developer_token);
        let (project, stage) =
            steps.step("The developer makes a project with a stage", project(&developer, tenant)).await?;
        steps.note(&format!("project {project} (game), stage {stage} (main)"))?;
        let version = steps
            .step("The developer makes a version with two modes", version(&developer, tenant, project))
            .await?;
        Ok(Self {
            alias,
            tenant,
            project,
            stage,
            version,
            developer_user: made.user_id,
            developer_password: made.password,
            support_token,
            developer_token,
            developer,
        })
    }

    /// Deploys the version.
    pub(crate) async fn deploy(&self, steps: &mut Steps) -> anyhow::Result<DeploymentId> {
        let request = developer::DeployVersionRequest {
            tenant: self.tenant.into(),
            project: self.project.into(),
            stage: self.stage.into(),
            version_id: self.version,
            config: None,
        };
        let deploy = async { Ok(self.developer.deploy_version(&request).await?.deployment_id) };
        steps.step("The developer deploys the version", deploy).await
    }

    /// Tells what became of the deployment's containers.
    pub(crate) async fn note_failures(
        &self,
        deployment_id: DeploymentId,
        steps: &Steps,
    ) -> anyhow::Result<()> {
        let request = developer::GetDeploymentDetailsRequest { tenant: self.tenant.into(), deployment_id };
        let details = self.developer.get_deployment_details(&request).await?.details;
        for runtime in &details.runtimes {
            steps.note(&format!("{} {} is {}", runtime.qualifier, runtime.id, runtime.state))?;
        }
        let last = details.runtimes.iter().filter_map(|it| it.last_failure.as_ref());
        for ContainerFailure { reason, log_tail, .. } in last.chain(details.failures.first()) {
            steps.note(&format!("{reason}\n{log_tail}"))?;
        }
        Ok(())
    }
}

async fn tenant(support: &Support) -> anyhow::Result<(TenantId, String)> {
    let tenant_id = support.create_tenant().await?.id;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    for alias in ["demo".to_owned(), format!("demo-{seconds}")] {
        let request = support::CreateTenantAliasRequest { tenant_id, alias: alias.clone() };
        match support.create_tenant_alias(&request).await {
            Ok(_) => return Ok((tenant_id, alias)),
            Err(problem) if taken(&problem) => {}
            Err(problem) => return Err(problem.into()),
        }
    }
    // Two demonstrations in one second: the id is a name too.
    Ok((tenant_id, tenant_id.to_string()))
}

fn taken(problem: &Problem) -> bool {
    matches!(problem.kind(), Kind::Invalid | Kind::Conflict)
}

async fn developer(support: &Support, tenant: TenantId) -> anyhow::Result<support::CreateDeveloperResponse> {
    let made = support.create_developer().await?;
    support
        .create_tenant_permissions(&support::CreateTenantPermissionsRequest {
            tenant: tenant.into(),
            user: made.user_id.into(),
            permissions_to_create: TenantPermission::ALL.to_vec(),
        })
        .await?;
    Ok(made)
}

async fn project(developer: &Developer, tenant_id: TenantId) -> anyhow::Result<(ProjectId, StageId)> {
    let tenant = || tenant_id.into();
    let made = developer.create_project(&support::CreateProjectRequest { tenant: tenant() }).await?;
    let (project_id, stage_id) = (made.project_id, made.stage_id);
    let alias = "game".to_owned();
    developer
        .create_project_alias(&support::CreateProjectAliasRequest { tenant: tenant(), project_id, alias })
        .await?;
    let alias = "main".to_owned();
    developer
        .create_stage_alias(&support::CreateStageAliasRequest { tenant: tenant(), stage_id, alias })
        .await?;
    Ok((project_id, stage_id))
}

/// Two modes of the same game: players of the second one speak to their match by UDP. Its
/// containers are small: a lobby and matches fit on one core.
const CONFIG: &str = r#"{
    "modes": [
        {"name": "duel", "min_players": 2, "max_players": 2, "groups": [
            {"name": "red", "min_players": 1, "max_players": 1}, {"name": "blue", "min_players": 1, "max_players": 1}],
         "matchmaking": {"rules": [{"kind": "range", "name": "skill", "attribute": "skill", "default": 1500, "max_difference": 200}]}},
        {"name": "duel-udp", "min_players": 2, "max_players": 2, "groups": [
            {"name": "red", "min_players": 1, "max_players": 1}, {"name": "blue", "min_players": 1, "max_players": 1}],
         "matchmaking": {"rules": [{"kind": "range", "name": "skill", "attribute": "skill", "default": 1500, "max_difference": 200}]}}],
    "user_data": {"udp": ["duel-udp"]},
    "deployment": {
        "lobby": {"cpu_limit": 20, "memory_limit": 64},
        "match": {"cpu_limit": 20, "memory_limit": 64, "ports": [{"name": "game", "protocol": "UDP", "port": 7777}]}}
}"#;

async fn version(developer: &Developer, tenant: TenantId, project: ProjectId) -> anyhow::Result<VersionId> {
    let config: VersionConfig = serde_json::from_str(CONFIG)?;
    let request = developer::CreateVersionRequest { tenant: tenant.into(), project: project.into(), config };
    Ok(developer.create_version(&request).await?.version_id)
}
