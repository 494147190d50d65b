#!/bin/bash
# A JSON route (decode, build, encode) of ours against the same in nginx's Lua module: one core for
# the server, another for the load (wrk), keep-alive, 64 connections, rounds in turn, ratios of one run.
# Two ratios: requests a second, which other work on the machine disturbs, and requests per second of
# the server's own CPU time, which it disturbs less. The spread over the rounds tells what to believe.
#   spec/bench/http_json.sh [ROUNDS [SECONDS]]
# The module is unpacked below .cache/, never installed: it would remove libluajit-5.1-dev.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=${CXB_BIN:-$PWD/build/cxbrt}
rounds=${1:-3}
seconds=${2:-4}
connections=64
here=$PWD/spec/bench/http_json
root=$PWD/.cache/nginx-lua
packages=(libnginx-mod-http-lua libnginx-mod-http-ndk libluajit2-5.1-2 libpcre3 lua-resty-core lua-resty-lrucache)

command -v wrk >/dev/null || { echo "wrk is missing: apt-get install wrk" >&2; exit 1; }
[ "$(nproc)" -ge 2 ] || { echo "two cores are needed" >&2; exit 1; }

if [ ! -e "$root/.complete" ]; then
  rm -rf "$root"
  mkdir -p "$root/debs"
  (cd "$root/debs" && apt-get download "${packages[@]}" >/dev/null 2>&1)
  for deb in "$root"/debs/*.deb; do dpkg -x "$deb" "$root"; done
  touch "$root/.complete"
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

wait_for() {
  for _ in $(seq 100); do
    curl -sf -o /dev/null -X POST -d '{"items":[]}' "$1" && return 0
    sleep 0.05
  done
  echo "no answer from $1" >&2
  cat "$dir"/*.log >&2
  exit 1
}

ours=$(free_port)
theirs=$(free_port)
sed -e "s#@MODULES@#$root/usr/lib/nginx/modules#" -e "s#@ROOT@#$root#" -e "s#@DIR@#$dir#" \
  -e "s#@PORT@#$theirs#" "$here/nginx.conf" >"$dir/nginx.conf"

LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu taskset -c 0 \
  "$(command -v nginx || echo /usr/sbin/nginx)" -p "$dir" -c "$dir/nginx.conf" 2>"$dir/nginx.log" &
nginx_pid=$!
pids+=($nginx_pid)
BENCH_LISTEN=tcp:127.0.0.1:$ours taskset -c 0 "$bin" "$here/service.lua" 2>"$dir/cxbrt.log" &
ours_pid=$!
pids+=($ours_pid)
wait_for "http://127.0.0.1:$ours/json"
wait_for "http://127.0.0.1:$theirs/json"

ticks() { # of CPU a process has used, user and system
  awk '{sub(/.*\) /, ""); print $12 + $13}' "/proc/$1/stat"
}

# PID PORT PATH: requests a second, requests per CPU second, p99 in us, errors
load() {
  local before after rate p99 errors
  before=$(ticks "$1")
  read -r rate p99 errors < <(taskset -c 1 wrk -t1 -c$connections -d"${seconds}s" \
    -s "$here/post.lua" --latency "http://127.0.0.1:$2$3" | grep '^FIGURES' | cut -d' ' -f2-)
  after=$(ticks "$1")
  awk -v r="$rate" -v s="$seconds" -v t=$((after - before)) -v hz="$(getconf CLK_TCK)" -v p="$p99" \
    -v e="$errors" 'BEGIN {printf "%d %d %d %d\n", r, r * s / (t / hz), p, e}'
}

ratios=()
for round in $(seq "$rounds"); do
  read -r nginx nginx_cpu nginx_p99 e1 < <(load "$nginx_pid" "$theirs" /json)
  read -r json json_cpu json_p99 e2 < <(load "$ours_pid" "$ours" /json)
  read -r table table_cpu table_p99 e3 < <(load "$ours_pid" "$ours" /table)
  printf 'round %d: %-22s %6d/s %6d per CPU s, p99 %d us\n' "$round" "nginx" "$nginx" "$nginx_cpu" "$nginx_p99"
  printf 'round %d: %-22s %6d/s %6d per CPU s, p99 %d us\n' "$round" "ours" "$json" "$json_cpu" "$json_p99"
  printf 'round %d: %-22s %6d/s %6d per CPU s, p99 %d us\n' "$round" "ours, respond(table)" "$table" "$table_cpu" "$table_p99"
  [ $((e1 + e2 + e3)) = 0 ] || { echo "errors: nginx $e1, ours $e2, respond(table) $e3" >&2; exit 1; }
  ratios+=("$(awk -v a="$json" -v b="$nginx" -v c="$json_cpu" -v d="$nginx_cpu" -v e="$table_cpu" \
    'BEGIN {printf "%.2f %.2f %.2f", a / b, c / d, e / d}')")
done

median() { # COLUMN: the middle of the rounds, then all of them from low to high
  printf '%s\n' "${ratios[@]}" | cut -d' ' -f"$1" | sort -n |
    awk '{v[NR] = $1} END {printf "%.2f (rounds %.2f to %.2f)", v[int((NR + 1) / 2)], v[1], v[NR]}'
}
echo "= JSON route in Lua / nginx's Lua module, per CPU second of the server: $(median 2) (floor 0.6, aim 0.9)"
echo "= the same by requests a second of wall time: $(median 1)"
echo "= the answer encoded by respond(table) / nginx, per CPU second: $(median 3)"
