-- The number of a client's newest assignment: grows by one with each decision, over restarts and owners.
alter table messaging.client_box add column assignment bigint not null default 0;

-- At which epoch of its slot a runtime's mailbox was opened. A token of its game server names this number.
alter table messaging.runtime_box add column opened bigint not null default 0;
