//! Accounts on PostgreSQL. A name and its user live in different slots, so no transaction spans
//! both. A user comes before its name and goes before it; a name without a user stands for nothing.

use std::{fmt, sync::Arc};

use omgservers_api::{Problem, Ref, Role, UserId, problem::codes};
use omgservers_auth::{Passwords, Secrets};
use omgservers_core::{Batcher, Caller, Clock, Db, Existences, Mint, existences};

use crate::{
    problems,
    recent::Recent,
    rules,
    service::{Accounts, NewUser, User},
    store::{self, AccountRow, NameRow},
};

/// How many new users share a commit at most.
const BATCH: usize = 128;

/// What [`PgAccounts`] is made of.
pub struct AccountsParts {
    /// The database with the schema `accounts`.
    pub db: Db,
    /// The source of time.
    pub clock: Arc<dyn Clock>,
    /// The source of ids.
    pub mint: Mint,
    /// Hashes the passwords that people choose.
    pub passwords: Arc<Passwords>,
    /// Digests the secrets that this service generates.
    pub secrets: Arc<Secrets>,
}

/// Accounts on PostgreSQL.
pub struct PgAccounts {
    db: Db,
    clock: Arc<dyn Clock>,
    mint: Mint,
    passwords: Arc<Passwords>,
    secrets: Arc<Secrets>,
    writer: Batcher<AccountRow, ()>,
    recent: Recent,
}

impl fmt::Debug for PgAccounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgAccounts").field("db", &self.db).finish_non_exhaustive()
    }
}

/// What a user's secret is compared with.
struct StoredSecret {
    user: User,
    keyed: bool,
    secret: Arc<str>,
}

impl PgAccounts {
    /// Starts the writer of new users on the current runtime; it ends with this.
    pub fn new(parts: AccountsParts) -> Self {
        let AccountsParts { db, clock, mint, passwords, secrets } = parts;
        let writer = Batcher::new("accounts", BATCH, {
            let db = db.clone();
            move |rows: Vec<AccountRow>| {
                let db = db.clone();
                async move {
                    let results = vec![(); rows.len()];
                    db.write(async move |conn| store::insert(conn, rows).await).await?;
                    Ok(results)
                }
            }
        });
        let recent = Recent::new(Arc::clone(&clock));
        Self { db, clock, mint, passwords, secrets, writer, recent }
    }

    /// Stores a user with this password.
    async fn add(&self, role: Role, password: &str) -> Result<UserId, Problem> {
        let keyed = rules::is_keyed(role);
        let secret =
            if keyed { self.secrets.digest(password) } else { self.passwords.hash(password).await? };
        let id = self.mint.root()?;
        let as_of = self.recent.as_of();
        let digest = keyed.then(|| Arc::from(secret.as_str()));
        self.writer.submit(AccountRow { id, role, keyed, secret, created: self.clock.now() }).await?;
        if let Some(digest) = digest {
            self.recent.put(id, digest, as_of);
        }
        Ok(id)
    }

    /// The id behind a reference. That of a name may be of a user that is gone.
    async fn resolve(&self, user: &Ref<UserId>) -> Result<Option<UserId>, Problem> {
        match user {
            Ref::Id(id) => Ok(Some(*id)),
            Ref::Alias(alias) => Ok(self.named(alias).await?.map(|it| it.account_id)),
        }
    }

    async fn named(&self, alias: &str) -> Result<Option<NameRow>, Problem> {
        if !rules::could_be_alias(alias) {
            return Ok(None);
        }
        store::name(&mut *self.db.read().await?, rules::slot_of_name(alias), alias).await
    }

    async fn account(&self, id: UserId) -> Result<Option<AccountRow>, Problem> {
        store::account(&mut *self.db.read().await?, id).await
    }

    async fn role(&self, id: UserId) -> Result<Option<Role>, Problem> {
        store::role(&mut *self.db.read().await?, id).await
    }

    async fn credentials(&self, user: &Ref<UserId>) -> Result<Option<StoredSecret>, Problem> {
        let Some(id) = self.resolve(user).await? else { return Ok(None) };
        if let Some(secret) = self.recent.get(id) {
            return Ok(Some(StoredSecret { user: User { id, role: Role::Player }, keyed: true, secret }));
        }
        let as_of = self.recent.as_of();
        let Some(row) = self.account(id).await? else { return Ok(None) };
        let secret: Arc<str> = row.secret.into();
        if row.keyed && row.role == Role::Player {
            self.recent.put(id, Arc::clone(&secret), as_of);
        }
        Ok(Some(StoredSecret { user: User { id, role: row.role }, keyed: row.keyed, secret }))
    }

