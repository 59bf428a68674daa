-- Which process owns which slot of the data, and at which epoch. Every transaction that writes owned tables
-- reads its slots' rows `for share`.
create table core.slot (
    number smallint primary key check (number between 0 and 4095),
    node text not null default '',
    epoch bigint not null default 0
) with (fillfactor = 50);

-- The next block of ids of a slot. A row of its own: minting must not wait for a fence.
create table core.mint (
    number smallint primary key references core.slot (number),
    next_block integer not null default 0 check (next_block between 0 and 8388608)
);

insert into core.slot (number) select generate_series(0, 255);
insert into core.mint (number) select number from core.slot;
