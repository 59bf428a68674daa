//! [`Projects`] on PostgreSQL: authorisation first, rules second, store third.

use std::{collections::BTreeSet, sync::Arc};

use omgservers_accounts::Accounts;
use omgservers_api::{
    Problem, ProjectId, ProjectPermission, Ref, StageId, StagePermission, TenantId, TenantPermission, UserId,
    details::{Project, ProjectGrant, Stage, StageGrant},
    ids::Id,
    problem::codes,
};
use omgservers_core::{Caller, Clock, Db, Doorbell, Existences, Mint, existences, existing};
use omgservers_tenants::Tenants;

use crate::{
    Projects, StagePath, problems, rules,
    store::{project, stage},
};

/// What [`PgProjects`] is made of.
pub struct ProjectsParts {
    /// The database with the schema `projects`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Knows the users who get permissions.
    pub accounts: Arc<dyn Accounts>,
    /// Knows the tenants that projects belong to.
    pub tenants: Arc<dyn Tenants>,
    /// Rung after each deletion of a project or a stage, for the workers that remove what belonged
    /// to it.
    pub dependents: Vec<Doorbell>,
}

/// The projects of one database. Cheap to clone.
#[derive(Clone)]
pub struct PgProjects {
    pub(crate) db: Db,
    clock: Arc<dyn Clock>,
    mint: Mint,
    pub(crate) accounts: Arc<dyn Accounts>,
    pub(crate) tenants: Arc<dyn Tenants>,
    pub(crate) dependents: Vec<Doorbell>,
}

impl PgProjects {
    /// Makes the service.
    pub fn new(parts: ProjectsParts) -> Self {
        let ProjectsParts { db, clock, mint, accounts, tenants, dependents } = parts;
        Self { db, clock, mint, accounts, tenants, dependents }
    }

    async fn resolve(
        &self,
        tenant: TenantId,
        project: &Ref<ProjectId>,
    ) -> Result<Option<ProjectId>, Problem> {
        match project {
            Ref::Id(id) => Ok(project::get(&mut *self.db.read().await?, tenant, *id).await?.map(|it| it.id)),
            // What can't be a name never reaches the database, which refuses some texts.
            Ref::Alias(name) if rules::check_alias(name).is_err() => Ok(None),
            Ref::Alias(name) => project::named(&mut *self.db.read().await?, tenant, name).await,
        }
    }

    async fn resolve_stage(
        &self,
        tenant: TenantId,
        project: ProjectId,
        stage: &Ref<StageId>,
    ) -> Result<Option<StageId>, Problem> {
        match stage {
            Ref::Id(id) => {
                let row = stage::get(&mut *self.db.read().await?, *id).await?;
                Ok(row.filter(|it| it.tenant_id == tenant && it.project_id == project).map(|it| it.id))
            }
            Ref::Alias(name) if rules::check_alias(name).is_err() => Ok(None),
            Ref::Alias(name) => stage::named(&mut *self.db.read().await?, tenant, project, name).await,
        }
    }

    /// Permissions to insert, each once and in order, so that two who insert at the same time don't
    /// wait for each other in a circle.
    fn grants(
        &self,
        project: ProjectId,
        user_id: UserId,
        kinds: &[ProjectPermission],
    ) -> Result<Vec<project::PermissionRow>, Problem> {
        let (project_id, created) = (project, self.clock.now());
        let row = |kind| {
            Ok(project::PermissionRow { project_id, user_id, kind, id: self.mint.child(project)?, created })
        };
        each_once(kinds).into_iter().map(row).collect()
    }

    /// As [`grants`](Self::grants).
    fn stage_grants(
        &self,
        stage: StageId,
        user_id: UserId,
        kinds: &[StagePermission],
    ) -> Result<Vec<stage::PermissionRow>, Problem> {
        let (stage_id, created) = (stage, self.clock.now());
        let row =
            |kind| Ok(stage::PermissionRow { stage_id, user_id, kind, id: self.mint.child(stage)?, created });
        each_once(kinds).into_iter().map(row).collect()
    }

