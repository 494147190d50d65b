#!/bin/bash
# Routes of the API against the same in FastAPI + uvicorn (uvloop, httptools; PyPI, pinned in
# spec/bench/fastapi/requirements.txt) on a copy of the same SQLite file: one core for the server,
# another for the load (wrk, 64 connections kept alive), rounds in turn, ratios of one run: of requests
# a second, which other work on the machine disturbs, and of requests per second of the server's own CPU
# time, which it disturbs less. Then the latency of ours at half of the requests a second it can take,
# which fall due by chance, each measured from the moment it was due (spec/bench/fastapi/pace.c).
#   spec/bench/api.sh [ROUNDS [SECONDS]]
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${CXB_BIN:-$PWD/build/cxbrt} pace=build/bench/pace rounds=${1:-3} seconds=${2:-4} connections=64
venv=$PWD/.cache/fastapi want=spec/bench/fastapi/requirements.txt
command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk" >&2; exit 1; }
[ -x "$pace" ] || { echo "$pace is missing: cmake --build build --target benches" >&2; exit 1; }
[ "$(nproc)" -ge 2 ] || { echo "two cores are needed" >&2; exit 1; }
if ! cmp -s "$want" "$venv/.installed"; then
  rm -rf "$venv"
  if ! { python3 -m venv "$venv" && "$venv/bin/pip" install -q -r "$want"; } >&2; then
    rm -rf "$venv"
    echo "skipped: FastAPI cannot be installed here (it needs PyPI)"
    exit 0
  fi
  cp "$want" "$venv/.installed"
fi

dir=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

