-- A pool of Docker hosts.
create table runtimes.pool (
    id bigint primary key,
    created timestamptz not null
);

-- A machine that runs containers. CPU: 100 = one core; memory: MiB.
create table runtimes.host (
    pool_id bigint not null references runtimes.pool (id),
    id bigint not null,
    uri text not null,
    tls_path text,
    cpu integer not null check (cpu > 0),
    memory integer not null check (memory > 0),
    max_containers integer not null check (max_containers >= 0),
    state text not null check (state in ('active', 'cordoned', 'draining')),
    public_address text,
    created timestamptz not null,
    primary key (pool_id, id),
    constraint host_uri_key unique (pool_id, uri)
);

-- `desired` is the wish and belongs to the service; all columns below it are what became of the wish and belong
-- to the reconciler. There is a host exactly while an attempt to run holds its capacity.
create table runtimes.runtime (
    id bigint primary key,
    tenant_id bigint not null,
    deployment_id bigint not null,
    qualifier text not null check (qualifier in ('LOBBY', 'MATCH')),
    repository text not null,
    digest text not null,
    cpu integer not null check (cpu > 0),
    memory integer not null check (memory > 0),
    labels jsonb not null,
    created timestamptz not null,
    desired text not null check (desired in ('run', 'stop')),
    observed text not null check (observed in ('pending', 'running', 'failed')),
    epoch integer not null check (epoch >= 0),
    host_id bigint,
    password_digest text,
    started timestamptz,
    failures integer not null check (failures >= 0),
    last_failure jsonb
);
create index runtime_deployment_idx on runtimes.runtime (deployment_id);

-- What went wrong with containers of a deployment; the newest 20 are kept. `attempt` is the runtime's number of
-- failures with this one, so that telling it twice makes one row.
create table runtimes.failure (
    deployment_id bigint not null,
    runtime_id bigint not null,
    attempt integer not null,
    at timestamptz not null,
    body jsonb not null,
    primary key (deployment_id, runtime_id, attempt)
);
