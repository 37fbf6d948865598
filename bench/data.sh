#!/usr/bin/env bash
# bench/data.sh [FEDMPI]: deals Fashion-MNIST to 1000 clients of 60 images and to 100 of 600, in run/bench; beside them
# two clients with so little data that a large model is all that counts.
set -euo pipefail
fedmpi=$(realpath "${1:-$(dirname "${BASH_SOURCE[0]}")/../build/fedmpi}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for clients in 1000 100; do
  [[ -f run/bench/$clients/shard-00000.h5 ]] && continue
  "$fedmpi" shard idx:/usr/share/datasets/fashion-mnist --clients $clients --partition iid --out run/bench/$clients
done
[[ -f run/bench/tiny/shard-00000.h5 ]] || "$fedmpi" shard synthetic:1,1 --clients 2 --partition iid --out run/bench/tiny
