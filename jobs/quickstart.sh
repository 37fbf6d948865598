#!/usr/bin/env bash
# jobs/quickstart.sh: from a bare Debian or Ubuntu to a model trained on Fashion-MNIST spread over 100 clients.
# Run again, it skips what is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fedmpi=build/fedmpi
source=/usr/share/datasets/fashion-mnist
run=run/fashion-mnist
config=jobs/quickstart.ini

jobs/packages.sh dataset-fashion-mnist

if [[ ! -f build/cmake_install.cmake ]]; then
  cmake --preset release --log-level=WARNING -DFEDMPI_TESTS=OFF -DFEDMPI_BENCH=OFF >/dev/null
fi
[[ -f $fedmpi ]] || echo "Building $fedmpi, which takes a few minutes."
jobs/build.sh build fedmpi_app

if [[ ! -f $run/shards/shard-00000.h5 ]]; then  # the name that fedmpi shard gives last
  echo "Dealing Fashion-MNIST to 100 clients with unequal labels."
  $fedmpi shard idx:$source --clients 100 --partition dirichlet:0.5 --out $run/shards
fi

# One participant per core, and rank 0 beside them: it sleeps while it waits. More than 8 would not be worth
# their start for so small a model.
cores=$(nproc)
ranks=$(((cores < 8 ? cores : 8) + 1))
launch="mpirun --oversubscribe --bind-to none"
if [[ $EUID -eq 0 ]]; then launch+=" --allow-run-as-root"; fi
export OMPI_MCA_pml=ob1 OMPI_MCA_btl=^tcp,openib,usnic,ofi  # this machine alone, which may have no network
export OMPI_MCA_btl_vader_single_copy_mechanism=none        # containers often forbid one process to read another's memory
echo "Training: $launch -n $ranks $fedmpi train --config $config"
$launch -n $ranks $fedmpi train --config $config

cat <<END

Left in $run:
  config.ini    every option of the run        history.csv   a line per round
  latest.h5     the model and its history      shards/       the clients' data, and test.h5

Try next:
  $fedmpi inspect $run/latest.h5
  $fedmpi evaluate --checkpoint $run/latest.h5 --data $run/shards/test.h5
  $launch -n $ranks $fedmpi train --config $config --federation.rounds 200  # goes on
  /usr/bin/python3 -c 'import h5py, pandas; print(pandas.DataFrame(h5py.File("$run/latest.h5")["history"][:]))'  # python3-h5py, python3-pandas
END
