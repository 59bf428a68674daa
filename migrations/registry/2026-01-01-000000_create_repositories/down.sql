drop table registry.upload;
drop table registry.tag;
drop table registry.reference;
drop table registry.manifest;
drop table registry.link;
drop table registry.repository;
