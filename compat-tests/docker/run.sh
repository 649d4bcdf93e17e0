#!/usr/bin/env bash
# `docker compose up` for real: clients on the host and in a second container produce to the broker and consume each
# other's records, before and after the container was killed and made anew on its volume.
#
# Uses the Docker engine of DOCKER_HOST with the image of BASE (python3 with venv, and kcat); where neither is given, an
# engine of its own and a Debian made by debootstrap, which needs root. Everything stands below WORK and is removed.
set -euo pipefail
cd "$(dirname "$0")/../.."
WORK=${WORK:-$(mktemp -d /tmp/tailrace-docker.XXXXXX)}
mkdir -p "$WORK"
# Debian's client: BuildKit is not in every static one.
docker=$([[ -x /usr/bin/docker ]] && echo /usr/bin/docker || command -v docker)
if "$docker" compose version >/dev/null 2>&1; then compose=("$docker" compose); else compose=(docker-compose); fi
compose+=(--project-name tailrace-trial --project-directory . -f docker-compose.yml -f compat-tests/docker/docker-compose.trial.yml)
engine=

say() { printf '%4d s  %s\n' "$SECONDS" "$*"; }

cleanup() {
    local result=$?
    ((result == 0)) || "${compose[@]}" logs --tail 50 2>&1 | tail -60 || true
    "${compose[@]}" down --volumes --timeout 5 >"$WORK/down.log" 2>&1 || true
    if [[ -n $engine ]]; then
        kill "$engine" 2>/dev/null || true
        wait "$engine" 2>/dev/null || true
        # An engine leaves its network namespace mounted.
        umount "$WORK"/exec/netns/* 2>/dev/null || true
    fi
    [[ -n ${KEEP:-} ]] || rm -rf "$WORK"
}
trap cleanup EXIT

start_engine() {
    export DOCKER_HOST="unix://$WORK/d.sock"
    dockerd -H "$DOCKER_HOST" --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/d.pid" \
        --storage-driver overlay2 --iptables=false --ip6tables=false --ip-forward=false --bridge=none \
        >"$WORK/dockerd.log" 2>&1 &
    engine=$!
    until "$docker" version >/dev/null 2>&1; do
        kill -0 "$engine" || { tail -5 "$WORK/dockerd.log" >&2; exit 1; }
        sleep 0.2
    done
    say "engine $("$docker" version --format '{{.Server.Version}}') is up"
}

make_base() {
    export BASE=tailrace-trial-base:bookworm
    "$docker" image inspect "$BASE" >/dev/null 2>&1 && return
    [[ -d $WORK/root ]] || debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates,kcat bookworm "$WORK/root" \
        >"$WORK/debootstrap.log"
    # The machine may reach its package index through a proxy with a certificate of its own.
    cp /etc/ssl/certs/ca-certificates.crt "$WORK/root/etc/ssl/certs/ca-certificates.crt"
    tar -C "$WORK/root" -c . | "$docker" import - "$BASE" >/dev/null
    rm -rf "$WORK/root"
    say "base image is made"
}

on_host() { timeout 30 kcat -q -b 127.0.0.1:9092 "$@"; }
in_container() { timeout 30 "${compose[@]}" exec -T client kcat -q -b broker:29092 "$@"; }

wait_until_healthy() {
    local id deadline=$((SECONDS + 60))
    id=$("${compose[@]}" ps -q broker)
    until [[ $("$docker" inspect --format '{{.State.Health.Status}}' "$id") == healthy ]]; do
        ((SECONDS < deadline)) || { echo "the broker did not become healthy" >&2; exit 1; }
        sleep 0.5
    done
    say "broker is healthy: $("${compose[@]}" logs --no-color broker 2>/dev/null | tail -1 | cut -c1-300)"
}

expect() { # WHAT WANTED GOT
    if [[ $2 != "$3" ]]; then
        printf 'not so: %s; the first differences:\n' "$1" >&2
        diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") | head -10 >&2
        exit 1
    fi
    say "$1"
}

[[ -n ${DOCKER_HOST:-} ]] || start_engine
[[ -n ${BASE:-} ]] || make_base
"${compose[@]}" build --quiet broker
say "image is built: $("$docker" image inspect tailrace:local --format '{{.Size}}' | numfmt --to=iec) bytes"
"${compose[@]}" up -d >"$WORK/up.log" 2>&1 || { cat "$WORK/up.log" >&2; exit 1; }
wait_until_healthy

host_records=$(seq -f 'host %.0f' 1000)
container_records=$(seq -f 'container %.0f' 1000)
on_host -P -t from-host <<<"$host_records"
in_container -P -t from-container <<<"$container_records"
expect "a container reads what the host wrote" "$host_records" "$(in_container -C -t from-host -o beginning -e)"
expect "the host reads what a container wrote" "$container_records" "$(on_host -C -t from-container -o beginning -e)"
expect "metrics are served to the host" "200" "$(curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9644/metrics)"

"${compose[@]}" kill -s KILL broker >/dev/null 2>&1
"${compose[@]}" rm -f broker >/dev/null 2>&1
"${compose[@]}" up -d >"$WORK/up.log" 2>&1
wait_until_healthy
expect "a new container has the records of the one that was killed" "$host_records" "$(on_host -C -t from-host -o beginning -e)"

# From the request to the container's own end: what compose needs to start is not the broker's time.
id=$("${compose[@]}" ps -q broker)
asked_ms=$(date +%s%3N)
"$docker" stop --time 10 "$id" >/dev/null
ended_ms=$(date -d "$("$docker" inspect --format '{{.State.FinishedAt}}' "$id")" +%s%3N)
say "the broker ended $((ended_ms - asked_ms)) ms after it was asked to"
expect "a stop ends the broker with 0 within 5 seconds" "0 quick" \
    "$("$docker" inspect --format '{{.State.ExitCode}}' "$id") $( ((ended_ms - asked_ms <= 5000)) && echo quick || echo slow)"
