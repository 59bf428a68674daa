//! The endpoints of administrators, support and developers: one method for each, one line for each method.

use std::fmt;

use omgservers_api::{
    Problem, Role,
    entrypoint::{CreatedResponse, DeletedResponse, Empty, admin, developer, support},
};

use crate::http::{Client, Token};

macro_rules! view {
    (
        $(#[$doc:meta])* $view:ident, $role:expr, $table:ident;
        $($(#[$mdoc:meta])* $method:ident($($request:ty)?) -> $answer:ty = $verb:literal;)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub struct $view {
            client: Client,
            token: Token,
        }

        impl $view {
            pub(crate) fn new(client: Client, token: &str) -> Self {
                Self { client, token: Token::new(token) }
            }

            /// A token for a user of this role, who is named by id or alias. It is for
            /// [`Client`]'s method that makes this view.
            pub async fn create_token(
                client: &Client,
                user: impl fmt::Display,
                password: &str,
            ) -> Result<String, Problem> {
                client.create_token($role, user, password).await
            }

            $(
                $(#[$mdoc])*
                pub async fn $method(&self $(, request: &$request)?) -> Result<$answer, Problem> {
                    let body = view!(@body $(request, $request)?);
                    self.client.call($role.as_str(), $verb, Some(self.token.as_str()), body).await
                }
            )*
        }

        /// Verbs of the endpoints that [`
        #[doc = stringify!($view)]
        /// `] calls.
        pub const $table: &[&str] = &["create-token", $($verb),*];
    };
    (@body) => { &Empty {} };
    (@body $request:ident, $type:ty) => { $request };
}

view! {
    /// What an administrator may ask; see [`Client::admin`].
    Admin, Role::Admin, ADMIN_VERBS;
    /// A fresh id.
    generate_id() -> admin::GenerateIdResponse = "generate-id";
    /// The bcrypt hash of a text.
    bcrypt_hash(admin::BcryptHashRequest) -> admin::BcryptHashResponse = "bcrypt-hash";
    /// Where a key lives.
    calculate_shard(admin::CalculateShardRequest) -> admin::CalculateShardResponse = "calculate-shard";
    /// Whether a Docker host of the pool answers.
    ping_docker_host(admin::PingDockerHostRequest) -> admin::PingDockerHostResponse = "ping-docker-host";
}

view! {
    /// What support may ask; see [`Client::support`].
    Support, Role::Support, SUPPORT_VERBS;
    /// Makes a tenant.
    create_tenant() -> support::CreateTenantResponse = "create-tenant";
    /// Gives a tenant a second name.
    create_tenant_alias(support::CreateTenantAliasRequest) -> CreatedResponse = "create-tenant-alias";
    /// Deletes a tenant and everything in it.
    delete_tenant(support::DeleteTenantRequest) -> DeletedResponse = "delete-tenant";
    /// Makes a project with a first stage.
    create_project(support::CreateProjectRequest) -> support::CreateProjectResponse = "create-project";
    /// Gives a project a second name.
    create_project_alias(support::CreateProjectAliasRequest) -> CreatedResponse = "create-project-alias";
    /// Deletes a project and everything in it.
    delete_project(support::DeleteProjectRequest) -> DeletedResponse = "delete-project";
    /// Makes a stage.
    create_stage(support::CreateStageRequest) -> support::CreateStageResponse = "create-stage";
    /// Gives a stage a second name.
    create_stage_alias(support::CreateStageAliasRequest) -> CreatedResponse = "create-stage-alias";
    /// Deletes a stage and everything in it.
    delete_stage(support::DeleteStageRequest) -> DeletedResponse = "delete-stage";
    /// Makes a developer. The password is in this answer only.
    create_developer() -> support::CreateDeveloperResponse = "create-developer";
    /// Gives a developer a second name.
    create_developer_alias(support::CreateDeveloperAliasRequest) -> CreatedResponse = "create-developer-alias";
    /// Deletes a developer.
    delete_developer(support::DeleteDeveloperRequest) -> DeletedResponse = "delete-developer";
    /// Gives permissions in a tenant.
    create_tenant_permissions(support::CreateTenantPermissionsRequest) -> support::CreateTenantPermissionsResponse
        = "create-tenant-permissions";
    /// Takes permissions in a tenant.
    delete_tenant_permissions(support::DeleteTenantPermissionsRequest) -> support::DeleteTenantPermissionsResponse
        = "delete-tenant-permissions";
    /// Gives permissions in a project.
    create_project_permissions(support::CreateProjectPermissionsRequest)
        -> support::CreateProjectPermissionsResponse = "create-project-permissions";
    /// Takes permissions in a project.
    delete_project_permissions(support::DeleteProjectPermissionsRequest)
        -> support::DeleteProjectPermissionsResponse = "delete-project-permissions";
    /// Gives permissions in a stage.
    create_stage_permissions(support::CreateStagePermissionsRequest) -> support::CreateStagePermissionsResponse
        = "create-stage-permissions";
    /// Takes permissions in a stage.
    delete_stage_permissions(support::DeleteStagePermissionsRequest) -> support::DeleteStagePermissionsResponse
        = "delete-stage-permissions";
}

view! {
    /// What a developer may ask; see [`Client::developer`].
    Developer, Role::Developer, DEVELOPER_VERBS;
    /// A tenant with its permissions and projects.
    get_tenant_details(developer::GetTenantDetailsRequest) -> developer::GetTenantDetailsResponse
        = "get-tenant-details";
    /// Makes a project with a first stage.
    create_project(support::CreateProjectRequest) -> support::CreateProjectResponse = "create-project";
    /// Gives a project a second name.
    create_project_alias(support::CreateProjectAliasRequest) -> CreatedResponse = "create-project-alias";
    /// A project with its permissions, stages and versions.
    get_project_details(developer::GetProjectDetailsRequest) -> developer::GetProjectDetailsResponse
        = "get-project-details";
    /// Deletes a project and everything in it.
    delete_project(support::DeleteProjectRequest) -> DeletedResponse = "delete-project";
    /// Makes a stage.
    create_stage(support::CreateStageRequest) -> support::CreateStageResponse = "create-stage";
    /// Gives a stage a second name.
    create_stage_alias(support::CreateStageAliasRequest) -> CreatedResponse = "create-stage-alias";
    /// A stage with its permissions and deployments.
    get_stage_details(developer::GetStageDetailsRequest) -> developer::GetStageDetailsResponse
        = "get-stage-details";
    /// Deletes a stage and everything in it.
    delete_stage(support::DeleteStageRequest) -> DeletedResponse = "delete-stage";
    /// Makes a version. Its id is the tag to push images with.
    create_version(developer::CreateVersionRequest) -> developer::CreateVersionResponse = "create-version";
    /// A version with its images.
    get_version_details(developer::GetVersionDetailsRequest) -> developer::GetVersionDetailsResponse
        = "get-version-details";
    /// Deletes a version.
    delete_version(developer::DeleteVersionRequest) -> DeletedResponse = "delete-version";
    /// Deploys a version: the stage's players get this one from now on.
    deploy_version(developer::DeployVersionRequest) -> developer::DeployVersionResponse = "deploy-version";
    /// A deployment with its runtimes and what became of their containers.
    get_deployment_details(developer::GetDeploymentDetailsRequest) -> developer::GetDeploymentDetailsResponse
        = "get-deployment-details";
    /// Deletes a deployment.
    delete_deployment(developer::DeleteDeploymentRequest) -> DeletedResponse = "delete-deployment";
    /// Asks for one more lobby.
    create_lobby_request(developer::DeploymentRequest) -> Empty = "create-lobby-request";
    /// Deletes a lobby.
    delete_lobby(developer::DeleteLobbyRequest) -> DeletedResponse = "delete-lobby";
    /// Asks for one more matchmaker.
    create_matchmaker_request(developer::DeploymentRequest) -> Empty = "create-matchmaker-request";
    /// Deletes a matchmaker.
    delete_matchmaker(developer::DeleteMatchmakerRequest) -> DeletedResponse = "delete-matchmaker";
    /// A ticket, and why it isn't matched yet.
    get_ticket_details(developer::GetTicketDetailsRequest) -> developer::GetTicketDetailsResponse = "get-ticket-details";
    /// A match, and why its players are together.
    get_match_details(developer::GetMatchDetailsRequest) -> developer::GetMatchDetailsResponse = "get-match-details";
}

/// Verbs of the endpoints that the player's side calls.
pub const PLAYER_VERBS: &[&str] = &[
    "ping-service",
    "create-user",
    "create-token",
    "create-client",
    "interchange",
    "get-ticket-details",
    "cancel-matchmaking",
    "create-connect-token",
];
/// Verbs of the endpoints that the game server's side calls.
pub const RUNTIME_VERBS: &[&str] = &["create-token", "interchange"];

/// Every endpoint that this crate calls: the verbs of each role.
pub const ENDPOINTS: &[(&str, &[&str])] = &[
    ("admin", ADMIN_VERBS),
    ("support", SUPPORT_VERBS),
    ("developer", DEVELOPER_VERBS),
    ("player", PLAYER_VERBS),
    ("runtime", RUNTIME_VERBS),
];

/// The same as pairs of role and verb.
pub fn pairs() -> impl Iterator<Item = (&'static str, &'static str)> {
    ENDPOINTS.iter().flat_map(|(role, verbs)| verbs.iter().map(move |verb| (*role, *verb)))
}

impl Client {
    /// What an administrator may ask, with a token of [`Admin::create_token`].
    pub fn admin(&self, token: &str) -> Admin {
        Admin::new(self.clone(), token)
    }
    /// What support may ask, with a token of [`Support::create_token`].
    pub fn support(&self, token: &str) -> Support {
        Support::new(self.clone(), token)
    }
    /// What a developer may ask, with a token of [`Developer::create_token`].
    pub fn developer(&self, token: &str) -> Developer {
        Developer::new(self.clone(), token)
    }
}
