drop table runtimes.failure;
drop table runtimes.runtime;
drop table runtimes.host;
drop table runtimes.pool;
