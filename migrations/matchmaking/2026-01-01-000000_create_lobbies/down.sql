drop table matchmaking.matchmaker; drop table matchmaking.lobby;
