diesel::table! {
    core.slot (number) {
        number -> SmallInt,
        node -> Text,
        epoch -> BigInt,
    }
}

diesel::table! {
    core.mint (number) {
        number -> SmallInt,
        next_block -> Integer,
    }
}
