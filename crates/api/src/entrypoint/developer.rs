//! Requests and endpoints of developers.

pub use super::{
    CreateTokenRequest, CreateTokenResponse, CreatedResponse, DeletedResponse, Empty,
    support::{
        CreateProjectAliasRequest, CreateProjectRequest, CreateProjectResponse, CreateStageAliasRequest,
        CreateStageRequest, CreateStageResponse, DeleteProjectRequest, DeleteStageRequest,
    },
};
use crate::{
    ClientId, DeploymentId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, Ref, StageId, TenantId,
    TicketId, Validate, VersionId,
    config::{DeploymentConfig, VersionConfig},
    details::{
        DeploymentDetails, MatchDetails, Project, ProjectDetails, StageDetails, TenantDetails, TicketDetails,
        VersionDetails,
    },
    validate::{MOST_PER_PAGE, invalid, within},
};

endpoints! {
    ($) developer_endpoints developer Developer;

    /// Fetches a token for a developer.
    ///
    /// The token is good for one hour.
    password "create-token" create_token CreateToken (CreateTokenRequest) -> CreateTokenResponse {
        errors: ["auth.credentials"],
        request: { "user": "anna", "password": "hV0pWb2nIpoD1R7eJ5fVdM2yS0xk4uQa" },
        response: { "raw_token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl" },
    }
    /// Shows a tenant with its permissions and projects.
    bearer "get-tenant-details" get_tenant_details GetTenantDetails
    (GetTenantDetailsRequest) -> GetTenantDetailsResponse {
        permission: tenant TENANT_VIEWER,
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio" },
        response: {
            "details": {
                "tenant": {
                    "id": "246000000000000001", "created": "2025-01-25T10:00:00Z",
                    "aliases": [
                        {
                            "id": "246000000000000005", "created": "2025-01-25T10:00:00Z",
                            "qualifier": "TENANT", "entity_id": "246000000000000001", "value": "my-studio"
                        }
                    ]
                },
                "permissions": [
                    {
                        "id": "246000000000000006", "tenant_id": "246000000000000001",
                        "created": "2025-01-25T10:00:00Z", "user_id": "246000000000000004",
                        "permission": "TENANT_VIEWER"
                    }
                ],
                "projects": [
                    {
                        "id": "246000000000000002", "tenant_id": "246000000000000001",
                        "created": "2025-01-25T10:00:00Z", "aliases": []
                    }
                ]
            }
        },
    }
    /// Lists the projects of a tenant, page by page.
    ///
    /// The order is that of the ids. The next page is the same request with `after` as `next` says.
    bearer "list-projects" list_projects ListProjects (ListProjectsRequest) -> ListProjectsResponse {
        permission: tenant TENANT_VIEWER,
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio", "page_size": 2, "after": "246000000000000001" },
        response: {
            "projects": [
                {
                    "id": "246000000000000002", "tenant_id": "246000000000000001",
                    "created": "2025-01-25T10:00:00Z", "aliases": []
                }
            ],
            "next": null
        },
    }
    /// Creates a project with a first stage.
    ///
    /// The developer gets STAGE_MANAGER, VERSION_MANAGER and PROJECT_VIEWER on the project, and
    /// DEPLOYMENT_MANAGER on the stage.
    bearer "create-project" create_project CreateProject (CreateProjectRequest) -> CreateProjectResponse {
        permission: tenant PROJECT_MANAGER,
        errors: ["tenants.not_found", "projects.parent_not_found", "core.no_ids"],
        request: { "tenant": "my-studio" },
        response: { "project_id": "246000000000000002", "stage_id": "246000000000000003" },
    }
    /// Gives a project an alias.
    bearer "create-project-alias" create_project_alias CreateProjectAlias
    (CreateProjectAliasRequest) -> CreatedResponse {
        permission: tenant PROJECT_MANAGER,
        errors: ["tenants.not_found", "projects.not_found", "projects.alias_taken", "core.no_ids"],
        request: { "tenant": "my-studio", "project_id": "246000000000000002", "alias": "my-game" },
        response: { "created": true },
    }
    /// Shows a project with its permissions, stages and versions.
    bearer "get-project-details" get_project_details GetProjectDetails
    (GetProjectDetailsRequest) -> GetProjectDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "projects.not_found"],
        request: { "tenant": "my-studio", "project": "my-game" },
        response: {
            "details": {
                "project": {
                    "id": "246000000000000002", "tenant_id": "246000000000000001",
                    "created": "2025-01-25T10:00:00Z", "aliases": []
                },
                "permissions": [
                    {
                        "id": "246000000000000006", "tenant_id": "246000000000000001",
                        "project_id": "246000000000000002", "created": "2025-01-25T10:00:00Z",
                        "user_id": "246000000000000004", "permission": "VERSION_MANAGER"
                    }
                ],
                "stages": [
                    {
                        "id": "246000000000000003", "tenant_id": "246000000000000001",
                        "project_id": "246000000000000002", "created": "2025-01-25T10:00:00Z", "aliases": []
                    }
                ],
                "versions": [
                    {
                        "id": "246000000000000007", "created": "2025-01-25T10:00:00Z",
                        "project_id": "246000000000000002"
                    }
                ]
            }
        },
    }
    /// Deletes a project and everything in it.
    bearer "delete-project" delete_project DeleteProject (DeleteProjectRequest) -> DeletedResponse {
        permission: tenant PROJECT_MANAGER,
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio", "project": "my-game" },
        response: { "deleted": true },
    }
    /// Creates a stage.
    bearer "create-stage" create_stage CreateStage (CreateStageRequest) -> CreateStageResponse {
        permission: project STAGE_MANAGER,
        errors: ["tenants.not_found", "projects.not_found", "projects.parent_not_found", "core.no_ids"],
        request: { "tenant": "my-studio", "project": "my-game" },
        response: { "stage_id": "246000000000000003" },
    }
    /// Gives a stage an alias.
    bearer "create-stage-alias" create_stage_alias CreateStageAlias
    (CreateStageAliasRequest) -> CreatedResponse {
        permission: project STAGE_MANAGER,
        errors: ["tenants.not_found", "projects.stage_not_found", "projects.alias_taken", "core.no_ids"],
        request: { "tenant": "my-studio", "stage_id": "246000000000000003", "alias": "production" },
        response: { "created": true },
    }
    /// Shows a stage with its permissions and deployments.
    bearer "get-stage-details" get_stage_details GetStageDetails
    (GetStageDetailsRequest) -> GetStageDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "projects.not_found", "projects.stage_not_found"],
        request: { "tenant": "my-studio", "project": "my-game", "stage": "production" },
        response: {
            "details": {
                "stage": {
                    "id": "246000000000000003", "tenant_id": "246000000000000001",
                    "project_id": "246000000000000002", "created": "2025-01-25T10:00:00Z", "aliases": []
                },
                "permissions": [],
                "deployments": [
                    {
                        "id": "246000000000000008", "tenant_id": "246000000000000001",
                        "stage_id": "246000000000000003", "version_id": "246000000000000007",
                        "created": "2025-01-25T10:00:00Z"
                    }
                ]
            }
        },
    }
    /// Deletes a stage and everything in it.
    bearer "delete-stage" delete_stage DeleteStage (DeleteStageRequest) -> DeletedResponse {
        permission: project STAGE_MANAGER,
        errors: ["tenants.not_found", "projects.not_found"],
        request: { "tenant": "my-studio", "project": "my-game", "stage": "production" },
        response: { "deleted": true },
    }
    /// Creates a version.
    ///
    /// Its id is the tag to push images with.
    bearer "create-version" create_version CreateVersion (CreateVersionRequest) -> CreateVersionResponse {
        permission: project VERSION_MANAGER,
        errors: ["tenants.not_found", "projects.not_found", "core.no_ids"],
        request: {
            "tenant": "my-studio", "project": "my-game",
            "config": {
                "modes": [
                    {
                        "name": "duel", "min_players": 2, "max_players": 2,
                        "groups": [{ "name": "all", "min_players": 2, "max_players": 2 }]
                    }
                ],
                "user_data": { "map": "island" }
            }
        },
        response: { "version_id": "246000000000000007" },
    }
    /// Shows a version with its images.
    bearer "get-version-details" get_version_details GetVersionDetails
    (GetVersionDetailsRequest) -> GetVersionDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "versions.not_found"],
        request: { "tenant": "my-studio", "version_id": "246000000000000007" },
        response: {
            "details": {
                "version": {
                    "id": "246000000000000007", "tenant_id": "246000000000000001",
                    "project_id": "246000000000000002", "created": "2025-01-25T10:00:00Z"
                },
                "build_requests": [],
                "images": [
                    {
                        "id": "246000000000000009", "tenant_id": "246000000000000001",
                        "version_id": "246000000000000007", "created": "2025-01-25T10:00:00Z",
                        "qualifier": "UNIVERSAL",
                        "image_id": "omgservers/246000000000000001/246000000000000002/universal:246000000000000007",
                        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
                    }
                ]
            }
        },
    }
    /// Deletes a version.
    bearer "delete-version" delete_version DeleteVersion (DeleteVersionRequest) -> DeletedResponse {
        permission: project VERSION_MANAGER,
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio", "id": "246000000000000007" },
        response: { "deleted": true },
    }
    /// Deploys a version: new sessions of the stage play this one from then on.
    bearer "deploy-version" deploy_version DeployVersion (DeployVersionRequest) -> DeployVersionResponse {
        permission: stage DEPLOYMENT_MANAGER,
        errors: [
            "tenants.not_found", "projects.not_found", "projects.stage_not_found", "versions.not_found",
            "deployments.no_image", "deployments.foreign_version", "core.no_ids",
        ],
        request: {
            "tenant": "my-studio", "project": "my-game", "stage": "production",
            "version_id": "246000000000000007", "config": { "min_lobbies": 1 }
        },
        response: { "deployment_id": "246000000000000008" },
    }
    /// Deploys a version, under the later name of `deploy-version`.
    bearer "create-deployment" create_deployment CreateDeployment
    (DeployVersionRequest) -> DeployVersionResponse {
        permission: stage DEPLOYMENT_MANAGER,
        errors: [
            "tenants.not_found", "projects.not_found", "projects.stage_not_found", "versions.not_found",
            "deployments.no_image", "deployments.foreign_version", "core.no_ids",
        ],
        request: {
            "tenant": "my-studio", "project": "my-game", "stage": "production",
            "version_id": "246000000000000007"
        },
        response: { "deployment_id": "246000000000000008" },
    }
    /// Shows a deployment with its game servers and what became of their containers.
    bearer "get-deployment-details" get_deployment_details GetDeploymentDetails
    (GetDeploymentDetailsRequest) -> GetDeploymentDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "deployments.not_found"],
        request: { "tenant": "my-studio", "deployment_id": "246000000000000008" },
        response: {
            "details": {
                "deployment": {
                    "id": "246000000000000008", "tenant_id": "246000000000000001",
                    "stage_id": "246000000000000003", "version_id": "246000000000000007",
                    "created": "2025-01-25T10:00:00Z"
                },
                "lobby_refs": [
                    {
                        "id": "246000000000000060", "created": "2025-01-25T10:00:00Z",
                        "lobby_id": "246000000000000060"
                    }
                ],
                "matchmaker_refs": [], "match_refs": [], "waiting_tickets": 0, "active": true,
                "config": {
                    "min_lobbies": 1, "max_lobbies": 2147483647,
                    "lobby": { "max_assignments": 128, "min_lifetime": 0, "cpu_limit": 0, "memory_limit": 0 },
                    "match": { "cpu_limit": 0, "memory_limit": 0 },
                    "delivery": "durable"
                },
                "runtimes": [
                    {
                        "id": "246000000000000050", "qualifier": "LOBBY", "state": "running",
                        "created": "2025-01-25T10:00:00Z", "started": "2025-01-25T10:00:01Z",
                        "clients": 3, "failures": 0, "last_failure": null
                    }
                ],
                "waiting_clients": 0, "failures": []
            }
        },
    }
    /// Deletes a deployment.
    bearer "delete-deployment" delete_deployment DeleteDeployment
    (DeleteDeploymentRequest) -> DeletedResponse {
        permission: stage DEPLOYMENT_MANAGER,
        errors: ["tenants.not_found"],
        request: { "tenant": "my-studio", "id": "246000000000000008" },
        response: { "deleted": true },
    }
    /// Requests one more lobby.
    bearer "create-lobby-request" create_lobby_request CreateLobbyRequest (DeploymentRequest) -> Empty {
        permission: stage DEPLOYMENT_MANAGER,
        errors: ["tenants.not_found", "deployments.not_found", "core.no_ids"],
        request: { "tenant": "my-studio", "deployment_id": "246000000000000008" },
        response: {},
    }
    /// Deletes a lobby.
    bearer "delete-lobby" delete_lobby DeleteLobby (DeleteLobbyRequest) -> DeletedResponse {
        permission: stage DEPLOYMENT_MANAGER,
        errors: [],
        request: { "lobby_id": "246000000000000060" },
        response: { "deleted": true },
    }
    /// Requests one more matchmaker.
    bearer "create-matchmaker-request" create_matchmaker_request CreateMatchmakerRequest
    (DeploymentRequest) -> Empty {
        permission: stage DEPLOYMENT_MANAGER,
        errors: ["tenants.not_found", "deployments.not_found", "core.no_ids"],
        request: { "tenant": "my-studio", "deployment_id": "246000000000000008" },
        response: {},
    }
    /// Deletes a matchmaker.
    bearer "delete-matchmaker" delete_matchmaker DeleteMatchmaker
    (DeleteMatchmakerRequest) -> DeletedResponse {
        permission: stage DEPLOYMENT_MANAGER,
        errors: [],
        request: { "matchmaker_id": "246000000000000070" },
        response: { "deleted": true },
    }
    /// Shows a ticket, and why it isn't matched yet; by its id or by one of its clients.
    bearer "get-ticket-details" get_ticket_details GetTicketDetails
    (GetTicketDetailsRequest) -> GetTicketDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "deployments.not_found", "matchmaking.no_ticket"],
        request: {
            "tenant": "my-studio", "deployment_id": "246000000000000008",
            "client_id": "246000000000000020"
        },
        response: {
            "details": {
                "id": "246000000000000040", "mode": "duel", "clients": ["246000000000000020"],
                "attributes": { "mmr": 1500.0, "region": "eu" },
                "created": "2025-01-25T10:00:00Z", "state": "waiting", "match_id": null,
                "explanation": { "needs": "one more player" }
            }
        },
    }
    /// Shows a match, and why its players are together.
    bearer "get-match-details" get_match_details GetMatchDetails
    (GetMatchDetailsRequest) -> GetMatchDetailsResponse {
        permission: project PROJECT_VIEWER,
        errors: ["tenants.not_found", "deployments.not_found", "matchmaking.no_match"],
        request: {
            "tenant": "my-studio", "deployment_id": "246000000000000008",
            "match_id": "246000000000000080"
        },
        response: {
            "details": {
                "id": "246000000000000080", "matchmaker_id": "246000000000000070", "mode": "duel",
                "runtime_id": "246000000000000051", "state": "open", "created": "2025-01-25T10:00:00Z",
                "players": [
                    {
                        "client_id": "246000000000000020", "ticket_id": "246000000000000040",
                        "group_name": "all", "joined": true
                    }
                ],
                "rationale": []
            }
        },
    }
}

