diesel::table! {
    deployments.deployment (stage_id, id) {
        stage_id -> BigInt,
        id -> BigInt,
        tenant_id -> BigInt,
        project_id -> BigInt,
        version_id -> BigInt,
        config -> Jsonb,
        images -> Jsonb,
        created -> Timestamptz,
    }
}
