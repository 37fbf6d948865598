"""The rows of the table about moving bytes: exchange, shards, many clients, many parameters."""
import os

from figures import Figure, work_options
from measure import DATA, alternate

RANKS = [2, 3, 4, 5]
SIZES = [7850, 100_000, 1_000_000, 10_000_000]
EXCHANGES = ["ours", "ours_by_mpi", "handover", "shared_additions", "raw", "raw_same_bytes", "raw_by_participant",
             "exact_by_participant"]


def exchange_times(machine):
    """Microseconds by (what is done, parameters, ranks); "exactness" is what makes the sum exact, on one core."""
    micro = {}
    for n in RANKS:
        runs, peers, converting = alternate(
            machine.repeats,
            lambda: machine.benchmark("exchange_bench", f"^({'|'.join(EXCHANGES)})/", ranks=n),
            lambda: machine.peer("mpi4py_exchange.py", ranks=n),
            lambda: machine.benchmark("limits_bench", f"^convert/{n - 1}$", seconds=0.1))
        for name, run in {**runs, **peers}.items():
            what, size = name.split("/")
            micro[what, int(size), n] = run["median_us"]
        for size in SIZES:
            micro["exactness", size, n] = 1e6 * size / converting[f"convert/{n - 1}"]["items_per_second"]
    return micro


def exchange(machine):
    micro = exchange_times(machine)
    figures = []

    def ratios(of):
        return ", ".join(f"{of(n):.2f}" for n in RANKS) + " ×"

    def faster(size, than):
        """How much ours is, at the least, and what is said of it."""
        ratio = {n: micro[than, size, n] / micro["ours", size, n] for n in RANKS}
        return min(ratio.values()), ", ".join(f"{n} ranks {ratio[n]:.2f} × ({micro['ours', size, n]:,.1f} µs)"
                                              for n in RANKS)

    def moving(size, n, then=0.0):
        """Microseconds of an exchange that moves the vectors, the better way, and then does so much on one core."""
        return min(micro["handover", size, n] + then,
                   micro["shared_additions", size, n] + then / min(n, os.cpu_count()))

    for size in SIZES:
        goal = 4 if size <= 1_000_000 else 2
        least, said = faster(size, "raw")
        moved = ratios(lambda n: micro["raw", size, n] / moving(size, n))
        exact = ratios(lambda n: micro["raw", size, n] / moving(size, n, micro["exactness", size, n]))
        figures.append(Figure("5", f"exchange, {size:,} parameters",
                              f"≥ {goal} × MPI_Bcast + MPI_Reduce of float32",
                              f"{said}; moving the vectors, and no more, would be {moved}; with what makes the sum exact "
                              f"after it, {exact}", least >= goal))
    for size in SIZES:
        # Of two ranks the one update goes as it is, of more a sum of integers of 8 bytes.
        same = {n: micro["raw" if n == 2 else "raw_same_bytes", size, n] for n in RANKS}
        ratio = {n: micro["ours_by_mpi", size, n] / same[n] for n in RANKS}
        raw = ratios(lambda n: micro["raw_by_participant", size, n] / same[n])
        exact = ratios(lambda n: micro["exact_by_participant", size, n] / same[n])
        figures.append(Figure("5", f"exchange with shared memory off, {size:,} parameters",
                              "≤ 1.1 × what MPI takes for the same bytes",
                              ", ".join(f"{n} ranks {ratio[n]:.2f} ×" for n in RANKS) +
                              f"; MPI by way of a participant, so that rank 0 sees the sum alone, {raw}; and updates "
                              f"turned into integers before, the sum back after it, {exact}", max(ratio.values()) <= 1.1))
    for size in SIZES:
        for what, than in ("buffers", "buffers"), ("pickled objects", "pickled"):
            figures.append(Figure("", f"exchange against mpi4py's {what}, {size:,} parameters", "", faster(size, than)[1]))
    return figures


def empty_round(machine):
    run = alternate(machine.repeats, lambda: machine.round(
        2, **{**work_options("softmax", rounds=5000), "federation__cohort": 0, "federation__fraction": 1e-12,
              "federation__sampling": "poisson"}))[0]
    micro = 1e6 * run["seconds"]
    parts = ", ".join(f"{name} {1e6 * run[name]:.1f}" for name in ("broadcast", "train", "exchange", "server"))
    return [Figure("6", "an empty round, 2 ranks, 7,850 parameters", "≤ 20 µs", f"{micro:.1f} µs ({parts})",
                   micro <= 20)]


def shards(machine):
    path = f"{DATA}/1000/shard-00000.h5"
    ours, h5py, plain, streamed = alternate(
        machine.repeats, lambda: machine.benchmark("shard_bench", "^load$"),
        lambda: machine.peer("h5py_load.py", path),
        lambda: machine.benchmark("limits_bench", "^read_file$"),
        lambda: machine.benchmark("shard_bench", "^(read|read_checked|stream|stream_every_tenth)/"))
    load, plain = ours["load"]["real_time"], 1e-6 * plain["read_file"]["real_time"]  # a child opens the file first
    ratio = h5py["milliseconds"] / load
    reads = machine.round(1, **work_options("softmax"))["reads"]

    def share(name, cache):
        speed, most = (streamed[f"{n}/{cache}/real_time"]["bytes_per_second"] for n in (name, "read"))
        checked = streamed[f"read_checked/{cache}/real_time"]["bytes_per_second"]
        return speed / most, (f"{speed / most:.0%} ({1e-9 * speed:.2f} GB/s against {1e-9 * most:.2f}); a plain read with "
                              f"checksums {checked / most:.0%}")

    (cold, cold_said), (warm, warm_said) = (share("stream", cache) for cache in ("cold", "warm"))
    return [Figure("9", "loading a shard of 47 MB", "≥ 2 × h5py",
                   f"{ratio:.2f} × ({load:.1f} ms, h5py {h5py['milliseconds']:.1f}, a plain read {plain:.1f})",
                   ratio >= 2),
            Figure("9", "file access in a later round, shard in memory", "none", f"{reads:g} reads a round",
                   reads == 0),
            Figure("9", "streaming all clients of a shard of 284 MB, of which an eighth may be held, from disk",
                   "≥ 80 % of a plain read, from disk too", cold_said, cold >= 0.8),
            Figure("9", "the same, in the system's cache", "≥ 80 % of a plain read, from there too", warm_said,
                   warm >= 0.8),
            Figure("9", "every tenth client, ten times over, from disk", "", share("stream_every_tenth", "cold")[1])]


