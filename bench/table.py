"""Measures ours, the peers and the machine's limits in turn, and prints the table of ratios as Markdown."""
import argparse
import datetime
import os
import platform
import statistics
import subprocess

import figures
import system_figures
from measure import ROOT, Machine, write_readme

ROWS = {
    1: lambda m: figures.training(m, "1", "softmax", 10, 0),
    2: lambda m: figures.training(m, "2", "mlp", 9, 0.5),
    3: lambda m: figures.training(m, "3", "2nn", 6, 0.5),
    4: figures.larger_batches,
    5: system_figures.exchange,
    6: system_figures.empty_round,
    7: figures.whole_round,
    8: figures.efficiency,
    9: system_figures.shards,
    10: system_figures.many_clients,
    11: system_figures.many_parameters,
    12: figures.evaluation,
    13: figures.regression,
}


def first_line(*command):
    done = subprocess.run(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


def describe_machine(machine):
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    rivals = machine.rivals()
    cores = machine.core_to_core()
    line = (f"; a cache line goes to another core and back in {statistics.median(cores):.0f} ns, now {min(cores):.0f}, "
            f"now {max(cores):.0f}") if cores else ""
    return (f"{datetime.date.today()}, {model}, {os.cpu_count()} cores, load {load:.1f} at the start; "
            f"{first_line('g++', '--version')}; {first_line('mpirun', '--version')}; "
            f"libxsmm {rivals['libxsmm']}, OpenBLAS, which has kernels for {', '.join(machine.kernels)} here; "
            f"revision {first_line('git', 'describe', '--always', '--dirty')}{'; --quick' if machine.quick else ''}{line}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", default="build")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter repetitions")
    parser.add_argument("--only", type=int, nargs="+", action="extend", choices=ROWS, metavar="N", help="these rows of the table")
    parser.add_argument("--write", action="store_true", help="also into bench/README.md")
    options = parser.parse_args()
    if options.write and options.only:
        parser.error("--write keeps what one run measured; with --only that is not the whole table")
    machine = Machine(options.build, options.quick)
    lines = []

    def say(line):
        lines.append(line)
        print(line, flush=True)

    say(describe_machine(machine) + "\n")
    say("| # | work | goal | measured | met |\n|---|---|---|---|---|")
    for number in options.only or ROWS:
        for f in ROWS[number](machine):
            met = {True: "yes", False: "no", None: ""}[f.met]
            say(f"| {f.number} | {f.work} | {f.goal} | {f.measured} | {met} |")
    if options.write:
        write_readme("table", "\n".join(lines))


if __name__ == "__main__":
    main()