    /// The user who loses permissions. An id need not exist any more: its permissions may have
    /// outlived the user.
    async fn former(&self, user: &Ref<UserId>) -> Result<UserId, Problem> {
        match user {
            Ref::Id(id) => Ok(*id),
            Ref::Alias(_) => Ok(self.accounts.find(user).await?.id),
        }
    }

    fn ring(&self) {
        self.dependents.iter().for_each(Doorbell::ring);
    }
}

fn each_once<P: Copy + Ord>(kinds: &[P]) -> BTreeSet<P> {
    kinds.iter().copied().collect()
}

fn missing(permission: impl std::fmt::Display, parent: &str, id: impl Id) -> Problem {
    codes::PERMISSION_NOT_FOUND.detail(format!("this needs {permission} in {parent} {id}"))
}

#[async_trait::async_trait]
impl Projects for PgProjects {
    async fn create(&self, caller: &Caller, tenant: TenantId) -> Result<(ProjectId, StageId), Problem> {
        self.tenants.require(caller, tenant, TenantPermission::ProjectManager).await?;
        if existing(&self.tenants.exist(&[tenant]).await?).is_empty() {
            return Err(problems::PARENT_NOT_FOUND.detail(format!("there is no tenant {tenant}")));
        }
        let (project_id, stage_id): (ProjectId, StageId) =
            (self.mint.child(tenant)?, self.mint.child(tenant)?);
        let created = self.clock.now();
        let project = project::Row { id: project_id, tenant_id: tenant, created };
        let stage = stage::Row { id: stage_id, tenant_id: tenant, project_id, created };
        let creator = caller.holder()?;
        self.db
            .write(async |conn| {
                project::insert(conn, &project).await?;
                stage::insert(conn, &stage).await?;
                if let Some(creator) = creator {
                    let rows = self.grants(project_id, creator, rules::CREATOR)?;
                    project::insert_permissions(conn, &rows).await?;
                    let rows = self.stage_grants(stage_id, creator, rules::CREATOR_OF_FIRST_STAGE)?;
                    stage::insert_permissions(conn, &rows).await?;
                }
                Ok((project_id, stage_id))
            })
            .await
    }

    async fn create_alias(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        alias: &str,
    ) -> Result<(), Problem> {
        self.tenants.require(caller, tenant, TenantPermission::ProjectManager).await?;
        rules::check_alias(alias)?;
        let created = self.clock.now();
        self.db
            .write(async |conn| {
                if !project::hold(conn, tenant, project).await? {
                    return Err(problems::NOT_FOUND.into());
                }
                let (id, value) = (self.mint.child(tenant)?, alias.to_owned());
                let row = project::AliasRow { tenant_id: tenant, value, id, project_id: project, created };
                project::insert_alias(conn, &row).await
            })
            .await
    }

    async fn delete(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: &Ref<ProjectId>,
    ) -> Result<bool, Problem> {
        self.tenants.require(caller, tenant, TenantPermission::ProjectManager).await?;
        let Some(project) = self.resolve(tenant, project).await? else { return Ok(false) };
        let deleted = self.db.write(async |conn| project::delete(conn, tenant, project).await).await?;
        if deleted {
            self.ring();
        }
        Ok(deleted)
    }

    async fn find(&self, tenant: TenantId, project: &Ref<ProjectId>) -> Result<ProjectId, Problem> {
        let found = self.resolve(tenant, project).await?;
        found.ok_or_else(|| {
            problems::NOT_FOUND.detail(format!("there is no project `{project}` in tenant {tenant}"))
        })
    }

    async fn get(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
    ) -> Result<(Project, Vec<ProjectGrant>, Vec<Stage>), Problem> {
        self.require(caller, tenant, project, ProjectPermission::ProjectViewer).await?;
        let mut conn = self.db.read().await?;
        let row = project::get(&mut conn, tenant, project).await?.ok_or(problems::NOT_FOUND)?;
        let shown = row.with(&mut project::aliases(&mut conn, tenant, Some(&[project])).await?);
        let grants = project::permissions(&mut conn, project).await?;
        let stages = stage::of_project(&mut conn, project).await?;
        let mut names = stage::aliases(&mut conn, project, None).await?;
        let grants = grants.into_iter().map(|it| it.in_tenant(tenant)).collect();
        Ok((shown, grants, stages.into_iter().map(|it| it.with(&mut names)).collect()))
    }

