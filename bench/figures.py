"""The rows of the table: for each work, what was measured and whether it meets the goal."""
import statistics
from dataclasses import dataclass

from measure import DATA, alternate


@dataclass
class Figure:
    number: str
    work: str
    goal: str
    measured: str
    met: bool = None  # None: no goal, or not measured


# name: (clients that the 60,000 images are dealt to, clients a round, images a client, layers)
WORKS = {
    "softmax": (1000, 100, 60, [784, 10]),
    "mlp": (1000, 100, 60, [784, 128, 10]),
    "2nn": (100, 10, 600, [784, 200, 200, 10]),
}


def model_options(model):
    widths = WORKS[model][3]
    if len(widths) == 2:
        return {"model__kind": "softmax"}
    return {"model__kind": "mlp", "model__hidden": ",".join(map(str, widths[1:-1]))}


def work_options(model, batch=10, rounds=20):
    clients, cohort, _, _ = WORKS[model]
    return {"data__shards": f"{DATA}/{clients}", "client__batch": batch, "federation__cohort": cohort,
            "federation__rounds": rounds, **model_options(model)}


def same_accuracy(ours, theirs, within):
    """Whether they are, and what is said of them."""
    same = abs(ours - theirs) <= within
    return same, f"{ours:.3f} and {theirs:.3f}{'' if same else ': NOT THE SAME'}"


def against_torch(machine, model, batch, limit):
    """Clients per second of ours and of PyTorch, and a sentence on their accuracies; with them in turn `limit`, which
    is given the environment that makes OpenBLAS take PyTorch's kernels, and whose result comes back last."""
    clients, cohort, _, _ = WORKS[model]
    test = f"{DATA}/{clients}/test.h5"

    def torch_loop(environment, rounds):
        return machine.peer("torch_fedavg.py", "--shard", f"{DATA}/{clients}/shard-00000.h5", "--test", test, "--model",
                            model, "--batch", batch, "--cohort", cohort, "--rounds", rounds, environment=environment)

    kernels, environment = machine.fastest_kernels(lambda e: torch_loop(e, 5)["clients_per_cpu_second"])
    rounds = (10 if machine.quick else 20) * (3 if batch == 600 else 1)  # of few steps more are needed to compare
    ours, torch, most = alternate(
        machine.repeats,
        lambda: machine.benchmark("local_training_bench", f"^(round|train)/{model}/B:{batch}$"),
        lambda: torch_loop(environment, rounds), lambda: limit(environment))
    accuracy = machine.round(1, **work_options(model, batch, rounds), data__test=test)["accuracy"]
    # Cohorts, orders and initial values are drawn otherwise.
    same, accuracies = same_accuracy(accuracy, torch["accuracy"], within=0.04)
    rate, peer = ours[f"round/{model}/B:{batch}"]["clients"], torch["clients_per_cpu_second"]
    said = (f"{rate / peer:.1f} × ({rate:,.0f} against {peer:,.0f} clients/s, with kernels for {kernels}; accuracy after "
            f"{rounds} rounds {accuracies})")
    return rate / peer, said, ours[f"train/{model}/B:{batch}"], same, most


def share_of_peak(train, most, ratio):
    """The share of the FMA peak that training reached, and what is said of it."""
    peak = most["fma_peak"]["GFLOP"]
    reached = train["GFLOP"] / peak
    return reached, (f"{train['GFLOP']:.0f} GFLOP/s, {reached:.0%} of {peak:.0f}; all of that would be "
                     f"{ratio / reached:.1f} ×")


def training(machine, number, model, goal, share):
    ratio, said, train, same, most = against_torch(
        machine, model, 10, lambda _: machine.benchmark("limits_bench", "^fma_peak$", seconds=0.2))
    reached, of_peak = share_of_peak(train, most, ratio)
    clients, cohort, images, widths = WORKS[model]
    work = f"{'-'.join(map(str, widths))}, {clients} clients × {images} images, {cohort} a round, B = 10"
    goals = f"≥ {goal} × the PyTorch loop" + (f", ≥ {share:.0%} of the FMA peak" if share else "")
    return [Figure(number, work, goals, f"{said}; {of_peak}", same and ratio >= goal and reached >= share)]