wait_for() { # URL
  for _ in $(seq 200); do
    curl -sf -o /dev/null "$1" && return 0
    sleep 0.05
  done
  echo "no answer from $1" >&2
  tail -n 20 "$dir"/*.log >&2
  exit 1
}

export CXBCORE_SECRET=0123456789abcdef0123456789abcdef JWT_SECRET=fedcba9876543210fedcba9876543210
ours=$(free_port) theirs=$(free_port) json=$(free_port)
password=$(head -c 18 /dev/urandom | base64)
env CXB_API_LISTEN="127.0.0.1:$ours" CXB_RUN_DIR="$dir/run" CXB_STATE_DIR="$dir/state" CXB_RATE_SCALE=0 \
  CXB_LOG_LEVEL=warn CXB_ADMIN_EMAIL=bench@example.org CXB_ADMIN_PASSWORD="$password" \
  taskset -c 0 "$bin" api/api.lua 2>"$dir/ours.log" &
ours_pid=$!
pids+=($ours_pid)
wait_for "http://127.0.0.1:$ours/health/ready"
idle=$(awk '/^Pss:/ {print $2}' "/proc/$ours_pid/smaps_rollup")
login=$(curl -sf -H 'content-type: application/json' \
  -d "{\"email\":\"bench@example.org\",\"password\":\"$password\"}" "http://127.0.0.1:$ours/api/v1/auth/login")
BENCH_TOKEN=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["access_token"])' "$login")
BENCH_USER=$(python3 -c 'import json, sys; print(json.loads(sys.argv[1])["user"]["id"])' "$login")
BENCH_BOT=$(curl -sf -H "authorization: Bearer $BENCH_TOKEN" "http://127.0.0.1:$ours/api/v1/bots?limit=1" |
  python3 -c 'import json, sys; print(json.load(sys.stdin)["items"][0]["id"])')
export BENCH_TOKEN BENCH_USER BENCH_BOT BENCH_DB=$dir/theirs.db
python3 -c 'import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute("VACUUM INTO ?", (sys.argv[2],))' \
  "$dir/state/cxb.db" "$BENCH_DB"
BENCH_LISTEN=tcp:127.0.0.1:$json taskset -c 0 "$bin" spec/bench/http_json/service.lua 2>"$dir/json.log" &
json_pid=$!
pids+=($json_pid)
taskset -c 0 "$venv/bin/uvicorn" --app-dir spec/bench/fastapi app:app --port "$theirs" --log-level warning \
  --no-access-log --loop uvloop --http httptools 2>"$dir/theirs.log" &
theirs_pid=$!
pids+=($theirs_pid)
wait_for "http://127.0.0.1:$theirs/openapi.json"

ticks() { # of CPU a process has used, user and system
  awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"
}

without_errors() { # ERRORS KIND PORT
  [ "$1" = 0 ] || { echo "$2 on port $3: ${1:-no figures,} errors" >&2; tail -n 3 "$dir"/*.log >&2; exit 1; }
}

load() { # PID PORT KIND: requests a second, requests per CPU second, p50 and p99 in us
  local rate p50 p99 errors before
  before=$(ticks "$1")
  read -r rate p50 p99 errors < <(taskset -c 1 wrk -t1 -c$connections -d"${seconds}s" --timeout 30s \
    -s spec/bench/fastapi/load.lua "http://127.0.0.1:$2" -- "$3" "$RANDOM$RANDOM" | sed -n 's/^FIGURES //p')
  without_errors "$errors" "$3" "$2"
  awk -v r="$rate" -v s="$seconds" -v t=$(($(ticks "$1") - before)) -v hz="$(getconf CLK_TCK)" \
    -v a="$p50" -v b="$p99" 'BEGIN {printf "%d %d %d %d\n", r, r * s / (t / hz), a, b}'
}

half() { # PORT KIND RATE: p50 and p99 in us at half of that rate, and how late the load itself was
  local p50 p99 errors late
  read -r _ p50 p99 errors late < <(taskset -c 1 "$pace" spec/bench/fastapi/load.lua "$2" 127.0.0.1 "$1" \
    $connections $(($3 / 2)) "$seconds" "$RANDOM$RANDOM" | sed -n 's/^FIGURES //p')
  without_errors "$errors" "$2" "$1"
  echo "$p50 $p99 $late"
}

compare() { # NAME KIND PID PORT AIM [KIND OF THEIRS]
  local ratios=() rate cpu p50 p99 other other_cpu late
  for round in $(seq "$rounds"); do
    read -r other other_cpu p50 p99 < <(load "$theirs_pid" "$theirs" "${6:-$2}")
    read -r rate cpu p50 p99 < <(load "$3" "$4" "$2")
    printf '%-22s round %d: FastAPI %6d/s (%d per CPU s), ours %6d/s (%d per CPU s), p50 %d us, p99 %d us\n' \
      "$1" "$round" "$other" "$other_cpu" "$rate" "$cpu" "$p50" "$p99"
    ratios+=("$(awk -v a="$cpu" -v b="$other_cpu" -v c="$rate" -v d="$other" \
      'BEGIN {printf "%.1f %.1f", a / b, c / d}') $rate")
  done
  read -r cpu other rate < <(printf '%s\n' "${ratios[@]}" | sort -n | sed -n "$(((rounds + 1) / 2))p")
  read -r p50 p99 late < <(half "$4" "$2" "$rate")
  echo "= $1 / FastAPI: $cpu x per CPU second, $other x by requests a second ($5); $rate/s;" \
    "at $((rate / 2))/s p50 $p50 us, p99 $p99 us (the load itself late by $late us at p99)"
}

compare "JSON without store" json "$json_pid" "$json" "aim 3; p99 1 ms at half load"
compare "authenticated read" read "$ours_pid" "$ours" "aim 10, floor 4; p99 3 ms"
compare "durable result 20 KiB" result "$ours_pid" "$ours" "aim 10, floor 5; p99 25 ms"
compare "result, theirs checked" result "$ours_pid" "$ours" "no aim" checked
compare "config of a call" config "$ours_pid" "$ours" "aim 10; p99 10 ms"
echo "= API process, idle after its start: $(awk -v k="$idle" 'BEGIN {printf "%.1f", k / 1024}') MiB PSS (aim 40)"
