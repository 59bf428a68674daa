//! A tenant with a project whose version has an image and is deployed.

use omgservers_tests::eventually;
use serde_json::{Value, json};

use crate::fixture::ContractFixture;

pub(crate) struct Studio {
    pub(crate) support: String,
    pub(crate) tenant: Value,
    pub(crate) project: Value,
    pub(crate) stage: Value,
    pub(crate) version: Value,
    pub(crate) deployment: Value,
    /// What its details say: it has a lobby, a runtime and a matchmaker.
    pub(crate) details: Value,
}

impl Studio {
    pub(crate) async fn open(fixture: &ContractFixture) -> Self {
        let support = fixture.token("support").await;
        let tenant = fixture.ok("support", "create-tenant", Some(&support), json!({})).await["id"].clone();
        let made = fixture.ok("support", "create-project", Some(&support), json!({"tenant": tenant})).await;
        let mut studio = Self {
            support,
            tenant,
            project: made["project_id"].clone(),
            stage: made["stage_id"].clone(),
            version: json!(null),
            deployment: json!(null),
            details: json!(null),
        };
        studio.deploy(fixture).await;
        studio
    }

    async fn deploy(&mut self, fixture: &ContractFixture) {
        let owner = fixture.ok("support", "create-developer", Some(&self.support), json!({})).await;
        let user = owner["user_id"].clone();
        for (level, permission) in
            [("project", "VERSION_MANAGER"), ("project", "PROJECT_VIEWER"), ("stage", "DEPLOYMENT_MANAGER")]
        {
            self.grant(fixture, &user, level, permission).await;
        }
        let answer = fixture.ok("developer", "create-token", None, owner.clone()).await;
        let token = answer["raw_token"].as_str().unwrap().to_owned();
        let asked = async |verb, body| fixture.ok("developer", verb, Some(&token), body).await;
        // One lobby is kept, so that it stays there.
        let config = json!({"modes": [], "deployment": {"min_lobbies": 1}});
        let (tenant, project) = (self.tenant.clone(), self.project.clone());
        let version = json!({"tenant": tenant, "project": project, "config": config});
        self.version = asked("create-version", version).await["version_id"].clone();
        let repository =
            format!("omgservers/{}/{}/universal", tenant.as_str().unwrap(), project.as_str().unwrap());
        fixture.push(&owner, &repository, &self.version).await;
        self.deployment = asked("deploy-version", self.stage_body()).await["deployment_id"].clone();
        let of_deployment = json!({"tenant": tenant, "deployment_id": self.deployment});
        asked("create-matchmaker-request", of_deployment.clone()).await;
        eventually("a lobby and a matchmaker", async || {
            let answer =
                fixture.ok("developer", "get-deployment-details", Some(&token), of_deployment.clone()).await;
            let details = &answer["details"];
            ["lobby_refs", "matchmaker_refs", "runtimes"].iter().all(|it| details[it][0].is_object())
        })
        .await;
        let details = asked("get-deployment-details", of_deployment).await;
        self.details = details["details"].clone();
    }

    /// The whole path of its stage, and its version.
    pub(crate) fn stage_body(&self) -> Value {
        json!({"tenant": self.tenant, "project": self.project, "stage": self.stage, "version_id": self.version})
    }

    /// The runtime of its lobby.
    pub(crate) fn runtime(&self) -> &str {
        self.details["runtimes"][0]["id"].as_str().unwrap()
    }

    /// A developer without permissions: a token, and the user.
    pub(crate) async fn developer(&self, fixture: &ContractFixture) -> (String, Value) {
        let made = fixture.ok("support", "create-developer", Some(&self.support), json!({})).await;
        let answer = fixture.ok("developer", "create-token", None, made.clone()).await;
        (answer["raw_token"].as_str().unwrap().to_owned(), made["user_id"].clone())
    }

    pub(crate) async fn grant(&self, fixture: &ContractFixture, user: &Value, level: &str, permission: &str) {
        let body = json!({
            "tenant": self.tenant, "project": self.project, "stage": self.stage,
            "user_id": user, "permissions_to_create": [permission],
        });
        let verb = format!("create-{level}-permissions");
        let given = fixture.ok("support", &verb, Some(&self.support), body).await;
        assert_eq!(given["created_permissions"], json!([permission]), "{level}");
    }

    /// A player with a session: a token, and the client.
    pub(crate) async fn player(&self, fixture: &ContractFixture) -> (String, Value) {
        let token = fixture.token("player").await;
        let answer = fixture.ok("player", "create-client", Some(&token), self.stage_body()).await;
        (token, answer["client_id"].clone())
    }
}
