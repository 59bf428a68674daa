//! [`Players`] on PostgreSQL.

use std::{collections::HashMap, sync::Arc};

use omgservers_api::{Problem, ProjectId, Ref, Role, StageId, TenantId, UserId};
use omgservers_core::{Batcher, Caller, Clock, Db};
use omgservers_deployments::Deployments;
use omgservers_projects::Projects;
use omgservers_tenants::Tenants;
use serde_json::value::RawValue;

use crate::{
    Admission, Players, rules,
    store::{self, NewProfile},
};

/// Most profiles that are written in one transaction.
const MOST_ROWS: usize = 500;

/// What [`PgPlayers`] stands on.
pub struct PlayersParts {
    /// The database.
    pub db: Db,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where players go.
    pub tenants: Arc<dyn Tenants>,
    /// Where players go.
    pub projects: Arc<dyn Projects>,
    /// What they play.
    pub deployments: Arc<dyn Deployments>,
    /// Most bytes of a profile.
    pub most_profile_bytes: usize,
}

/// The players of one database.
pub struct PgPlayers {
    parts: PlayersParts,
    writes: Batcher<NewProfile, ()>,
}

impl PgPlayers {
    /// Starts the writer of profiles on the current runtime.
    pub fn new(parts: PlayersParts) -> Self {
        let db = parts.db.clone();
        let writes = Batcher::new("profiles", MOST_ROWS, move |rows: Vec<NewProfile>| {
            let db = db.clone();
            async move {
                let written = vec![(); rows.len()];
                let rows = last_of_each(rows);
                db.write(async |conn| store::upsert(conn, &rows).await).await?;
                Ok(written)
            }
        });
        Self { parts, writes }
    }

    async fn write(&self, user: UserId, stage: StageId, body: Option<String>) -> Result<(), Problem> {
        self.writes.submit(NewProfile { user, stage, body, at: self.parts.clock.now() }).await
    }
}

#[async_trait::async_trait]
impl Players for PgPlayers {
    async fn enter(
        &self,
        caller: &Caller,
        tenant: &Ref<TenantId>,
        project: &Ref<ProjectId>,
        stage: &Ref<StageId>,
    ) -> Result<Admission, Problem> {
        let user = caller.user(Role::Player)?;
        let tenant = self.parts.tenants.find(tenant).await?;
        let project = self.parts.projects.find(tenant, project).await?;
        let stage = self.parts.projects.find_stage(tenant, project, stage).await?;
        let deployment = self.parts.deployments.newest(stage).await?;
        self.write(user, stage, None).await?;
        Ok(Admission { user, deployment })
    }

    async fn profiles(&self, stage: StageId, users: &[UserId]) -> Result<HashMap<UserId, Arc<str>>, Problem> {
        let empty: Arc<str> = Arc::from("{}");
        let mut profiles: HashMap<_, _> = users.iter().map(|it| (*it, Arc::clone(&empty))).collect();
        let mut conn = self.parts.db.read().await?;
        for users in users.chunks(MOST_ROWS) {
            let found = store::of_users(&mut conn, stage, users).await?;
            profiles.extend(found.into_iter().map(|(user, body)| (user, Arc::from(body))));
        }
        Ok(profiles)
    }

    async fn set_profile(&self, user: UserId, stage: StageId, profile: &RawValue) -> Result<(), Problem> {
        let body = rules::profile(profile.get(), self.parts.most_profile_bytes)?;
        self.write(user, stage, Some(body.to_owned())).await
    }
}

/// One row per profile: the last one that sets it, else one that ensures it.
fn last_of_each(rows: Vec<NewProfile>) -> Vec<NewProfile> {
    let mut last: HashMap<(UserId, StageId), NewProfile> = HashMap::with_capacity(rows.len());
    for row in rows {
        let key = (row.user, row.stage);
        if row.body.is_some() || !last.contains_key(&key) {
            last.insert(key, row);
        }
    }
    let mut rows: Vec<_> = last.into_values().collect();
    // One order for all writers, so that none waits for another in a circle.
    rows.sort_unstable_by_key(|it| (it.user, it.stage));
    rows
}
