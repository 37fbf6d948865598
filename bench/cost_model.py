"""The time of a round on machines that are not here: measures latency, bandwidth and compute on this one, checks the
model on other numbers of ranks than it was fitted to, and predicts. README.md explains the formula."""
import argparse
import math
import os
from dataclasses import dataclass

from figures import WORKS, work_options
from measure import Machine, alternate, write_readme

SIZES = [100, 10_000, 100_000, 1_000_000, 10_000_000]
FLOAT, SUM = 4, 8  # bytes of a parameter: of weights and an update, and of a sum
CORES = os.cpu_count()


def last_cache():
    """Bytes of the last level of this machine's cache; where a virtual machine does not tell, those of many servers."""
    try:
        with open("/sys/devices/system/cpu/cpu0/cache/index3/size", encoding="ascii") as file:
            return int(file.read().removesuffix("K\n")) << 10
    except FileNotFoundError:
        return 32 << 20


CACHE = last_cache()


@dataclass
class Link:
    """What one rank more on a node costs, or one message between nodes: seconds, and bytes per second of vectors that
    fit into the cache and of those that do not."""
    latency: float
    near: float
    far: float

    @classmethod
    def fit(cls, times, transfers, size):
        """To {parameters: seconds} of two ranks: so many transfers, which are of `size` bytes a parameter together."""
        near, far = (size * d / (times[d] - times[SIZES[0]]) for d in SIZES[-2:])
        return cls(times[SIZES[0]] / transfers, near, far)

    def time(self, ranks, d, size):
        held = FLOAT * d * (ranks + 1)  # the update of each, and their sum
        return self.latency + size * d / (self.near if held <= CACHE else self.far)

    def __str__(self):
        return f"{1e6 * self.latency:.1f} µs, {1e-9 * self.near:.1f} GB/s in the cache and {1e-9 * self.far:.1f} beyond it"


@dataclass
class Model:
    node: Link
    network: Link
    switch: float  # seconds until a rank that has to wait for a core has had its turn
    near_step: float  # seconds per parameter of rank 0's own step, in the cache
    far_step: float  # and beyond it
    training: float  # seconds per parameter and example

    def inside(self, ranks, d):
        """Rank 0's memory serves the ranks of its node one after the other."""
        return (ranks - 1) * self.node.time(ranks, d, FLOAT + SUM)

    def crowd(self, ranks, cores):
        """Ranks of one machine beyond its cores wait for one."""
        return max(0, ranks - cores) * self.switch

    def between(self, nodes, d, up, at_once):
        """The weights go down a binomial tree; another one adds up what the nodes but rank 0's have, `up` bytes a
        parameter, and its root sends that on to rank 0. Of a tree's messages no more than `at_once` can be under way
        together."""
        if nodes == 1:
            return 0.0

        def tree(n):
            return max(math.ceil(math.log2(n)), (n - 1) / at_once)

        return (tree(nodes) * self.network.time(2, d, FLOAT)
                + (tree(nodes - 1) + 1) * self.network.time(2, d, up))

    def exchange(self, ranks, d, per_node, at_once=math.inf):
        """With cores enough."""
        nodes = math.ceil(ranks / per_node)
        up = FLOAT if ranks == nodes == 2 else SUM  # between two the only update goes as it is
        return self.inside(min(ranks, per_node), d) + self.between(nodes, d, up, at_once)

    def exchange_here(self, ranks, d, per_node):
        """All of them on this machine, where the messages of a tree share the cores."""
        return self.exchange(ranks, d, per_node, max(1, CORES // 2)) + self.crowd(ranks, CORES)

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
    node, network = Link.fit(measured[2], 1, FLOAT + SUM), Link.fit(by_messages[2], 2, FLOAT + FLOAT)
    crowd = next((ranks for ranks in measured if ranks > max(3, CORES)), None)  # none: this node never has to switch
    extra = measured[crowd][SIZES[0]] - (crowd - 1) * node.latency if crowd else 0.0
    switch = max(0.0, extra) / (crowd - CORES) if crowd else 0.0
    model = Model(node, network, switch, step_time(machine, 200), step_time(machine, 2800),
                  1 / (training["train/2nn/B:10"]["clients"] * parameters_of("2nn") * images))
    lines = [f"In a node {node} a rank, and {1e6 * switch:.1f} µs for each rank beyond the {CORES} cores; between two "
             f"nodes {network} a message; rank 0 {1e9 * model.near_step:.2f} and {1e9 * model.far_step:.2f} ns "
             f"a parameter; a participant {1e12 * model.training:.0f} ps a parameter and example.\n",
             "| what | ranks | parameters | predicted µs | measured µs | measured / predicted |",
             "|---|---|---|---|---|---|"]
    off = []

    def check(what, ranks, d, predicted, time):
        off.append(time / predicted)
        lines.append(f"| {what} | {ranks} | {d:,} | {1e6 * predicted:,.1f} | {1e6 * time:,.1f} | {off[-1]:.2f} |")

    for ranks, times in measured.items():
        for d, time in times.items():
            check("exchange", ranks, d, model.exchange_here(ranks, d, ranks), time)
    for ranks, times in by_messages.items():
        for d, time in times.items():
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