def many_clients(machine):
    runs = alternate(machine.repeats, lambda: machine.benchmark("clients_bench", ".", seconds=0.02, turns=20))[0]
    read = machine.benchmark("limits_bench", "^read_at_random/")["read_at_random/25165824"]["cpu_time"]
    thousand, many, million = (runs[f"round_of_100/clients:{n}"] for n in (1000, 100_000, 1_000_000))
    figures = [Figure("", "100,000 clients on one participant", "≤ 64 bytes each beyond their data",
                      f"{many['bytes_per_client']:.1f} bytes", many["bytes_per_client"] <= 64)]
    for clients, run in ("100,000", many), ("1,000,000", million):
        ratio = run["cpu_time"] / thousand["cpu_time"]
        figures.append(Figure("10", f"a round over 100 of {clients} clients of one 8-byte example",
                              "as over 100 of 1,000; does not grow",
                              f"{ratio:.2f} × ({run['cpu_time']:.0f} µs against {thousand['cpu_time']:.0f}, "
                              f"or {10 * (run['cpu_time'] - thousand['cpu_time']):.0f} ns more a client; one read at "
                              f"random in 24 MiB takes {read:.0f}); grows by {run['growth_bytes']:.0f} bytes",
                              ratio <= 1.1 and run["growth_bytes"] < 4096))
    figures.append(Figure("10", "1,000,000 clients in one file: start", "under 5 s",
                          f"{million['start_seconds']:.2f} s; "
                          f"{million['bytes_per_client']:.1f} bytes a client beyond the data",
                          million["start_seconds"] < 5))
    return figures


def many_parameters(machine):
    parameters, ranks = 100_000_000, 3
    widths = [60, 9950, 9950, 10]  # of the whole run's network, which has 0.3 % fewer
    network = sum((a + 1) * b for a, b in zip(widths, widths[1:]))
    cores = min(ranks, os.cpu_count())
    runs, run, copies = alternate(
        1 if machine.quick else 3,
        lambda: machine.benchmark("exchange_bench", f"^(ours|ours_by_mpi|shared_additions|raw)/{parameters}/", ranks=ranks,
                                  environment={"FEDMPI_BENCH_PARAMETERS": str(parameters)}),
        lambda: machine.round(ranks, data__shards=f"{DATA}/tiny", model__kind="mlp", federation__cohort=2,
                              model__hidden=",".join(map(str, widths[1:-1])), client__lr=1e-6, federation__rounds=3),
        lambda: {"bytes_per_second": sum(copy["bytes_per_second"] for copy in machine.at_once(
            cores, "limits_bench", "memcpy/268435456", seconds=1))})
    exchange, by_mpi, moved, raw = (runs[f"{name}/{parameters}"]
                                    for name in ("ours", "ours_by_mpi", "shared_additions", "raw"))

    def peak(count, bytes_of, work, said=""):
        limit = 3 * 4 * count + (256 << 20)
        return Figure("11", work, "peak ≤ 3 × the vector + 256 MiB a rank",
                      f"{bytes_of / (4 * count):.2f} × the vector ({bytes_of / 2**20:,.0f} MiB{said}; limit "
                      f"{limit / 2**20:,.0f})", bytes_of <= limit)

    # Weights and update of each participant are read once, the sum is written once; memcpy reads and writes.
    floor = ((ranks - 1) * (4 + 4) + 4) * parameters / (2 * copies["bytes_per_second"])
    time = 1e-6 * exchange["median_us"]
    return [peak(parameters, exchange["peak_bytes"], f"exchange of {parameters:,} parameters, {ranks} ranks"),
            Figure("11", "the same, time", "≤ 1.2 × the bytes' floor",
                   f"{time / floor:.2f} × ({time:.2f} s against {floor:.2f}: 8 bytes a parameter and participant read, "
                   f"4 written, at the speed of memcpy on {cores} cores at once); moving the vectors, shared out, and no "
                   f"more {1e-6 * moved['median_us'] / floor:.2f} ×; MPI_Bcast + MPI_Reduce of float32 "
                   f"{1e-6 * raw['median_us']:.2f} s", time <= 1.2 * floor),
            peak(parameters, by_mpi["peak_bytes"], "the same with shared memory off",
                 f"; {1e-6 * by_mpi['median_us']:.2f} s"),
            peak(network, run["peak_bytes"], f"a whole run of {network:,} parameters, {ranks} ranks, 2 clients a round",
                 f", rank 0 {run['root_peak_bytes'] / 2**20:,.0f}")]
