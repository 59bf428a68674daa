-- Users of every role with what proves that they are who they say. `keyed`: the secret is the keyed digest of a
-- generated secret, else it is a bcrypt hash.
create table accounts.account (
    id bigint primary key,
    role text not null,
    keyed boolean not null,
    secret text not null,
    created timestamptz not null,
    ver bigint not null default 0
);

-- Second names of users. A name is unique among all users, so its row lives in the slot that the name itself
-- gives and not in the user's: there is no foreign key. A name whose user is gone stands for nothing.
create table accounts.name (
    slot smallint not null check (slot between 0 and 255),
    value text not null,
    id bigint not null,
    account_id bigint not null,
    created timestamptz not null,
    constraint name_key primary key (slot, value)
);
create index name_of_account on accounts.name (account_id);
