drop table matchmaking.ticket;
drop table matchmaking.match;
