#!/usr/bin/env bash
# jobs/build.sh FOLDER TARGET: builds with one compiler per core, but no more than memory holds at 1.5 GiB each.
set -euo pipefail

available_kib=$(awk '$1 == "MemAvailable:" { print $2 }' /proc/meminfo)
# A container or a login node may allow less: its control group, or one above it.
group=$(sed -n 's/^0:://p' /proc/self/cgroup)/
while [[ -n $group ]]; do
  group=${group%/*}
  limit=$(cat "/sys/fs/cgroup$group/memory.max" 2>/dev/null) || continue
  if [[ $limit != max ]] && ((limit / 1024 < available_kib)); then available_kib=$((limit / 1024)); fi
done
by_memory=$((available_kib / (1536 * 1024)))
cores=$(nproc)
parallel=$((by_memory < cores ? by_memory : cores))
cmake --build "$1" --target "$2" --parallel $((parallel > 0 ? parallel : 1))
