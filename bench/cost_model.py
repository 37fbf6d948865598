"""The time of a round on machines that are not here: measures latency, bandwidth and compute on this one, checks the
model on other numbers of ranks than it was fitted to, and predicts. README.md explains the formula."""
import argparse
import math
import os
from dataclasses import dataclass

from figures import WORKS
from measure import Machine, alternate, write_readme

SIZES = [100, 10_000, 100_000, 1_000_000, 10_000_000]
BYTES = 4 + 8  # a parameter: float32 out, 64-bit fixed point back
CORES = os.cpu_count()


def last_cache():
    """Bytes of the last level of this machine's cache."""
    with open("/sys/devices/system/cpu/cpu0/cache/index3/size", encoding="ascii") as file:
        return int(file.read().removesuffix("K\n")) << 10


CACHE = last_cache()


@dataclass
class Link:
    """What one rank more on a node costs, or one stage more between nodes: seconds, and bytes per second of vectors
    that fit into the cache and of those that do not."""
    latency: float
    near: float
    far: float

    @classmethod
    def fit(cls, times):
        """To {parameters: seconds} of two ranks."""
        latency = times[SIZES[0]]
        near, far = (BYTES * d / (times[d] - latency) for d in SIZES[-2:])
        return cls(latency, near, far)

    def time(self, ranks, d):
        held = 4 * d * (ranks + 1)  # the update of each, and their sum
        return self.latency + BYTES * d / (self.near if held <= CACHE else self.far)

    def __str__(self):
        return f"{1e6 * self.latency:.1f} µs, {1e-9 * self.near:.1f} GB/s in the cache and {1e-9 * self.far:.1f} beyond it"


@dataclass
class Model:
    node: Link
    network: Link
    switch: float  # seconds until a rank that has to wait for a core has had its turn
    near_step: float  # seconds per parameter of rank 0's own step, in the cache
    far_step: float  # and beyond it
    gflops: float  # GFLOP/s of one participant

    def inside(self, ranks, d, cores):
        """Rank 0's memory serves the ranks of its node one after the other; those beyond its cores wait for one."""
        return (ranks - 1) * self.node.time(ranks, d) + max(0, ranks - cores) * self.switch

    def between(self, nodes, d):
        """A binomial tree, once down and once up."""
        return math.ceil(math.log2(nodes)) * self.network.time(2, d) if nodes > 1 else 0.0

    def exchange(self, ranks, d, per_node, cores):
        return self.inside(min(ranks, per_node), d, cores) + self.between(math.ceil(ranks / per_node), d)

    def compute(self, d, examples):
        """One client on each participant, one epoch: six operations a parameter and example."""
        return 6e-9 * d * examples / self.gflops

    def step(self, d):
        return d * (self.near_step if 12 * d <= CACHE else self.far_step)


def exchange_times(machine, name, ranks):
    def of(d):
        return lambda: machine.benchmark("exchange_bench", f"^{name}/{d}/", ranks=ranks,
                                         environment={"FEDMPI_BENCH_PARAMETERS": str(d)})[f"{name}/{d}"]["median_us"]

    return dict(zip(SIZES, (1e-6 * micro for micro in alternate(machine.repeats, *map(of, SIZES)))))


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
    measured = {ranks: exchange_times(machine, "ours", ranks) for ranks in (2, 3, 4, 8, 16)}
    node, network = Link.fit(measured[2]), Link.fit(exchange_times(machine, "raw_same_bytes", 2))
    crowd = next((ranks for ranks in measured if ranks > max(3, CORES)), None)  # none: this node never has to switch
    extra = measured[crowd][SIZES[0]] - (crowd - 1) * node.latency if crowd else 0.0
    switch = max(0.0, extra) / (crowd - CORES) if crowd else 0.0
    model = Model(node, network, switch, step_time(machine, 200), step_time(machine, 2800),
                  training["train/2nn/B:10"]["GFLOP"])
    lines = [f"In a node {node} a rank, and {1e6 * switch:.1f} µs for each rank beyond the {CORES} cores; between two "
             f"ranks by messages {network} a stage; rank 0 {1e9 * model.near_step:.2f} and {1e9 * model.far_step:.2f} ns "
             f"a parameter; a participant {model.gflops:.0f} GFLOP/s.\n",
             "| ranks | parameters | predicted µs | measured µs | measured / predicted |", "|---|---|---|---|---|"]
    off = []
    for ranks, times in measured.items():
        for d, time in times.items():
            predicted = model.exchange(ranks, d, ranks, CORES)
            off.append(time / predicted)
            lines.append(f"| {ranks} | {d:,} | {1e6 * predicted:,.1f} | {1e6 * time:,.1f} | {off[-1]:.2f} |")
    lines.append(f"\nWhat was measured lies between {min(off):.2f} and {max(off):.2f} times what is predicted.")

    images = WORKS["2nn"][2]
    lines += [f"\nA round of one client of {images} examples on each participant, {options.per_node} ranks a node:\n",
              "| ranks | parameters | compute s | exchange s | rank 0's step s | share of exchange and step |",
              "|---|---|---|---|---|---|"]
    for ranks in (16, 128, 1024, 16384):
        for d in (10**4, 10**6, 10**8, 10**9):
            compute, step = model.compute(d, images), model.step(d)
            exchange = model.exchange(ranks, d, options.per_node, options.per_node)
            share = (exchange + step) / (compute + exchange + step)
            lines.append(f"| {ranks:,} | {d:,} | {compute:.3g} | {exchange:.3g} | {step:.3g} | {share:.0%} |")
    print("\n".join(lines))
    if options.write:
        write_readme("model", "\n".join(lines))


if __name__ == "__main__":
    main()