requests! {
    /// A page of the projects of a tenant.
    ListProjectsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// Projects per page, 1 to 100; 50 if absent.
        #[serde(default)] page_size: Option<u32>,
        /// The last project of the page before; absent for the first page.
        #[serde(default)] after: Option<ProjectId>,
    }
    /// A tenant to look at.
    GetTenantDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
    }
    /// A project to look at.
    GetProjectDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
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
    /// A new version.
    CreateVersionRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The project.
        project: Ref<ProjectId>,
        /// What it is made of.
        config: VersionConfig,
    }
    /// A version to look at.
    GetVersionDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The version.
        #[serde(alias = "id")] version_id: VersionId,
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
    /// A deployment to look at.
    GetDeploymentDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        #[serde(alias = "id")] deployment_id: DeploymentId,
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
    /// A match to look at.
    GetMatchDetailsRequest {
        /// The tenant.
        tenant: Ref<TenantId>,
        /// The deployment.
        deployment_id: DeploymentId,
        /// The match.
        #[serde(alias = "id")] match_id: MatchId,
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

wire! {
    /// A page of projects.
    ListProjectsResponse {
        /// The projects.
        projects: Vec<Project>,
        /// The `after` of the next page; null on the last one.
        next: Option<ProjectId>,
    }
    /// The tenant.
    GetTenantDetailsResponse {
        /// Everything of it.
        details: TenantDetails,
    }
    /// The project.
    GetProjectDetailsResponse {
        /// Everything of it.
        details: ProjectDetails,
    }
    /// The stage.
    GetStageDetailsResponse {
        /// Everything of it.
        details: StageDetails,
    }
    /// The new version.
    CreateVersionResponse {
        /// Its id: the tag to push images with.
        version_id: VersionId,
    }
    /// The version.
    GetVersionDetailsResponse {
        /// Everything of it.
        details: VersionDetails,
    }
    /// The new deployment.
    DeployVersionResponse {
        /// Its id.
        deployment_id: DeploymentId,
    }
    /// The deployment.
    GetDeploymentDetailsResponse {
        /// Everything of it.
        details: DeploymentDetails,
    }
    /// The ticket.
    GetTicketDetailsResponse {
        /// Everything of it.
        details: TicketDetails,
    }
    /// The match.
    GetMatchDetailsResponse {
        /// Everything of it.
        details: MatchDetails,
    }
}

impl Validate for GetTenantDetailsRequest {}
impl Validate for ListProjectsRequest {
    fn validate(&self) -> Result<(), Problem> {
        within("page_size", self.page_size.unwrap_or(1), 1, MOST_PER_PAGE)
    }
}
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
