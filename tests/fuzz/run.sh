#!/usr/bin/env bash
# tests/fuzz/run.sh PROGRAM PARSER: libFuzzer on the kept corpus of that parser, for 3 s, or with FEDMPI_LONG=1 for 10^7
# runs. What breaks a parser stays in a file that the last lines name; mended, it belongs into the corpus.
set -euo pipefail
corpus=$(dirname "${BASH_SOURCE[0]}")/corpus/$2
found=$(mktemp -d "${TMPDIR:-/tmp}/fedmpi-fuzz-$2-XXXXXX")
limit=(-max_total_time=3 -timeout=10)
[[ -n ${FEDMPI_LONG:-} ]] && limit=(-runs=10000000 -timeout=100)  # there may be other work beside a long run
# No input needs more than 2 GiB. Leaks are looked for at the end, since looking after each run is slow.
FEDMPI_FUZZ=$2 "$1" "${limit[@]}" -rss_limit_mb=2048 -max_len=2048 -detect_leaks=0 -print_final_stats=1 \
  -verbosity=0 -artifact_prefix="$found/broken-" "$found" "$corpus"
rm -r "$found"