    async fn list(
        &self,
        caller: &Caller,
        tenant: TenantId,
        after: Option<ProjectId>,
        size: u32,
    ) -> Result<(Vec<Project>, Option<ProjectId>), Problem> {
        self.tenants.require(caller, tenant, TenantPermission::TenantViewer).await?;
        let mut conn = self.db.read().await?;
        let (rows, next) = project::page(&mut conn, tenant, after, size).await?;
        let ids: Vec<_> = rows.iter().map(|it| it.id).collect();
        let mut names = project::aliases(&mut conn, tenant, Some(&ids)).await?;
        Ok((rows.into_iter().map(|it| it.with(&mut names)).collect(), next))
    }

    async fn of_tenant(&self, tenant: TenantId) -> Result<Vec<Project>, Problem> {
        let mut conn = self.db.read().await?;
        let projects = project::of_tenant(&mut conn, tenant).await?;
        let mut names = project::aliases(&mut conn, tenant, None).await?;
        Ok(projects.into_iter().map(|it| it.with(&mut names)).collect())
    }

    async fn create_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
    ) -> Result<StageId, Problem> {
        self.require(caller, tenant, project, ProjectPermission::StageManager).await?;
        let (creator, created) = (caller.holder()?, self.clock.now());
        self.db
            .write(async |conn| {
                if !project::hold(conn, tenant, project).await? {
                    let detail = format!("there is no project {project} in tenant {tenant}");
                    return Err(problems::PARENT_NOT_FOUND.detail(detail));
                }
                let id = self.mint.child(tenant)?;
                let row = stage::Row { id, tenant_id: tenant, project_id: project, created };
                stage::insert(conn, &row).await?;
                if let Some(creator) = creator {
                    let rows = self.stage_grants(id, creator, rules::CREATOR_OF_STAGE)?;
                    stage::insert_permissions(conn, &rows).await?;
                }
                Ok(id)
            })
            .await
    }

    async fn create_stage_alias(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        alias: &str,
    ) -> Result<(), Problem> {
        // Other roles learn nothing, not even whether there is such a stage.
        caller.holder()?;
        let path = self.locate_stage(stage).await?;
        if path.tenant != tenant {
            return Err(problems::STAGE_NOT_FOUND.into());
        }
        self.require(caller, tenant, path.project, ProjectPermission::StageManager).await?;
        rules::check_alias(alias)?;
        let created = self.clock.now();
        self.db
            .write(async |conn| {
                if !stage::hold(conn, tenant, stage).await? {
                    return Err(problems::STAGE_NOT_FOUND.into());
                }
                let (id, value, project_id) = (self.mint.child(tenant)?, alias.to_owned(), path.project);
                let row = stage::AliasRow { project_id, value, id, stage_id: stage, created };
                stage::insert_alias(conn, &row).await
            })
            .await
    }

    async fn delete_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: &Ref<StageId>,
    ) -> Result<bool, Problem> {
        self.require(caller, tenant, project, ProjectPermission::StageManager).await?;
        let Some(stage) = self.resolve_stage(tenant, project, stage).await? else { return Ok(false) };
        let deleted = self.db.write(async |conn| stage::delete(conn, tenant, project, stage).await).await?;
        if deleted {
            self.ring();
        }
        Ok(deleted)
    }

    async fn find_stage(
        &self,
        tenant: TenantId,
        project: ProjectId,
        stage: &Ref<StageId>,
    ) -> Result<StageId, Problem> {
        let found = self.resolve_stage(tenant, project, stage).await?;
        found.ok_or_else(|| {
            problems::STAGE_NOT_FOUND.detail(format!("there is no stage `{stage}` in project {project}"))
        })
    }

    async fn get_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        stage: StageId,
    ) -> Result<(Stage, Vec<StageGrant>), Problem> {
        self.require(caller, tenant, project, ProjectPermission::ProjectViewer).await?;
        let mut conn = self.db.read().await?;
        let row = stage::get(&mut conn, stage).await?;
        let row = row
            .filter(|it| it.tenant_id == tenant && it.project_id == project)
            .ok_or(problems::STAGE_NOT_FOUND)?;
        let shown = row.with(&mut stage::aliases(&mut conn, project, Some(stage)).await?);
        let grants = stage::permissions(&mut conn, stage).await?;
        Ok((shown, grants.into_iter().map(|it| it.in_tenant(tenant)).collect()))
    }

    async fn locate_stage(&self, stage: StageId) -> Result<StagePath, Problem> {
        let row = stage::get(&mut *self.db.read().await?, stage).await?.ok_or(problems::STAGE_NOT_FOUND)?;
        Ok(StagePath { stage, project: row.project_id, tenant: row.tenant_id })
    }

    async fn grant(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        user: &Ref<UserId>,
        permissions: &[ProjectPermission],
    ) -> Result<Vec<ProjectPermission>, Problem> {
        caller.trusted()?;
        let user = self.accounts.find(user).await?.id;
        self.db
            .write(async |conn| {
                if !project::hold(conn, tenant, project).await? {
                    return Err(problems::NOT_FOUND.into());
                }
                project::insert_permissions(conn, &self.grants(project, user, permissions)?).await
            })
            .await
    }

    async fn revoke(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        user: &Ref<UserId>,
        permissions: &[ProjectPermission],
    ) -> Result<Vec<ProjectPermission>, Problem> {
        caller.trusted()?;
        let (user, kinds) = (self.former(user).await?, each_once(permissions));
        self.db
            .write(async |conn| {
                if !project::hold(conn, tenant, project).await? {
                    return Ok(Vec::new());
                }
                project::delete_permissions(conn, project, user, &kinds).await
            })
            .await
    }

    async fn grant_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        user: &Ref<UserId>,
        permissions: &[StagePermission],
    ) -> Result<Vec<StagePermission>, Problem> {
        caller.trusted()?;
        let user = self.accounts.find(user).await?.id;
        self.db
            .write(async |conn| {
                if !stage::hold(conn, tenant, stage).await? {
                    return Err(problems::STAGE_NOT_FOUND.into());
                }
                stage::insert_permissions(conn, &self.stage_grants(stage, user, permissions)?).await
            })
            .await
    }

    async fn revoke_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        user: &Ref<UserId>,
        permissions: &[StagePermission],
    ) -> Result<Vec<StagePermission>, Problem> {
        caller.trusted()?;
        let (user, kinds) = (self.former(user).await?, each_once(permissions));
        self.db
            .write(async |conn| {
                if !stage::hold(conn, tenant, stage).await? {
                    return Ok(Vec::new());
                }
                stage::delete_permissions(conn, stage, user, &kinds).await
            })
            .await
    }

    async fn require(
        &self,
        caller: &Caller,
        tenant: TenantId,
        project: ProjectId,
        permission: ProjectPermission,
    ) -> Result<(), Problem> {
        let Some(user) = caller.holder()? else { return Ok(()) };
        if project::holds(&mut *self.db.read().await?, tenant, project, user, permission).await? {
            return Ok(());
        }
        Err(missing(permission, "project", project))
    }

    async fn require_stage(
        &self,
        caller: &Caller,
        tenant: TenantId,
        stage: StageId,
        permission: StagePermission,
    ) -> Result<(), Problem> {
        let Some(user) = caller.holder()? else { return Ok(()) };
        if stage::holds(&mut *self.db.read().await?, tenant, stage, user, permission).await? {
            return Ok(());
        }
        Err(missing(permission, "stage", stage))
    }

    async fn exist(&self, ids: &[ProjectId]) -> Result<Existences<ProjectId>, Problem> {
        Ok(existences(ids, &project::exist(&mut *self.db.read().await?, ids).await?))
    }

    async fn stages_exist(&self, ids: &[StageId]) -> Result<Existences<StageId>, Problem> {
        Ok(existences(ids, &stage::exist(&mut *self.db.read().await?, ids).await?))
    }
}