    /// Gives an existing user a name. Problems: `accounts.alias_taken`.
    async fn give_name(&self, user: UserId, alias: &str) -> Result<(), Problem> {
        let row = NameRow {
            slot: rules::slot_of_name(alias),
            value: alias.to_owned(),
            id: self.mint.child(user)?,
            account_id: user,
            created: self.clock.now(),
        };
        let taken = match self.insert_name(&row).await {
            Err(problem) if problem.is(problems::ALIAS_TAKEN) => problem,
            other => return other,
        };
        let Some(holder) = self.named(alias).await? else { return self.insert_name(&row).await };
        if self.role(holder.account_id).await?.is_some() {
            return Err(taken);
        }
        // It stayed behind when its user was deleted.
        self.db.write(async |conn| store::delete_name(conn, &holder).await).await?;
        self.insert_name(&row).await
    }

    async fn insert_name(&self, row: &NameRow) -> Result<(), Problem> {
        self.db.write(async |conn| store::insert_name(conn, row).await).await
    }

    async fn remove(&self, id: UserId, role: Role) -> Result<bool, Problem> {
        let deleted = self.db.write(async |conn| store::delete(conn, id, role).await).await;
        // Also when the answer was lost: the commit may have been done.
        self.recent.forget(id);
        if !deleted? {
            return Ok(false);
        }
        self.db.write(async |conn| store::delete_names_of(conn, id).await).await?;
        Ok(true)
    }

    /// Lets an account that has a name be of `role` and open with `password`.
    async fn adjust(&self, id: UserId, role: Role, password: Option<&str>) -> Result<bool, Problem> {
        let Some(account) = self.account(id).await? else { return Ok(false) };
        if account.role != role {
            return Err(problems::ALIAS_TAKEN.detail("a user of another role has this alias"));
        }
        if let Some(password) = password {
            let secret = if account.keyed {
                self.secrets.digest(password)
            } else if self.passwords.verify(password, &account.secret).await? {
                return Ok(true);
            } else {
                self.passwords.hash(password).await?
            };
            self.db.write(async |conn| store::set_secret(conn, id, &secret).await).await?;
            self.recent.forget(id);
        }
        Ok(true)
    }
}

#[async_trait::async_trait]
impl Accounts for PgAccounts {
    async fn create(&self, caller: &Caller, role: Role) -> Result<NewUser, Problem> {
        rules::may_create(caller, role)?;
        let password = self.secrets.generate();
        let id = self.add(role, &password).await?;
        Ok(NewUser { id, password })
    }

    async fn verify(&self, roles: &[Role], user: &Ref<UserId>, password: &str) -> Result<User, Problem> {
        let found = self.credentials(user).await?.filter(|it| roles.contains(&it.user.role));
        let fits = match &found {
            Some(account) if !account.keyed => self.passwords.verify(password, &account.secret).await?,
            other => {
                // One slow hash for each answer, unless no answer can take one.
                if !rules::only_keyed(roles) {
                    self.passwords.waste().await?;
                }
                let secret = other.as_ref().map_or("", |it| &*it.secret);
                self.secrets.matches(password, secret)
            }
        };
        found.filter(|_| fits).map(|it| it.user).ok_or_else(|| codes::WRONG_CREDENTIALS.into())
    }

    async fn create_alias(
        &self,
        caller: &Caller,
        role: Role,
        user: UserId,
        alias: &str,
    ) -> Result<(), Problem> {
        rules::may_manage(caller, role)?;
        rules::check_alias(alias)?;
        if self.role(user).await? != Some(role) {
            return Err(problems::NOT_FOUND.into());
        }
        self.give_name(user, alias).await
    }

    async fn delete(&self, caller: &Caller, role: Role, user: &Ref<UserId>) -> Result<bool, Problem> {
        rules::may_manage(caller, role)?;
        match self.resolve(user).await? {
            Some(id) => self.remove(id, role).await,
            None => Ok(false),
        }
    }

    async fn find(&self, user: &Ref<UserId>) -> Result<User, Problem> {
        let id = self.resolve(user).await?.ok_or(problems::NOT_FOUND)?;
        let role = self.role(id).await?.ok_or(problems::NOT_FOUND)?;
        Ok(User { id, role })
    }

    async fn exist(&self, ids: &[UserId]) -> Result<Existences<UserId>, Problem> {
        if ids.is_empty() {
            return Ok(Existences::new());
        }
        Ok(existences(ids, &store::exist(&mut *self.db.read().await?, ids).await?))
    }

    async fn ensure(
        &self,
        alias: &str,
        role: Role,
        password: Option<&str>,
    ) -> Result<Option<String>, Problem> {
        rules::check_alias(alias)?;
        password.map_or(Ok(()), rules::check_password)?;
        if let Some(name) = self.named(alias).await?
            && self.adjust(name.account_id, role, password).await?
        {
            return Ok(None);
        }
        let generated = password.is_none().then(|| self.secrets.generate());
        let id = self.add(role, password.or(generated.as_deref()).unwrap_or_default()).await?;
        match self.give_name(id, alias).await {
            Ok(()) => Ok(generated),
            Err(problem) => {
                // Another process was first, and its user is the one. Ours has no name and goes.
                self.remove(id, role).await?;
                let Some(name) = self.named(alias).await? else { return Err(problem) };
                if self.adjust(name.account_id, role, password).await? { Ok(None) } else { Err(problem) }
            }
        }
    }
}
