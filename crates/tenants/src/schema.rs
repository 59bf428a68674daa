diesel::table! {
    tenants.tenant (id) {
        id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    tenants.name (slot, value) {
        slot -> SmallInt,
        value -> Text,
        id -> BigInt,
        tenant_id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    tenants.permission (tenant_id, user_id, kind) {
        tenant_id -> BigInt,
        user_id -> BigInt,
        kind -> Text,
        id -> BigInt,
        created -> Timestamptz,
    }
}
