//! One command for each endpoint. A command's arguments are the fields of its request, in the same order.

use clap::Subcommand;
use omgservers_client::{
    Admin, Client, Developer, Player, Support,
    api::{
        ClientId, DeploymentId, LobbyId, MatchId, MatchmakerId, Problem, ProjectId, ProjectPermission, Ref,
        StageId, StagePermission, TenantId, TenantPermission, TicketId, UserId, VersionId,
        config::{DeploymentConfig, VersionConfig},
        entrypoint::{DeletedResponse, admin, developer, player, support},
    },
};
use serde::Serialize;

use crate::{
    cli::TokenArgs,
    output::Answer,
    values::{deployment_config, version_config, word},
};

/// What a role can be asked for.
pub(crate) trait RoleCommand: Sized {
    /// The credentials, if a token is asked for.
    fn token(&self) -> Option<&TokenArgs>;
    /// Calls the endpoint.
    async fn call(self, client: &Client, token: &str) -> Result<Answer, Problem>;
}

fn answer(value: &impl Serialize) -> Result<Answer, Problem> {
    Answer::new(value)
}

macro_rules! commands {
    (
        $(#[$doc:meta])* $name:ident => $view:ident;
        $($(#[$vdoc:meta])* $variant:ident {
            $($(#[$fdoc:meta])* $field:ident: $type:ty),* $(,)?
        } => $method:ident($($request:ty)?);)*
    ) => {
        $(#[$doc])*
        #[derive(Debug, Subcommand)]
        pub(crate) enum $name {
            /// Fetch a token and print it; `omgctl login` keeps it instead.
            CreateToken(TokenArgs),
            $($(#[$vdoc])* $variant { $($(#[$fdoc])* $field: $type),* },)*
        }

        impl RoleCommand for $name {
            fn token(&self) -> Option<&TokenArgs> {
                if let Self::CreateToken(args) = self { Some(args) } else { None }
            }
            async fn call(self, client: &Client, token: &str) -> Result<Answer, Problem> {
                let view = $view::of(client, token);
                match self {
                    Self::CreateToken(_) => answer(&()),
                    $(Self::$variant { $($field),* } => {
                        commands!(@call view.$method, ($($request)?), { $($field),* })
                    })*
                }
            }
        }
    };
    (@call $view:ident.$method:ident, (), {}) => { answer(&$view.$method().await?) };
    (@call $view:ident.$method:ident, ($request:ty), $fields:tt) => {{
        commands!(@request request, $request, $fields);
        answer(&$view.$method(&request).await?)
    }};
    (@request $name:ident, $request:ty, { $($field:ident),* }) => {
        type Request = $request;
        let $name = Request { $($field),* };
    };
}

/// Makes the view of a role.
trait View {
    fn of(client: &Client, token: &str) -> Self;
}
impl View for Admin {
    fn of(client: &Client, token: &str) -> Self {
        client.admin(token)
    }
}
impl View for Support {
    fn of(client: &Client, token: &str) -> Self {
        client.support(token)
    }
}
impl View for Developer {
    fn of(client: &Client, token: &str) -> Self {
        client.developer(token)
    }
}

commands! {
    /// What administrators ask for.
    AdminCommand => Admin;
    /// Make an id.
    GenerateId {} => generate_id();
    /// Hash a text with bcrypt.
    BcryptHash {
        /// The text, 1 to 72 bytes.
        value: String,
    } => bcrypt_hash(admin::BcryptHashRequest);
    /// Say where a key lives.
    CalculateShard {
        /// An id or any other text.
        shard_key: String,
    } => calculate_shard(admin::CalculateShardRequest);
    /// Ask a Docker host of the pool whether it answers.
    PingDockerHost {
        /// Its URI, as the pool has it.
        docker_daemon_uri: String,
    } => ping_docker_host(admin::PingDockerHostRequest);
}

commands! {
    /// What support asks for.
    SupportCommand => Support;
    /// Make a tenant.
    CreateTenant {} => create_tenant();
    /// Give a tenant a second name.
    CreateTenantAlias {
        /// The tenant's id.
        tenant_id: TenantId,
        /// The name, unique among tenants.
        alias: String,
    } => create_tenant_alias(support::CreateTenantAliasRequest);
    /// Delete a tenant and everything in it.
    DeleteTenant {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
    } => delete_tenant(support::DeleteTenantRequest);
    /// Make a project with a first stage.
    CreateProject {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
    } => create_project(support::CreateProjectRequest);
    /// Give a project a second name.
    CreateProjectAlias {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project's id.
        project_id: ProjectId,
        /// The name, unique in the tenant.
        alias: String,
    } => create_project_alias(support::CreateProjectAliasRequest);
    /// Delete a project and everything in it.
    DeleteProject {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
    } => delete_project(support::DeleteProjectRequest);
    /// Make a stage.
    CreateStage {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
    } => create_stage(support::CreateStageRequest);
    /// Give a stage a second name.
    CreateStageAlias {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The stage's id.
        stage_id: StageId,
        /// The name, unique in the project.
        alias: String,
    } => create_stage_alias(support::CreateStageAliasRequest);
    /// Delete a stage and everything in it.
    DeleteStage {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
    } => delete_stage(support::DeleteStageRequest);
    /// Make a developer. The password is shown here only.
    CreateDeveloper {} => create_developer();
    /// Give a developer a second name.
    CreateDeveloperAlias {
        /// The developer's id.
        developer_user_id: UserId,
        /// The name, unique among users.
        alias: String,
    } => create_developer_alias(support::CreateDeveloperAliasRequest);
    /// Delete a developer.
    DeleteDeveloper {
        /// The developer, by id or alias.
        user: Ref<UserId>,
    } => delete_developer(support::DeleteDeveloperRequest);
    /// Give permissions in a tenant.
    CreateTenantPermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// Who gets them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(TenantPermission::ALL, TenantPermission::as_str))]
        permissions_to_create: Vec<TenantPermission>,
    } => create_tenant_permissions(support::CreateTenantPermissionsRequest);
    /// Take permissions in a tenant.
    DeleteTenantPermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// Who loses them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(TenantPermission::ALL, TenantPermission::as_str))]
        permissions_to_delete: Vec<TenantPermission>,
    } => delete_tenant_permissions(support::DeleteTenantPermissionsRequest);
    /// Give permissions in a project.
    CreateProjectPermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// Who gets them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(ProjectPermission::ALL, ProjectPermission::as_str))]
        permissions_to_create: Vec<ProjectPermission>,
    } => create_project_permissions(support::CreateProjectPermissionsRequest);
    /// Take permissions in a project.
    DeleteProjectPermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// Who loses them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(ProjectPermission::ALL, ProjectPermission::as_str))]
        permissions_to_delete: Vec<ProjectPermission>,
    } => delete_project_permissions(support::DeleteProjectPermissionsRequest);
    /// Give permissions in a stage.
    CreateStagePermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
        /// Who gets them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(StagePermission::ALL, StagePermission::as_str))]
        permissions_to_create: Vec<StagePermission>,
    } => create_stage_permissions(support::CreateStagePermissionsRequest);
    /// Take permissions in a stage.
    DeleteStagePermissions {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
        /// Who loses them, by id or alias.
        user: Ref<UserId>,
        /// Which.
        #[arg(required = true, value_name = "PERMISSION", value_parser = word(StagePermission::ALL, StagePermission::as_str))]
        permissions_to_delete: Vec<StagePermission>,
    } => delete_stage_permissions(support::DeleteStagePermissionsRequest);
}

commands! {
    /// What developers ask for.
    DeveloperCommand => Developer;
    /// Show a tenant with its permissions and projects.
    GetTenantDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
    } => get_tenant_details(developer::GetTenantDetailsRequest);
    /// Make a project with a first stage.
    CreateProject {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
    } => create_project(support::CreateProjectRequest);
    /// Give a project a second name.
    CreateProjectAlias {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project's id.
        project_id: ProjectId,
        /// The name, unique in the tenant.
        alias: String,
    } => create_project_alias(support::CreateProjectAliasRequest);
    /// Show a project with its permissions, stages and versions.
    GetProjectDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
    } => get_project_details(developer::GetProjectDetailsRequest);
    /// Delete a project and everything in it.
    DeleteProject {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
    } => delete_project(support::DeleteProjectRequest);
    /// Make a stage.
    CreateStage {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
    } => create_stage(support::CreateStageRequest);
    /// Give a stage a second name.
    CreateStageAlias {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The stage's id.
        stage_id: StageId,
        /// The name, unique in the project.
        alias: String,
    } => create_stage_alias(support::CreateStageAliasRequest);
    /// Show a stage with its permissions and deployments.
    GetStageDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
    } => get_stage_details(developer::GetStageDetailsRequest);
    /// Delete a stage and everything in it.
    DeleteStage {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
    } => delete_stage(support::DeleteStageRequest);
    /// Make a version. Its id is the tag to push images with.
    CreateVersion {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// A JSON file with the version's configuration; - reads the standard input.
        #[arg(long, value_name = "FILE", value_parser = version_config)]
        config: VersionConfig,
    } => create_version(developer::CreateVersionRequest);
    /// Show a version with its images.
    GetVersionDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The version's id.
        version_id: VersionId,
    } => get_version_details(developer::GetVersionDetailsRequest);
    /// Delete a version.
    DeleteVersion {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The version's id.
        #[arg(value_name = "VERSION_ID")]
        id: VersionId,
    } => delete_version(developer::DeleteVersionRequest);
    /// Deploy a version: the stage's players get this one from now on.
    DeployVersion {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
        /// The version's id.
        version_id: VersionId,
        /// A JSON file that says how to run it, instead of what the version says; - reads the standard input.
        #[arg(long, value_name = "FILE", value_parser = deployment_config)]
        config: Option<DeploymentConfig>,
    } => deploy_version(developer::DeployVersionRequest);
    /// Show a deployment with its game servers and what became of their containers.
    GetDeploymentDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        deployment_id: DeploymentId,
    } => get_deployment_details(developer::GetDeploymentDetailsRequest);
    /// Delete a deployment.
    DeleteDeployment {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        #[arg(value_name = "DEPLOYMENT_ID")]
        id: DeploymentId,
    } => delete_deployment(developer::DeleteDeploymentRequest);
    /// Ask for one more lobby.
    CreateLobbyRequest {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        deployment_id: DeploymentId,
    } => create_lobby_request(developer::DeploymentRequest);
    /// Delete a lobby.
    DeleteLobby {
        /// The lobby's id.
        lobby_id: LobbyId,
    } => delete_lobby(developer::DeleteLobbyRequest);
    /// Ask for one more matchmaker.
    CreateMatchmakerRequest {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        deployment_id: DeploymentId,
    } => create_matchmaker_request(developer::DeploymentRequest);
    /// Delete a matchmaker.
    DeleteMatchmaker {
        /// The matchmaker's id.
        matchmaker_id: MatchmakerId,
    } => delete_matchmaker(developer::DeleteMatchmakerRequest);
    /// Show a ticket, and why it isn't matched yet; by its id or by one of its clients.
    GetTicketDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        deployment_id: DeploymentId,
        /// The ticket's id.
        #[arg(long, required_unless_present = "client_id", conflicts_with = "client_id")]
        ticket_id: Option<TicketId>,
        /// The id of one of its clients.
        #[arg(long)]
        client_id: Option<ClientId>,
    } => get_ticket_details(developer::GetTicketDetailsRequest);
    /// Show a match, and why its players are together.
    GetMatchDetails {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The deployment's id.
        deployment_id: DeploymentId,
        /// The match's id.
        match_id: MatchId,
    } => get_match_details(developer::GetMatchDetailsRequest);
}

