#!/bin/sh
# psql into the database of the server that runs on a data directory: scripts/db.sh [DATA [ARGUMENT…]].
set -eu
cd "$(dirname "$0")/.."

data="${1:-data}"
[ $# -eq 0 ] || shift
command -v psql >/dev/null 2>&1 || { echo "psql is missing: install postgresql-client" >&2; exit 1; }
# The fifth line of the file is the folder of the socket, the fourth one the port.
pid_file="$data/pg/data/postmaster.pid"
[ -e "$pid_file" ] || pid_file="$data/pg/postmaster.pid"
[ -e "$pid_file" ] || { echo "no PostgreSQL runs on $data: start a server with make run" >&2; exit 1; }
host=$(sed -n 5p "$pid_file") port=$(sed -n 4p "$pid_file")
# A short data directory has the socket's folder in it, and PostgreSQL a relative path to it.
case "$host" in /*) ;; *) host="$(cd "$data/pg" && pwd)/$(basename "$host")" ;; esac
exec psql -h "$host" -p "$port" -U omgservers omgservers "$@"
