diesel::table! {
    registry.repository (tenant_id, project_id, kind) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        created -> Timestamptz,
    }
}

diesel::table! {
    registry.link (tenant_id, project_id, kind, digest) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        digest -> Text,
        size -> BigInt,
        touched -> Timestamptz,
    }
}

diesel::table! {
    registry.manifest (tenant_id, project_id, kind, digest) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        digest -> Text,
        media_type -> Text,
        size -> BigInt,
        subject -> Nullable<Text>,
        artifact_type -> Nullable<Text>,
        annotations -> Nullable<Jsonb>,
        touched -> Timestamptz,
    }
}

diesel::table! {
    registry.reference (tenant_id, project_id, kind, parent, target) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        parent -> Text,
        target -> Text,
    }
}

diesel::table! {
    registry.tag (tenant_id, project_id, kind, name) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        name -> Text,
        digest -> Text,
        touched -> Timestamptz,
    }
}

diesel::table! {
    registry.upload (tenant_id, project_id, kind, id) {
        tenant_id -> BigInt,
        project_id -> BigInt,
        kind -> Text,
        id -> Text,
        touched -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(link, manifest, reference, repository, tag, upload);

diesel::define_sql_function! {
    /// Held until the transaction ends; waits for `pg_advisory_xact_lock` of the same key.
    fn pg_advisory_xact_lock_shared(key: diesel::sql_types::BigInt);
}
diesel::define_sql_function! {
    /// Held until the transaction ends; waits for every other lock of the same key.
    fn pg_advisory_xact_lock(key: diesel::sql_types::BigInt);
}
