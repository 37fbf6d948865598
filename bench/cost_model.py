"""The time of a round on machines that are not here: measures latency, bandwidth and compute on this one, checks the
model on other numbers of ranks than it was fitted to, and predicts. README.md explains the formula."""
import argparse
import math

from figures import WORKS
from measure import Machine, alternate, write_readme

SIZES = [100, 10_000, 100_000, 1_000_000]
BYTES = 4 + 8  # a parameter: float32 out, 64-bit fixed point back


class Model:
    """T = stages · (latency + bytes / bandwidth) inside a node, and the same between nodes, beside the compute."""

    def __init__(self, node, network, server, gflops):
        self.node, self.network = node, network  # (latency in s, bytes per s) of one rank more, of one stage more
        self.server, self.gflops = server, gflops  # seconds per parameter at rank 0; GFLOP/s of one participant

    def inside(self, ranks, d):
        """Rank 0's memory serves the ranks of its node one after the other."""
        latency, bandwidth = self.node
        return (ranks - 1) * (latency + BYTES * d / bandwidth)

    def between(self, nodes, d):
        """A binomial tree, once down and once up."""
        latency, bandwidth = self.network
        return math.ceil(math.log2(nodes)) * (latency + BYTES * d / bandwidth) if nodes > 1 else 0.0

    def exchange(self, ranks, d, per_node):
        return self.inside(min(ranks, per_node), d) + self.between(math.ceil(ranks / per_node), d)

    def compute(self, d, examples):
        """One client on each participant, one epoch: six operations a parameter and example."""
        return 6e-9 * d * examples / self.gflops


def fit(times):
    """Latency and bandwidth of `stages · (latency + BYTES · d / bandwidth)` for times {(stages, d): seconds}: the
    smallest size gives the latency, the largest the bandwidth."""
    sizes = sorted({d for _, d in times})
    small, large = (min(t / stages for (stages, size), t in times.items() if size == d) for d in (sizes[0], sizes[-1]))
    per_byte = (large - small) / (BYTES * (sizes[-1] - sizes[0]))
    return max(small - BYTES * sizes[0] * per_byte, 0.0), 1 / per_byte


def exchange_times(machine, name, ranks):
    times = {}
    for d in SIZES:
        run = machine.benchmark("exchange_bench", f"^{name}/{d}/", ranks=ranks,
                                environment={"FEDMPI_BENCH_PARAMETERS": str(d)})
        times[(ranks - 1, d)] = 1e-6 * run[f"{name}/{d}"]["median_us"]
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    parser.add_argument("--per-node", type=int, default=64, help="ranks of a node in the predictions")
    options = parser.parse_args()
    machine = Machine(options.build, options.quick)

    (training,) = alternate(machine.repeats, lambda: machine.benchmark("local_training_bench", "^train/2nn/B:10$"))
    server = machine.round(2, data__shards="run/bench/100", model__kind="mlp", model__hidden="200,200",
                           federation__cohort=2, federation__rounds=20)["server"] / 199_210
    fitted = {**exchange_times(machine, "ours", 2), **exchange_times(machine, "ours", 3)}
    node, network = fit(fitted), fit(exchange_times(machine, "raw_same_bytes", 2))
    model = Model(node, network, server, training["train/2nn/B:10"]["GFLOP"])
    lines = [f"In a node {1e6 * node[0]:.1f} µs and {1e-9 * node[1]:.2f} GB/s a rank; between two ranks by messages "
             f"{1e6 * network[0]:.1f} µs and {1e-9 * network[1]:.2f} GB/s a stage; "
             f"rank 0 {1e9 * server:.2f} ns a parameter; a participant {model.gflops:.0f} GFLOP/s.\n",
             "| ranks | parameters | predicted µs | measured µs | measured / predicted |", "|---|---|---|---|---|"]
    for ranks in (2, 3, 4, 8, 16):
        for (_, d), time in exchange_times(machine, "ours", ranks).items():
            predicted = model.exchange(ranks, d, per_node=ranks)
            lines.append(f"| {ranks} | {d:,} | {1e6 * predicted:,.0f} | {1e6 * time:,.0f} | {time / predicted:.2f} |")

    images = WORKS["2nn"][2]
    lines += [f"\nA round of one client of {images} examples on each participant, {options.per_node} ranks a node:\n",
              "| ranks | parameters | compute s | exchange s | rank 0's step s | share of exchange and step |",
              "|---|---|---|---|---|---|"]
    for ranks in (16, 128, 1024, 16384):
        for d in (10**4, 10**6, 10**8, 10**9):
            compute, exchange = model.compute(d, images), model.exchange(ranks, d, options.per_node)
            step = server * d
            share = (exchange + step) / (compute + exchange + step)
            lines.append(f"| {ranks:,} | {d:,} | {compute:.3g} | {exchange:.3g} | {step:.3g} | {share:.0%} |")
    print("\n".join(lines))
    if options.write:
        write_readme("model", "\n".join(lines))


if __name__ == "__main__":
    main()
