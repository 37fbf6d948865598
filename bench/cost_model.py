"""The time of a round on machines that are not here: measures latency, bandwidth and compute on this one, checks the
model on other numbers of ranks than it was fitted to, and predicts. README.md explains the formula."""
import argparse
import bisect
import math
import os
from dataclasses import dataclass

from figures import WORKS, work_options
from measure import Machine, alternate, write_readme

SIZES = [100, 10_000, 100_000, 1_000_000, 10_000_000]
FLOAT, SUM = 4, 8  # bytes of a parameter: of weights and an update, and of a sum
BLOCK = 2**18  # parameters, of a sum that one node sends on while the next are added up
CORES = os.cpu_count()


def last_cache():
    """Bytes of the last level of this machine's cache; where a virtual machine does not tell, those of many servers."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index3/size", encoding="ascii") as file:
            return int(file.read().removesuffix("K\n")) << 10
    except FileNotFoundError:
        return 32 << 20


CACHE = last_cache()


class Curve:
    """Seconds that so many bytes take: straight lines through what was measured, the last of which goes on."""

    def __init__(self, times, size):
        """From {parameters: seconds}, of `size` bytes a parameter."""
        self.points = [(size * d, time) for d, time in sorted(times.items())]
        self.latency = self.points[0][1]

    def __call__(self, size):
        end = min(max(1, bisect.bisect(self.points, (size,))), len(self.points) - 1)
        (x, y), (x_end, y_end) = self.points[end - 1:end + 1]
        return y + (size - x) * (y_end - y) / (x_end - x)

    def __str__(self):
        (x, y), (x_end, y_end) = self.points[-2:]
        return f"{1e6 * self.latency:.1f} µs and, of long vectors, {1e-9 * (x_end - x) / (y_end - y):.1f} GB/s"


@dataclass
class Model:
    first: Curve  # participant of a node
    further: Curve  # participants, of which only what grows with the bytes counts
    message: Curve  # between nodes
    overlap: float  # messages under way at once where all nodes are this machine
    switch: float  # seconds until a rank that has to wait for a core has had its turn
    near_step: float  # seconds per parameter of rank 0's own step, in the cache
    far_step: float  # and beyond it
    training: float  # seconds per parameter and example

    def inside(self, ranks, d):
        """Rank 0 hears its participants one after the other; what they bring is added up by all of them."""
        if ranks == 1:
            return 0.0
        size = (FLOAT + SUM) * d
        more = self.first.latency + max(0.0, self.further(size) - self.further.latency)
        return self.first(size) + (ranks - 2) * more

    def crowd(self, ranks, cores):
        """Ranks of one machine beyond its cores wait for one."""
        return max(0, ranks - cores) * self.switch

    def between(self, nodes, d, up, at_once):
        """The weights go down a binomial tree; another one adds up what the nodes but rank 0's have, `up` bytes a
        parameter, and its root sends one block on to rank 0 while the next is added up, so that nothing hides the last.
        No more than `at_once` of the messages, one for each node but rank 0's, can be under way together."""
        if nodes == 1:
            return 0.0
        weights, sums = self.message(FLOAT * d), self.message(up * d)
        last = sums if nodes == 2 else self.message(up * min(d, BLOCK))
        crowd = (nodes - 1) / at_once
        down = max(math.ceil(math.log2(nodes)), crowd) * weights
        return down + max(math.ceil(math.log2(nodes - 1)) * sums + last, crowd * sums)

    def exchange(self, ranks, d, per_node, at_once=math.inf):
        """With cores enough."""
        nodes = math.ceil(ranks / per_node)
        up = FLOAT if ranks == nodes == 2 else SUM  # between two the only update goes as it is
        return self.inside(min(ranks, per_node), d) + self.between(nodes, d, up, at_once)

    def exchange_here(self, ranks, d, per_node):
        """All of them on this machine, where the messages of a tree share the cores."""
        return self.exchange(ranks, d, per_node, self.overlap) + self.crowd(ranks, CORES)

    def round(self, ranks, clients, d, examples):
        """On one node of this machine."""
        return clients / (ranks - 1) * self.compute(d, examples) + self.exchange_here(ranks, d, ranks) + self.step(d)

    def compute(self, d, examples):
        """One client, one epoch."""
        return self.training * d * examples

    def step(self, d):
        return d * (self.near_step if 12 * d <= CACHE else self.far_step)


def exchange_times(machine, name, ranks):
    def of(d):
        return lambda: machine.benchmark("exchange_bench", f"^{name}/{d}/", ranks=ranks,
                                         environment={"FEDMPI_BENCH_PARAMETERS": str(d)})[f"{name}/{d}"]["median_us"]

    return dict(zip(SIZES, (1e-6 * micro for micro in alternate(machine.repeats, *map(of, SIZES)))))


