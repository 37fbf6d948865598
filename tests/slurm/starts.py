"""starts.py FOLDER: a rank that does no more than start. When it has left MPI_Init stands in FOLDER/RANK.

Rank 0 stands still for a while, having begun, and the last rank begins meanwhile. When rank 0 went on stands in
FOLDER/went_on. All times are in seconds."""

import ctypes
import os
import subprocess
import sys
import time

BEGUN, HALF = 1, 0.5  # seconds until rank 0 has begun, and until the middle of its standing still


def main():
    folder, rank, ranks = sys.argv[1], int(os.environ["PMIX_RANK"]), int(os.environ["SLURM_NTASKS"])
    if rank == 0:
        subprocess.Popen(["sh", "-c", f"sleep {BEGUN}; kill -STOP $0; sleep {2 * HALF}; date +%s.%N >$1; kill -CONT $0",
                          str(os.getpid()), f"{folder}/went_on"])
    elif rank == ranks - 1:
        time.sleep(BEGUN + HALF)
    mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
    mpi.MPI_Init(None, None)
    with open(f"{folder}/{rank}", "w") as file:
        file.write(str(time.time()))
    mpi.MPI_Finalize()
    if rank == 0:
        with open(os.environ["FEDMPI_EXIT_FILE"], "w") as file:
            file.write("0")


if __name__ == "__main__":
    main()
