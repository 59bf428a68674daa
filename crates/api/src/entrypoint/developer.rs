//! What a developer asks. Projects, stages and their aliases are made with the requests of
//! [`support`](super::support).

use crate::{
    ClientId, DeploymentId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, StageId, TenantId,
    TicketId, Validate, VersionId,
    config::{DeploymentConfig, VersionConfig},
    details::{
        DeploymentDetails, MatchDetails, ProjectDetails, StageDetails, TenantDetails, TicketDetails,
        VersionDetails,
    },
    validate::invalid,
};

wire! {
    /// A tenant to look at.
    GetTenantDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
    }
    /// The tenant.
    GetTenantDetailsResponse {
        /// Everything of it.
        details: TenantDetails,
    }
    /// A project to look at.
    GetProjectDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
    }
    /// The project.
    GetProjectDetailsResponse {
        /// Everything of it.
        details: ProjectDetails,
    }
    /// A stage to look at.
    GetStageDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
    }
    /// The stage.
    GetStageDetailsResponse {
        /// Everything of it.
        details: StageDetails,
    }
    /// A new version.
    CreateVersionRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// What it is made of.
        config: VersionConfig,
    }
    /// The new version.
    CreateVersionResponse {
        /// Its id: the tag to push images with.
        version_id: VersionId,
    }
    /// A version to look at.
    GetVersionDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The version.
        #[serde(alias = "id")] version_id: VersionId,
    }
    /// The version.
    GetVersionDetailsResponse {
        /// Everything of it.
        details: VersionDetails,
    }
    /// A version to delete.
    DeleteVersionRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The version.
        #[serde(alias = "version_id", alias = "tenantVersionId")] id: VersionId,
    }
    /// A version to deploy.
    DeployVersionRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// The stage.
        stage: Ref<StageId>,
        /// The version.
        #[serde(alias = "id", alias = "tenantVersionId")] version_id: VersionId,
        /// How to run it, instead of what the version says.
        #[serde(default)] config: Option<DeploymentConfig>,
    }
    /// The new deployment.
    DeployVersionResponse {
        /// Its id.
        deployment_id: DeploymentId,
    }
    /// A deployment to look at.
    GetDeploymentDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        #[serde(alias = "id")] deployment_id: DeploymentId,
    }
    /// The deployment.
    GetDeploymentDetailsResponse {
        /// Everything of it.
        details: DeploymentDetails,
    }
    /// A deployment to delete.
    DeleteDeploymentRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        #[serde(alias = "deployment_id")] id: DeploymentId,
    }
    /// A deployment that gets one more lobby or matchmaker.
    DeploymentRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        #[serde(alias = "id")] deployment_id: DeploymentId,
    }
    /// A ticket to look at, by its id or by one of its clients.
    GetTicketDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        deployment_id: DeploymentId,
        /// The ticket.
        #[serde(default)] ticket_id: Option<TicketId>,
        /// One of its clients.
        #[serde(default)] client_id: Option<ClientId>,
    }
    /// The ticket.
    GetTicketDetailsResponse {
        /// Everything of it.
        details: TicketDetails,
    }
    /// A match to look at.
    GetMatchDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        deployment_id: DeploymentId,
        /// The match.
        #[serde(alias = "id")] match_id: MatchId,
    }
    /// The match.
    GetMatchDetailsResponse {
        /// Everything of it.
        details: MatchDetails,
    }
    /// A lobby to delete.
    DeleteLobbyRequest {
        /// The lobby.
        #[serde(alias = "id")] lobby_id: LobbyId,
    }
    /// A matchmaker to delete.
    DeleteMatchmakerRequest {
        /// The matchmaker.
        #[serde(alias = "id")] matchmaker_id: MatchmakerId,
    }
}

impl Validate for GetTenantDetailsRequest {}
impl Validate for GetProjectDetailsRequest {}
impl Validate for GetStageDetailsRequest {}
impl Validate for GetVersionDetailsRequest {}
impl Validate for DeleteVersionRequest {}
impl Validate for GetDeploymentDetailsRequest {}
impl Validate for DeleteDeploymentRequest {}
impl Validate for DeploymentRequest {}
impl Validate for GetMatchDetailsRequest {}
impl Validate for GetTicketDetailsRequest {
    fn validate(&self) -> Result<(), Problem> {
        if self.ticket_id.is_some() == self.client_id.is_some() {
            return Err(invalid("ticket_id", "or `client_id` must be given, one of them"));
        }
        Ok(())
    }
}
impl Validate for DeleteLobbyRequest {}
impl Validate for DeleteMatchmakerRequest {}
impl Validate for CreateVersionRequest {
    fn validate(&self) -> Result<(), Problem> {
        self.config.validate()
    }
}
impl Validate for DeployVersionRequest {
    fn validate(&self) -> Result<(), Problem> {
        self.config.as_ref().map_or(Ok(()), |it| it.check("config"))
    }
}
