diesel::table! {
    matchmaking.lobby (deployment_id, id) {
        deployment_id -> BigInt,
        id -> BigInt,
        runtime_id -> BigInt,
        closing -> Bool,
        created -> Timestamptz,
    }
}

diesel::table! {
    matchmaking.matchmaker (deployment_id, id) {
        deployment_id -> BigInt,
        id -> BigInt,
        created -> Timestamptz,
    }
}
