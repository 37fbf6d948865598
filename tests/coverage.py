"""coverage.py BUILD [--lines]: the share of the lines of lib/ and app/ that ran, and of their branches, by folder and in
all, from what a build with FEDMPI_COVERAGE has counted. A branch is a condition of the source that was true, or was not:
false, or not met because of an exception just before. With --lines also what did not run. Fails where too little did."""

import collections
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
GOAL = 90  # % of the lines
WHOLE = "lib/checkpoint/"  # of whose branches all are to be taken


def llvm(tool, *arguments):
    return subprocess.run([f"llvm-{tool}-19", *arguments], stdout=subprocess.PIPE, text=True, check=True).stdout


def counted(build):
    """llvm-cov's account of the files of lib/ and app/: {path: account}."""
    profiles = sorted((build / "profiles").glob("*.profraw"))
    if not profiles:
        sys.exit(f"{build}: expected what a build with FEDMPI_COVERAGE has counted, found nothing")
    llvm("profdata", "merge", "--sparse", "--output", build / "profile", *profiles)
    programs = [build / "fedmpi", build / "tests/unit_tests"]  # hold all of the library; that it ran in others counts too
    exported = llvm("cov", "export", "--skip-functions", f"--instr-profile={build / 'profile'}",
                    *(f"--object={path}" for path in programs))
    files = {os.path.relpath(file["filename"], ROOT): file for file in json.loads(exported)["data"][0]["files"]}
    return {path: file for path, file in files.items() if path.startswith(("lib/", "app/"))}


def branches_of(file):
    """{(line, column): [times true, times false]}; of a template, over all that was made of it."""
    branches = {}
    for line, column, _, _, yes, no, *_ in file["branches"]:
        before = branches.get((line, column), [0, 0])
        branches[line, column] = [before[0] + yes, before[1] + no]
    return branches


def main():
    folders = collections.defaultdict(lambda: [0, 0, 0, 0])
    not_taken, not_run = [], []
    for path, file in sorted(counted(pathlib.Path(sys.argv[1]).resolve()).items()):
        branches = branches_of(file)
        for name in (os.path.dirname(path), "all"):
            share = folders[name]
            share[0] += file["summary"]["lines"]["covered"]
            share[1] += file["summary"]["lines"]["count"]
            share[2] += sum(times > 0 for both in branches.values() for times in both)
            share[3] += 2 * len(branches)
        not_run += [f"{path}:{line}:{column}: did not run" for line, column, times, has, begins, gap in file["segments"]
                    if has and begins and not gap and times == 0]
        not_taken += [f"{path}:{line}:{column}: was never {truth}" for (line, column), both in sorted(branches.items())
                      for truth, times in zip(("true", "false"), both) if times == 0]

    total = folders.pop("all")
    for name, (ran, lines, taken, branches) in [*sorted(folders.items()), ("all", total)]:
        print(f"{name:<22}{100 * ran / lines:6.1f} % of {lines:5} lines "
              f"{100 * taken / max(branches, 1):6.1f} % of {branches:5} branches")
    if "--lines" in sys.argv:
        print("\n".join(not_run + not_taken))
    assert folders[WHOLE.rstrip("/")][3] > 0, f"{WHOLE}: no branches counted"
    missing = [branch for branch in not_taken if branch.startswith(WHOLE)]
    if missing:
        sys.exit("\n".join([f"expected every branch of {WHOLE} to be taken:", *missing]))
    if 100 * total[0] < GOAL * total[1]:
        sys.exit(f"expected {GOAL} % of the lines to run, found {100 * total[0] / total[1]:.1f}")


if __name__ == "__main__":
    main()
