#!/usr/bin/env bash
# tests/run.sh: installs what the tests need, builds, and runs all of them. Run again, it skips what is done.
set -euo pipefail

usage() {
  cat <<'END'
usage: tests/run.sh [--sanitize address|thread | --coverage] [--long] [CTEST ARGUMENTS …]

  --sanitize address|thread   build with AddressSanitizer and UndefinedBehaviorSanitizer, or with ThreadSanitizer,
                              in a folder of its own
  --coverage                  build with counters in a folder of its own, by clang, and print the share of the lines and
                              branches of lib/ and app/ that the tests ran, by folder
  --long                      run the long campaigns too
  --help                      this text

Other arguments go to ctest: tests/run.sh -R Hdf5, tests/run.sh -L mpi, tests/run.sh -N
END
}

preset=release
folder=build
packages=(libgtest-dev libbenchmark-dev dataset-fashion-mnist
  python3 python3-h5py python3-numpy python3-pandas slurm-wlm munge iproute2 clang libclang-rt-dev)
while [[ $# -gt 0 ]]; do
  case $1 in
    --help) usage; exit 0 ;;
    --coverage) preset=coverage; folder=build-coverage; packages+=(clang-19 llvm-19 libclang-rt-19-dev); shift ;;
    --long) export FEDMPI_LONG=1; shift ;;
    --sanitize)
      case ${2:-} in
        address) preset=asan ;;
        thread) preset=tsan ;;
        *) echo "--sanitize: expected address or thread, found '${2:-}'" >&2; exit 2 ;;
      esac
      folder=build-$2
      shift 2 ;;
    *) break ;;
  esac
done
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs/packages.sh "${packages[@]}"
echo "Building in $folder"
cmake --preset $preset --log-level=WARNING >/dev/null
jobs/build.sh $folder all

# More than there are cores: many tests wait for one another's ranks more than they compute.
run_tests=(ctest --test-dir $folder --no-tests=error --output-on-failure --parallel $(($(nproc) + 1)) "$@")
[[ $preset == coverage ]] || exec "${run_tests[@]}"

rm -rf $folder/profiles
failed=0
"${run_tests[@]}" || failed=$?
/usr/bin/python3 -B tests/coverage.py $folder || failed=$?
exit $failed