def parameters_of(work):
    widths = WORKS[work][3]
    return sum((inputs + 1) * outputs for inputs, outputs in zip(widths, widths[1:]))


def step_time(machine, hidden):
    """Seconds per parameter of rank 0's own step, for a network with two such hidden layers."""
    parameters = 784 * hidden + hidden * hidden + hidden * 10 + 2 * hidden + 10
    (run,) = alternate(machine.repeats, lambda: machine.round(
        2, data__shards="run/bench/1000", model__kind="mlp", model__hidden=f"{hidden},{hidden}", client__batch=10,
        federation__cohort=1, federation__rounds=max(12, 40_000_000 // parameters)))
    return run["server"] / parameters


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    parser.add_argument("--per-node", type=int, default=64, help="ranks of a node in the predictions")
    options = parser.parse_args()
    machine = Machine(options.build, options.quick)

    (training,) = alternate(machine.repeats, lambda: machine.benchmark("local_training_bench", "^train/2nn/B:10$"))
    images = WORKS["2nn"][2]
    measured = {ranks: exchange_times(machine, "ours", ranks) for ranks in (2, 3, 4, 8, 16)}
    by_messages = {ranks: exchange_times(machine, "ours_by_mpi", ranks) for ranks in (2, 3, 4, 8)}
    first = Curve(measured[2], FLOAT + SUM)
    further = Curve({d: (measured[4][d] - measured[2][d]) / 2 for d in SIZES}, FLOAT + SUM)
    message = Curve({d: time / 2 for d, time in by_messages[2].items()}, FLOAT)
    large = SIZES[-2]
    overlap = 3 * (message(FLOAT * large) + message(SUM * large)) / by_messages[4][large]
    crowd = next((ranks for ranks in measured if ranks > max(3, CORES)), None)  # none: this node never has to switch
    extra = measured[crowd][SIZES[0]] - (crowd - 1) * first.latency if crowd else 0.0
    switch = max(0.0, extra) / (crowd - CORES) if crowd else 0.0
    model = Model(first, further, message, overlap, switch, step_time(machine, 200), step_time(machine, 2800),
                  1 / (training["train/2nn/B:10"]["clients"] * parameters_of("2nn") * images))
    lines = [f"In a node the first participant takes {first}, each further one {further}, of which "
             f"{1e6 * switch:.1f} µs are for its turn on one of {CORES} cores; between two nodes a message takes "
             f"{message}, and this machine has {overlap:.1f} of them under way at once; rank 0 takes "
             f"{1e9 * model.near_step:.2f} and {1e9 * model.far_step:.2f} ns a parameter; a participant "
             f"{1e12 * model.training:.0f} ps a parameter and example.\n",
             "| what | ranks | parameters | predicted µs | measured µs | measured / predicted |",
             "|---|---|---|---|---|---|"]
    off = []

    def check(what, ranks, d, predicted, time):
        off.append(time / predicted)
        lines.append(f"| {what} | {ranks} | {d:,} | {1e6 * predicted:,.1f} | {1e6 * time:,.1f} | {off[-1]:.2f} |")

    for ranks in (3, 8, 16):
        for d, time in measured[ranks].items():
            check("exchange", ranks, d, model.exchange_here(ranks, d, ranks), time)
    for ranks in (3, 4, 8):
        for d, time in by_messages[ranks].items():
            check("by messages", ranks, d, model.exchange_here(ranks, d, 1), time)
    for ranks, clients in (2, 1), (3, WORKS["mlp"][0]):  # all of them, so that each participant has as many
        (run,) = alternate(machine.repeats, lambda: machine.round(
            ranks, **{**work_options("mlp"), "federation__cohort": clients}))
        d = parameters_of("mlp")
        check(f"round of {clients:,}", ranks, d, model.round(ranks, clients, d, WORKS["mlp"][2]), run["seconds"])
    lines.append(f"\nWhat was measured lies between {min(off):.2f} and {max(off):.2f} times what is predicted.")

    lines += [f"\nA round of one client of {images} examples on each participant, {options.per_node} ranks a node:\n",
              "| ranks | parameters | compute s | exchange s | rank 0's step s | share of exchange and step |",
              "|---|---|---|---|---|---|"]
    for ranks in (16, 128, 1024, 16384):
        for d in (10**4, 10**6, 10**8, 10**9):
            compute, step = model.compute(d, images), model.step(d)
            exchange = model.exchange(ranks, d, options.per_node)
            share = (exchange + step) / (compute + exchange + step)
            lines.append(f"| {ranks:,} | {d:,} | {compute:.3g} | {exchange:.3g} | {step:.3g} | {share:.0%} |")
    print("\n".join(lines))
    if options.write:
        write_readme("model", "\n".join(lines))


if __name__ == "__main__":
    main()
