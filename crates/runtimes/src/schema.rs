diesel::table! {
    runtimes.pool (id) {
        id -> BigInt,
        created -> Timestamptz,
    }
}

diesel::table! {
    runtimes.host (pool_id, id) {
        pool_id -> BigInt,
        id -> BigInt,
        uri -> Text,
        tls_path -> Nullable<Text>,
        cpu -> Integer,
        memory -> Integer,
        max_containers -> Integer,
        state -> Text,
        public_address -> Nullable<Text>,
        created -> Timestamptz,
    }
}

diesel::table! {
    runtimes.runtime (id) {
        id -> BigInt,
        tenant_id -> BigInt,
        deployment_id -> BigInt,
        qualifier -> Text,
        repository -> Text,
        digest -> Text,
        cpu -> Integer,
        memory -> Integer,
        labels -> Jsonb,
        created -> Timestamptz,
        desired -> Text,
        observed -> Text,
        epoch -> Integer,
        host_id -> Nullable<BigInt>,
        password_digest -> Nullable<Text>,
        started -> Nullable<Timestamptz>,
        failures -> Integer,
        last_failure -> Nullable<Jsonb>,
        ports -> Jsonb,
        published -> Nullable<Jsonb>,
        connect_key -> Nullable<Text>,
    }
}

diesel::table! {
    runtimes.failure (deployment_id, runtime_id, attempt) {
        deployment_id -> BigInt,
        runtime_id -> BigInt,
        attempt -> Integer,
        at -> Timestamptz,
        body -> Jsonb,
    }
}