def batches(model, batch):
    """The sizes of the batches that train one client."""
    images = WORKS[model][2]
    return [min(batch, images - begin) for begin in range(0, images, batch)]


def products(machine, model, batch, environment):
    """The FMA peak and the matrix products that train one client, by each library, as limits_bench measures them."""
    widths = WORKS[model][3]
    layers = "|".join(f"{a}-{b}" for a, b in zip(widths, widths[1:]))
    sizes = "|".join(map(str, set(batches(model, batch))))
    return machine.benchmark("limits_bench", f"^(fma_peak|gemm/.*/({layers})/B:({sizes}))$", environment=environment, seconds=0.1)


def best_products(runs, model, batch, among):
    """CPU nanoseconds of those products, each by the one of these libraries that is best at it, and which they are."""
    widths = WORKS[model][3]
    total, libraries = 0.0, set()
    for size in batches(model, batch):
        for layer, (a, b) in enumerate(zip(widths, widths[1:])):
            for kind in ["forward", "gradient"] + (["backward"] if layer else []):
                times = {library: runs[name]["cpu_time"] for library in among
                         if (name := f"gemm/{library}/{kind}/{a}-{b}/B:{size}") in runs}
                libraries.add(min(times, key=times.get))
                total += min(times.values())
    return total, libraries


def larger_batches(machine):
    figures = []
    for model in WORKS:
        for batch in 32, 600:
            ratio, said, train, same, runs = against_torch(machine, model, batch,
                                                           lambda e: products(machine, model, batch, e))
            best, libraries = best_products(runs, model, batch, ["eigen", "openblas", "libxsmm"])
            own, _ = best_products(runs, model, batch, ["ours"])
            share = best / (1e3 * train["cpu_time"])
            whole = f": all {WORKS[model][2]} images of a client" if batch >= WORKS[model][2] else ""
            figures.append(Figure("4", f"{model}, B = {batch}{whole}", "≥ 1.3 × PyTorch, ≥ 85 % of the best GEMM's speed",
                                  f"{said}; {share_of_peak(train, runs, ratio)[1]}; of the best GEMM's speed "
                                  f"{share:.0%} ({', '.join(sorted(libraries))}), which with nothing else to do would be "
                                  f"{ratio / share:.2f} ×; in the products alone {best / own:.0%}",
                                  same and ratio >= 1.3 and share >= 0.85))
    return figures


def whole_round(machine):
    figures = []
    # Rounds for half a second and more: the first tenths of one pass on a core that has just been idle.
    for model, parameters, rounds in ("softmax", 7850, 200), ("2nn", 199210, 20):
        cohort = WORKS[model][1]
        run, alone, exchange = alternate(
            3 * machine.repeats, lambda: machine.round(2, **work_options(model, rounds=rounds)),
            lambda: machine.benchmark("local_training_bench", f"^train/{model}/B:10$"),
            lambda: machine.benchmark("exchange_bench", f"^ours/{parameters}/", ranks=2,
                                      environment={"FEDMPI_BENCH_PARAMETERS": str(parameters),
                                                   "FEDMPI_BENCH_UPDATES": str(cohort)}))
        compute = cohort * 1e-6 * alone[f"train/{model}/B:10"]["real_time"]
        moved = 1e-6 * exchange[f"ours/{parameters}"]["median_us"]
        ratio = run["seconds"] / (compute + moved)
        figures.append(Figure("7", f"a whole round, {model}, 2 ranks",
                              "≤ 1.10 × (compute + exchange, each alone); the history's parts within 5 % of the whole",
                              f"{ratio:.2f} × ({1e3 * run['seconds']:.2f} ms against {1e3 * compute:.2f} + "
                              f"{1e3 * moved:.3f}); the history's parts add up to {run['parts_share']:.1%}",
                              ratio <= 1.10 and abs(run["parts_share"] - 1) <= 0.05))
    return figures


