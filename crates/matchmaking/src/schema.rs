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

diesel::table! {
    matchmaking.r#match (deployment_id, id) {
        deployment_id -> BigInt,
        id -> BigInt,
        matchmaker_id -> BigInt,
        mode -> Text,
        runtime_id -> BigInt,
        used -> Bool,
        stopped -> Bool,
        closing -> Bool,
        rationale -> Text,
        created -> Timestamptz,
    }
}

diesel::table! {
    matchmaking.ticket (deployment_id, id) {
        deployment_id -> BigInt,
        id -> BigInt,
        matchmaker_id -> BigInt,
        mode -> Text,
        body -> Text,
        match_id -> Nullable<BigInt>,
        group_index -> Nullable<Integer>,
        ending -> Nullable<Text>,
        created -> Timestamptz,
    }
}
