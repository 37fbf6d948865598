#!/usr/bin/env bash
# bench/run.sh [--quick] [--only N …] [--write] [--build FOLDER]: installs the peers, builds Release, and prints the
# table of bench/README.md as measured here and now. --quick repeats less; --only measures these rows; --write puts
# the table into bench/README.md; --build takes a folder that is built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs/packages.sh libgtest-dev libbenchmark-dev dataset-fashion-mnist libopenblas-dev libxsmm-dev \
  python3 python3-numpy python3-h5py python3-mpi4py python3-torch

build=build
for ((i = 1; i <= $#; ++i)); do
  if [[ ${!i} == --build ]]; then next=$((i + 1)); build=${!next:?}; given=yes; fi
done
if [[ -z ${given:-} ]]; then
  cmake --preset release --log-level=WARNING >/dev/null
  jobs/build.sh build fedmpi_app >&2
  jobs/build.sh build benchmarks >&2
fi
bench/data.sh "$build/fedmpi" >&2
exec /usr/bin/python3 -B bench/table.py "$@"
