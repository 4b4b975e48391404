#!/bin/bash
# Three hosts count the words of real files, by one PostgreSQL server. One host is cut off, one worker is killed, the
# server is killed and started again: the sum is that of `wc`.
#
# The hosts are network namespaces of this machine, which takes root. All that is begun here ends here.
#
#   cluster_demo.sh PROCESSION CLUSTER_WORDS DIRECTORY…
set -euo pipefail
procession=$(realpath "$1") words=$(realpath "$2")
shift 2
places=()
for place in "$@"; do places+=("$(realpath "$place")"); done

postgres=$(command -v postgres || ls /usr/lib/postgresql/*/bin/postgres 2>/dev/null | sort -V | tail -1 || true)
if [ -z "$postgres" ]; then echo "PostgreSQL is not installed: make postgres"; exit 1; fi
if [ "$(id -u)" != 0 ] || ! command -v ip >/dev/null; then
    echo "hosts are network namespaces here, which takes root and the command ip (iproute2)"; exit 1
fi
programs=$(dirname "$(realpath "$postgres")")

here=$(mktemp -d /tmp/cluster-demo.XXXXXX) net="pd$$" address=10.231.77.254
chown postgres "$here"; chmod 755 "$here"
workers=() server=
end() {
    for pid in "${workers[@]}"; do kill -KILL "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; done
    if [ -n "$server" ]; then kill -QUIT "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    for host in 1 2 3; do ip netns del "$net-$host" 2>/dev/null || true; done
    ip link del "$net" 2>/dev/null || true
    rm -rf "$here"
}
trap end EXIT
began=$(date +%s%N)
say() { printf '%6.1f s  %s\n' "$(( ($(date +%s%N) - began) / 100000000 ))e-1" "$*"; }

# The wire, and three hosts on it.
ip link add "$net" type bridge
ip addr add "$address/24" dev "$net"
ip link set "$net" up
for host in 1 2 3; do
    ip netns add "$net-$host"
    ip link add "$net$host" type veth peer name eth0 netns "$net-$host"
    ip link set "$net$host" master "$net" up
    ip -n "$net-$host" addr add "10.231.77.$host/24" dev eth0
    ip -n "$net-$host" link set eth0 up
    ip -n "$net-$host" link set lo up
done

as_postgres() { setpriv --reuid postgres --regid postgres --clear-groups "$@"; }
cd "$here"
as_postgres "$programs/initdb" --no-sync -D "$here/data" --auth=trust --username=postgres >"$here/initdb.log"
echo "host all all 10.231.77.0/24 trust" >>"$here/data/pg_hba.conf"
start_server() {
    as_postgres "$programs/postgres" -D "$here/data" -k "$here" -c listen_addresses="$address" -c log_min_messages=fatal \
        2>>"$here/log" &
    server=$!
    until "$programs/psql" -qXAt -h "$here" -U postgres -c 'SELECT 1' >/dev/null 2>"$here/psql.log"; do
        # What the killed one has left refuses the next for a moment.
        kill -0 "$server" 2>/dev/null || { sleep 0.1; start_server; return; }
        sleep 0.1
    done
}
start_server
say "a server at $address"
url="host=$address user=postgres dbname=postgres sslmode=disable"
"$procession" worker --init --connect "$url" 2>/dev/null || true

for host in 1 2 3; do
    ip netns exec "$net-$host" "$procession" worker --connect "$url" --pool words -n 2 -- "$words" 2>>"$here/workers.log" &
    workers+=($!)
    say "host $host: two workers"
done

mapfile -t files < <(find "${places[@]}" -type f -size -200k \( -name '*.md' -o -name '*.rs' -o -name '*.txt' -o -name copyright \) -print0 |
    # What is a word among other bytes, wc and we see differently.
    LC_ALL=C xargs -0 grep -LP '[^\t\n\r\x20-\x7e]' | sort)
expected=$(cat "${files[@]}" | LC_ALL=C wc -w)
say "$(printf "%d files; wc counts %'d words" "${#files[@]}" "$expected")"
"$words" "$url" "${files[@]}" >"$here/total" &
caller=$!

left() { "$programs/psql" -qXAt -h "$here" -U postgres -c "SELECT count(*) FROM procession.items" 2>/dev/null || echo ""; }
until_left() {
    while kill -0 "$caller" 2>/dev/null; do
        now=$(left)
        if [ -n "$now" ] && [ "$now" -gt 0 ] && [ "$now" -le "$1" ]; then return; fi
        sleep 0.02
    done
    say "everything was done before there were $1 items left: give it more files"; exit 1
}
all=${#files[@]}
until_left $((all * 3 / 4))
ip link set "${net}2" down
say "host 2 is cut off, with what its workers have"
until_left $((all / 2))
victim=$(pgrep -P "${workers[2]}" | head -1)
kill -KILL "$victim"
say "a worker of host 3 is killed"
until_left $((all / 3))
kill -KILL "$server"; wait "$server" 2>/dev/null || true
say "the server is killed"
start_server
say "the server is started again"
wait "$caller"
total=$(cat "$here/total")
say "$(printf "the pool counts %'d words" "$total")"
ip link set "${net}2" up
if [ "$total" != "$expected" ]; then say "that is WRONG"; exit 1; fi
say "as wc does"
