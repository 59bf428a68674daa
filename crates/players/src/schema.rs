diesel::table! {
    players.profile (user_id, stage_id) {
        user_id -> BigInt,
        stage_id -> BigInt,
        body -> Text,
        ver -> BigInt,
        created -> Timestamptz,
        modified -> Timestamptz,
    }
}
