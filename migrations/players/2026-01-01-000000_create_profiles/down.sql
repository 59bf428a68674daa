drop table players.profile;
