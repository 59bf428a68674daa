diesel::table! {
    versions.version (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        project_id -> BigInt,
        config -> Text,
        created -> Timestamptz,
    }
}

diesel::table! {
    versions.image (version_id, qualifier) {
        version_id -> BigInt,
        qualifier -> Text,
        id -> BigInt,
        repository -> Text,
        tag -> Text,
        digest -> Text,
        created -> Timestamptz,
    }
}
