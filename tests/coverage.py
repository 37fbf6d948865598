"""coverage.py BUILD: the share of the lines of lib/ and app/ that ran, and of their branches, by folder and in all, from
the counters that a build with FEDMPI_COVERAGE has written. With --lines also which lines did not run."""

import collections
import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOAL = 90  # % of the lines


def counts_of(counters):
    """gcov's account of one object file: {(file, line): (runs, [runs of each branch that is not an exception's])}."""
    ended = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities", counters],
                           capture_output=True, text=True, check=True, cwd=counters.parent)
    found = {}
    for line in filter(None, ended.stdout.splitlines()):
        for file in json.loads(line)["files"]:
            path = pathlib.Path(os.path.normpath(counters.parent / file["file"]))
            if not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in ("lib", "app"):
                continue
            for row in file["lines"]:
                branches = [b["count"] for b in row["branches"] if not b["throw"]]
                key = (path.relative_to(ROOT), row["line_number"])
                runs, before = found.get(key, (0, []))
                found[key] = (runs + row["count"], before + branches)
    return found


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    counters = sorted(build.rglob("*.gcda"))
    if not counters:
        sys.exit(f"{build}: expected counters of a build with FEDMPI_COVERAGE, found none")
    lines = collections.Counter()
    branches = {}
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in pool.map(counts_of, counters):
            for key, (runs, taken) in found.items():
                lines[key] += runs
                # A header is compiled many times; the account with most branches stands for all.
                if len(taken) >= len(branches.get(key, [])):
                    before = branches.get(key, []) + [0] * len(taken)
                    branches[key] = [a + b for a, b in zip(taken, before)]

    folders = collections.defaultdict(lambda: [0, 0, 0, 0])
    for key, runs in lines.items():
        for name in (str(key[0].parent), "all"):
            share = folders[name]
            share[0] += runs > 0
            share[1] += 1
            share[2] += sum(count > 0 for count in branches.get(key, []))
            share[3] += len(branches.get(key, []))
    total = folders.pop("all")
    for name, (ran, every, taken, ways) in [*sorted(folders.items()), ("all", total)]:
        print(f"{name:<22}{100 * ran / every:6.1f} % of {every:5} lines {100 * taken / max(ways, 1):6.1f} % of {ways:5} branches")
    if "--lines" in sys.argv:
        for (path, number), runs in sorted(lines.items()):
            if runs == 0:
                print(f"{path}:{number}: did not run")
            elif 0 in branches.get((path, number), []) and str(path).startswith("lib/checkpoint"):
                print(f"{path}:{number}: {branches[path, number]} of its branches")
    if 100 * total[0] < GOAL * total[1]:
        sys.exit(f"expected {GOAL} % of the lines to run, found {100 * total[0] / total[1]:.1f}")


if __name__ == "__main__":
    main()