def apart(machine, processes):
    """Microseconds that training a client takes in so many processes at once that know nothing of each other."""
    runs = machine.at_once(processes, "local_training_bench", "train/mlp/B:10", seconds=2)
    return statistics.mean(run["real_time"] for run in runs)


def efficiency(machine):
    # With all clients in every round: of a small cohort one participant by chance hosts more than the other.
    options = {**work_options("mlp", rounds=8 if machine.quick else 16), "federation__cohort": WORKS["mlp"][0]}
    one, two, threads, alone, together = alternate(
        machine.repeats, lambda: machine.round(2, **options), lambda: machine.round(3, **options),
        lambda: machine.round(2, **options, federation__threads=2), lambda: apart(machine, 1), lambda: apart(machine, 2))
    by_ranks, by_threads = (one["seconds"] / (2 * t["seconds"]) for t in (two, threads))
    waiting = machine.round(2, **work_options("2nn", rounds=10), client__epochs=5)["cpu_share"]
    return [Figure("8", "1 → 2 participants, MLP, all clients in every round", "≥ 95 % efficiency",
                   f"{by_ranks:.0%}; of two processes that know nothing of each other {alone / together:.0%}",
                   by_ranks >= 0.95),
            Figure("8", "1 → 2 threads in one participant, the same", "≥ 95 % efficiency", f"{by_threads:.0%}",
                   by_threads >= 0.95),
            Figure("8", "the aggregator while it waits", "under 2 % of a core", f"{waiting:.1%}", waiting < 0.02)]


def evaluation(machine):
    options = {**work_options("2nn"), "data__test": f"{DATA}/100/test.h5"}
    figures = []
    for ranks, whose, goal in (2, "rank 0's core has nothing else to do", 0.15), (3, "a participant on each core", None):
        every, never = alternate(3 * machine.repeats, lambda: machine.round(ranks, **options, eval__every=1),
                                 lambda: machine.round(ranks, **options))
        share = 1 - never["seconds"] / every["seconds"]
        figures.append(Figure("12", f"evaluation on 10,000 images, every round of the 2NN with 10 clients, {ranks} ranks: "
                              f"{whose}", f"≤ {goal:.0%} of the run" if goal else "",
                              f"{share:z.1%} (a round takes {1e3 * every['seconds']:.1f} ms, without evaluation "
                              f"{1e3 * never['seconds']:.1f})", share <= goal if goal else None))
    return figures


def regression(machine):
    steps = 10 if machine.quick else 20
    shard, test = f"{DATA}/100/shard-00000.h5", f"{DATA}/100/test.h5"

    def in_numpy(environment, steps):
        return machine.peer("numpy_regression.py", "--shard", shard, "--test", test, "--steps", steps,
                            environment=environment)

    kernels, environment = machine.fastest_kernels(lambda e: in_numpy(e, 5)["steps_per_second"])
    ours, numpy = alternate(
        machine.repeats,
        lambda: machine.round(1, data__shards=shard, data__test=test, model__kind="softmax", client__algorithm="fedsgd",
                              client__lr=0.1, federation__fraction=1, federation__rounds=steps),
        lambda: in_numpy(environment, steps))
    same, accuracies = same_accuracy(ours["accuracy"], numpy["accuracy"], within=0.002)
    ratio = 1 / (ours["seconds"] * numpy["steps_per_second"])
    return [Figure("", "softmax regression, gradient steps over all 60,000 images (FedSGD, all clients)", "",
                   f"{ratio:.1f} × NumPy ({1 / ours['seconds']:.1f} against {numpy['steps_per_second']:.1f} steps/s, with "
                   f"kernels for {kernels}; accuracy after {steps} steps {accuracies})", None if same else False)]
