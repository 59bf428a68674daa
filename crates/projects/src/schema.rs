diesel::table! {
    projects.project (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    projects.stage (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        project_id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    projects.project_alias (tenant_id, value) {
        tenant_id -> BigInt,
        value -> Text,
        id -> BigInt,
        project_id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    projects.stage_alias (project_id, value) {
        project_id -> BigInt,
        value -> Text,
        id -> BigInt,
        stage_id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    projects.project_permission (project_id, user_id, kind) {
        project_id -> BigInt,
        user_id -> BigInt,
        kind -> Text,
        id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    projects.stage_permission (stage_id, user_id, kind) {
        stage_id -> BigInt,
        user_id -> BigInt,
        kind -> Text,
        id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::joinable!(project_permission -> project (project_id));
diesel::joinable!(stage_permission -> stage (stage_id));
diesel::joinable!(stage_alias -> stage (stage_id));
diesel::allow_tables_to_appear_in_same_query!(project, project_permission);
diesel::allow_tables_to_appear_in_same_query!(stage, stage_permission, stage_alias);
