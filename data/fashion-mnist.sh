#!/bin/sh
# Fashion-MNIST (Debian's package dataset-fashion-mnist) as shards. Options after the directory go to fedmpi shard and
# replace the default, 100 clients by dirichlet:0.5; FEDMPI names the program, else it is the one built here or in PATH.
#   data/fashion-mnist.sh shards --clients 50 --partition iid
set -eu
source=/usr/share/datasets/fashion-mnist
out=${1:?usage: data/fashion-mnist.sh DIR [options of fedmpi shard]}
shift
if [ ! -d "$source" ]; then
  echo "$source: not there; apt-get install dataset-fashion-mnist" >&2
  exit 65
fi
if [ $# -eq 0 ]; then
  set -- --clients 100 --partition dirichlet:0.5
fi
built=$(dirname "$0")/../build/fedmpi
if [ ! -x "$built" ]; then built=fedmpi; fi
exec "${FEDMPI:-$built}" shard "idx:$source" --out "$out" "$@"