/// What players ask for.
#[derive(Debug, Subcommand)]
pub(crate) enum PlayerCommand {
    /// Fetch a token and print it; `omgctl login` keeps it instead.
    CreateToken(TokenArgs),
    /// Ask whether the backend answers.
    PingService {
        /// Any text of 1 to 64 characters.
        #[arg(default_value = "ping")]
        message: String,
    },
    /// Make a player. The password is shown here only.
    CreateUser,
    /// Begin a session.
    CreateClient {
        /// The tenant, by id or alias.
        tenant: Ref<TenantId>,
        /// The project, by id or alias.
        project: Ref<ProjectId>,
        /// The stage, by id or alias.
        stage: Ref<StageId>,
    },
    /// Show the open ticket of a session, and why it isn't matched yet.
    GetTicketDetails {
        /// The session's id.
        client_id: ClientId,
    },
    /// Take the open ticket of a session back.
    CancelMatchmaking {
        /// The session's id.
        client_id: ClientId,
    },
    /// Show how a session connects to its game server directly, with a new token.
    CreateConnectToken {
        /// The session's id.
        client_id: ClientId,
    },
}

impl PlayerCommand {
    /// Whether it needs no token.
    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self, Self::PingService { .. } | Self::CreateUser)
    }
}

impl RoleCommand for PlayerCommand {
    fn token(&self) -> Option<&TokenArgs> {
        if let Self::CreateToken(args) = self { Some(args) } else { None }
    }
    async fn call(self, client: &Client, token: &str) -> Result<Answer, Problem> {
        match self {
            Self::CreateToken(_) => answer(&()),
            Self::PingService { message } => {
                answer(&client.ping(&player::PingServiceRequest { message }).await?)
            }
            Self::CreateUser => answer(&Player::sign_up(client).await?),
            Self::CreateClient { tenant, project, stage } => {
                let session = Player::with_token(client, token).create_client(tenant, project, stage).await?;
                answer(&player::CreateClientResponse { client_id: session.client_id() })
            }
            Self::GetTicketDetails { client_id } => {
                answer(&Player::with_token(client, token).ticket(client_id).await?)
            }
            Self::CancelMatchmaking { client_id } => {
                let deleted = Player::with_token(client, token).cancel_matchmaking(client_id).await?;
                answer(&DeletedResponse { deleted })
            }
            Self::CreateConnectToken { client_id } => {
                answer(&Player::with_token(client, token).refresh_connect_token(client_id).await?)
            }
        }
    }
}
