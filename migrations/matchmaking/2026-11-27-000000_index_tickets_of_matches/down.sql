drop index matchmaking.ticket_match;
