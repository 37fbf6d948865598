#!/usr/bin/env bash
# tests/kill_campaign.sh [KILLS [SEED]]: kills random ranks of random runs at random times, 1,000 times if not told
# otherwise; every run goes on to the same bits. Needs a build in build/ (tests/run.sh, or jobs/quickstart.sh).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export FEDMPI_KILLS=${1:-1000} FEDMPI_SEED=${2:-$RANDOM}
export FEDMPI=${FEDMPI:-$PWD/build/fedmpi}
export OMPI_MCA_rmaps_base_oversubscribe=1 PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export OMPI_MCA_hwloc_base_binding_policy=none PRTE_MCA_hwloc_default_binding_policy=none
export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_pml=ob1 OMPI_MCA_btl=^tcp,openib,usnic,ofi
echo "$FEDMPI_KILLS kills, seed $FEDMPI_SEED"
exec /usr/bin/python3 -B tests/whole_run/kills_test.py Kills.test_at_random_times
