diesel::table! {
    accounts.account (id) {
        id -> BigInt,
        role -> Text,
        keyed -> Bool,
        secret -> Text,
        created -> Timestamptz,
        ver -> BigInt,
    }
}

diesel::table! {
    accounts.name (slot, value) {
        slot -> SmallInt,
        value -> Text,
        id -> BigInt,
        account_id -> BigInt,
        created -> Timestamptz,
    }
}
