drop table versions.image;
drop table versions.version;
