#!/usr/bin/env bash
# jobs/build.sh FOLDER TARGET: builds with one compiler per core, but no more than memory holds at 1.5 GiB each.
set -euo pipefail

available_kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
by_memory=$((available_kib / (1536 * 1024)))
cores=$(nproc)
parallel=$((by_memory < cores ? by_memory : cores))
cmake --build "$1" --target "$2" --parallel $((parallel > 0 ? parallel : 1))
