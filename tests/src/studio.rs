//! A studio with one project.

use std::sync::{Mutex, PoisonError};

use omgservers_api::{
    DeploymentId, ProjectId, ProjectPermission, Ref, Role, StageId, StagePermission, TenantId,
    TenantPermission, UserId, VersionId,
    config::VersionConfig,
    details::DeploymentDetails,
    entrypoint::{
        developer::{CreateVersionRequest, DeployVersionRequest, GetDeploymentDetailsRequest},
        support::{
            CreateProjectPermissionsRequest, CreateProjectRequest, CreateStagePermissionsRequest,
            CreateTenantPermissionsRequest, DeleteTenantRequest,
        },
    },
};
use omgservers_client::{Client, Player, Session};

use crate::{Backend, Docker, Game};

/// A studio with one project.
pub struct Studio {
    /// The developer's client.
    pub developer: omgservers_client::Developer,
    /// The developer.
    pub user: UserId,
    /// The developer's password.
    pub password: String,
    /// The tenant.
    pub tenant: TenantId,
    /// The project.
    pub project: ProjectId,
    /// Its stage.
    pub stage: StageId,
    support: omgservers_client::Support,
    client: Client,
    /// The ids that a failed test prints.
    made: Mutex<Vec<String>>,
}

impl Studio {
    /// Made by support, as the specification's guide says.
    pub async fn open(backend: &Backend) -> Self {
        let client = backend.client();
        let token =
            client.create_token(Role::Support, "support", &backend.password("support")).await.unwrap();
        let support = client.support(&token);
        let tenant = support.create_tenant().await.unwrap().id;
        let made = support.create_developer().await.unwrap();
        let user = Ref::Id(made.user_id);
        let all = TenantPermission::ALL.to_vec();
        let request = CreateTenantPermissionsRequest {
            tenant: tenant.into(),
            user: user.clone(),
            permissions_to_create: all,
        };
        support.create_tenant_permissions(&request).await.unwrap();
        let token = client.create_token(Role::Developer, &user, &made.password).await.unwrap();
        let developer = client.developer(&token);
        let project =
            developer.create_project(&CreateProjectRequest { tenant: tenant.into() }).await.unwrap();
        Self {
            developer,
            user: made.user_id,
            password: made.password,
            tenant,
            project: project.project_id,
            stage: project.stage_id,
            support,
            client,
            made: Mutex::default(),
        }
    }

    /// Remembers an id, so that a failed test prints it.
    fn note(&self, line: String) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }

    /// Makes a version with this configuration and pushes the sample game for it.
    pub async fn push(&self, backend: &Backend, config: &str) -> VersionId {
        self.push_game(backend, Game::Sample, config).await
    }

    /// Makes a version with this configuration and pushes a game for it.
    pub async fn push_game(&self, backend: &Backend, game: Game, config: &str) -> VersionId {
        let config: VersionConfig = serde_json::from_str(config).unwrap();
        let request =
            CreateVersionRequest { tenant: self.tenant.into(), project: self.project.into(), config };
        let version = self.developer.create_version(&request).await.unwrap().version_id;
        let image =
            format!("{}/omgservers/{}/{}/universal:{version}", backend.registry(), self.tenant, self.project);
        let (registry, user, password) = (backend.registry(), self.user.to_string(), self.password.clone());
        tokio::task::spawn_blocking(move || {
            let docker = Docker::new();
            docker.login(&registry, &user, &password);
            docker.push(game, &image);
        })
        .await
        .unwrap();
        self.note(format!("version {version}"));
        version
    }

    /// Deploys a version.
    pub async fn deploy(&self, version_id: VersionId) -> DeploymentId {
        let request = DeployVersionRequest {
            tenant: self.tenant.into(),
            project: self.project.into(),
            stage: self.stage.into(),
            version_id,
            config: None,
        };
        let deployment = self.developer.deploy_version(&request).await.unwrap().deployment_id;
        self.note(format!("deployment {deployment} of version {version_id}"));
        deployment
    }

    /// How a deployment stands.
    pub async fn details(&self, deployment_id: DeploymentId) -> DeploymentDetails {
        let request = GetDeploymentDetailsRequest { tenant: self.tenant.into(), deployment_id };
        self.developer.get_deployment_details(&request).await.unwrap().details
    }

    /// A new player with a session.
    pub async fn player(&self) -> Session {
        let made = Player::sign_up(&self.client).await.unwrap();
        let player = Player::sign_in(&self.client, made.user_id, &made.password).await.unwrap();
        let session = player.create_client(self.tenant, self.project, self.stage).await.unwrap();
        self.note(format!("client {} of user {}", session.client_id(), made.user_id));
        session
    }

    /// Deletes the tenant with everything in it.
    pub async fn close(&self) {
        let deleted =
            self.support.delete_tenant(&DeleteTenantRequest { tenant: self.tenant.into() }).await.unwrap();
        assert!(deleted.deleted);
    }

    /// Gives another developer nothing but one permission, for tests of gates.
    pub async fn grant(&self, user: UserId, project: &[ProjectPermission], stage: &[StagePermission]) {
        let user = Ref::Id(user);
        if !project.is_empty() {
            let request = CreateProjectPermissionsRequest {
                tenant: self.tenant.into(),
                project: self.project.into(),
                user: user.clone(),
                permissions_to_create: project.to_vec(),
            };
            self.support.create_project_permissions(&request).await.unwrap();
        }
        if !stage.is_empty() {
            let request = CreateStagePermissionsRequest {
                tenant: self.tenant.into(),
                project: self.project.into(),
                stage: self.stage.into(),
                user,
                permissions_to_create: stage.to_vec(),
            };
            self.support.create_stage_permissions(&request).await.unwrap();
        }
    }
}

impl Drop for Studio {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let Self { tenant, project, stage, user, .. } = self;
        eprintln!("--- tenant {tenant}, project {project}, stage {stage}, developer {user}");
        for line in self.made.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            eprintln!("--- {line}");
        }
    }
}
