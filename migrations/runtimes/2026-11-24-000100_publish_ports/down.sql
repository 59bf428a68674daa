alter table runtimes.runtime
    drop column ports,
    drop column published,
    drop column connect_key;
