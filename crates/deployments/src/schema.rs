diesel::table! {
    deployments.deployment (id) {
        id -> BigInt,
        stage_id -> BigInt,
        tenant_id -> BigInt,
        project_id -> BigInt,
        version_id -> BigInt,
        config -> Jsonb,
        images -> Jsonb,
        created -> Timestamptz,
        listed -> Bool,
    }
}

diesel::table! {
    deployments.listed (stage_id, id) {
        stage_id -> BigInt,
        id -> BigInt,
        created -> Timestamptz,
        version_id -> BigInt,
    }
}
