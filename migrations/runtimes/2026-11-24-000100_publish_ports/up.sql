-- `ports` are those of the wish; `published` is where the host has put them, and `connect_key` names the key whose
-- public half is in the container.
alter table runtimes.runtime
    add column ports jsonb not null default '[]',
    add column published jsonb,
    add column connect_key text;
