"""Running benchmarks and peers, in turn, taking medians, and keeping what was found in README.md."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
DATA = "run/bench"  # what bench/data.sh made

# The processors whose kernels OpenBLAS may have. By itself it takes its oldest for one that is newer than it is, and
# OPENBLAS_CORETYPE may name slower ones than there are: what uses it tries them all (Machine.fastest_kernels).
OPENBLAS_KERNELS = "Haswell", "Zen", "SkylakeX", "Cooperlake", "Sapphirerapids"
CHOSEN_HERE = "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"
ENVIRONMENT = dict(
    {name: value for name, value in os.environ.items() if name not in CHOSEN_HERE},
    OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1",
    # Ranks may outnumber the cores here; OMPI_... is read by Open MPI 4, PRTE_... by Open MPI 5.
    OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
    OMPI_MCA_rmaps_base_oversubscribe="1", PRTE_MCA_rmaps_default_mapping_policy=":oversubscribe",
    OMPI_MCA_hwloc_base_binding_policy="none", PRTE_MCA_hwloc_default_binding_policy="none")

# What a benchmark may say instead of a figure. Anything else means that it went wrong.
NOT_HERE = "there is one core only", "libxsmm has no kernel for this shape"


class Machine:
    """Where and how to run: the build folder, and how often each thing is measured."""

    def __init__(self, build, quick):
        self.build, self.quick = os.path.abspath(build), quick
        self.repeats = 3 if quick else 5
        self.kernels = self.openblas_kernels()

    def openblas_kernels(self):
        """What makes OpenBLAS take each of the kernels that run here, {their processor: environment}."""
        found = {}
        for choice in {}, *({"OPENBLAS_CORETYPE": name} for name in OPENBLAS_KERNELS):
            done = subprocess.run(
                [f"{self.build}/bench/limits_bench", "--benchmark_filter=^gemm/openblas/forward/784-200/B:600$",
                 "--benchmark_min_time=0.01", "--benchmark_format=json"], env={**ENVIRONMENT, **choice},
                text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
            if done.returncode == 0:  # kernels of instructions that are not here end in SIGILL
                found.setdefault(json.loads(done.stdout)["context"].get("openblas", "none"), choice)
        return found

    def fastest_kernels(self, speed):
        """The name and the environment of the kernels with which speed(environment) is highest, tried twice each."""
        tried = [(max(speed(choice) for _ in range(2)), name) for name, choice in self.kernels.items()]
        name = max(tried)[1]
        return name, self.kernels[name]

    def run(self, command, ranks=0, environment=None):
        if ranks:
            command = ["mpirun", "-n", str(ranks), *command]
        done = subprocess.run(command, cwd=ROOT, env={**ENVIRONMENT, **(environment or {})}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr}")
        return done.stdout

    def benchmark(self, program, pattern, ranks=0, environment=None, seconds=None, turns=1):
        """Benchmarks whose names match, each run for so many seconds, in so many turns that alternate at random, as
        {name: the benchmark's JSON}; the medians of those that share a name."""
        runs = {}
        for run in self.results(program, pattern, ranks, environment, seconds, turns)["benchmarks"]:
            if run.get("error_occurred"):
                if run["error_message"] not in NOT_HERE:
                    sys.exit(f"{program}: {run['name']}: {run['error_message']}")
            elif run["run_type"] == "iteration":
                runs.setdefault(run["name"].split("/iterations:")[0], []).append(run)
        return {name: median_of(turns) for name, turns in runs.items()}

    def results(self, program, pattern, ranks=0, environment=None, seconds=None, turns=1):
        """All that Google Benchmark reports."""
        with tempfile.NamedTemporaryFile(suffix=".json") as out:
            command = [f"{self.build}/bench/{program}", f"--benchmark_filter={pattern}",
                       f"--benchmark_out={out.name}", "--benchmark_out_format=json"]
            seconds = seconds or (0.2 if self.quick else None)
            if seconds and not ranks:
                command.append(f"--benchmark_min_time={seconds}")
            if turns > 1:
                command += [f"--benchmark_repetitions={turns}", "--benchmark_enable_random_interleaving=true"]
            self.run(command, ranks, environment)
            return json.load(out)

    def at_once(self, processes, program, name, seconds):
        """That benchmark, run by so many processes at once, which know nothing of each other: what each found."""
        with ThreadPoolExecutor(processes) as pool:
            runs = pool.map(lambda _: self.benchmark(program, f"^{name}$", seconds=seconds), range(processes))
            return [run[name] for run in runs]

    def rivals(self):
        """The libraries that the matrix products are compared with, {name: what it says of itself}; none may be missing."""
        context = self.results("limits_bench", "^fma_peak$", seconds=0.01)["context"]
        missing = [name for name in ("openblas", "libxsmm") if name not in context]
        if missing:
            sys.exit(f"{self.build}/bench/limits_bench was built without {' and '.join(missing)}: "
                     "run bench/run.sh without --build")
        return {name: context[name] for name in ("openblas", "libxsmm")}

    def core_to_core(self):
        """Nanoseconds that a cache line takes to another core and back, at forty moments; none if there is no other."""
        found = (self.benchmark("limits_bench", "^core_to_core/", seconds=0.01) for _ in range(40))
        return [run["real_time"] for runs in found for run in runs.values()]

    def round(self, ranks, environment=None, **options):
        """A run of the whole program, options with __ for the dot; see round_bench.cpp for what comes back."""
        arguments = [a for name, value in options.items()
                     for a in ("--" + name.replace("__", ".").replace("_", "-"), str(value))]
        return json.loads(self.run([f"{self.build}/bench/round_bench", *arguments], ranks, environment))

    def peer(self, script, *arguments, ranks=0, environment=None):
        command = ["/usr/bin/python3", "-B", f"{HERE}/peers/{script}", *map(str, arguments)]
        return json.loads(self.run(command, ranks, environment))


def median_of(results):
    """The median of each number in a list of (nested) dictionaries of the same shape."""
    first = results[0]
    if isinstance(first, dict):
        return {key: median_of([r[key] for r in results]) for key in first if all(key in r for r in results)}
    return statistics.median(results) if isinstance(first, (int, float)) else first


def alternate(repeats, *runs):
    """Calls A, B, ..., A, B, ... and returns the medians of what each of them returned."""
    results = [[] for _ in runs]
    for _ in range(repeats):
        for run, found in zip(runs, results):
            found.append(run())
    return [median_of(found) for found in results]


def write_readme(name, text):
    """Replaces what stands in README.md between <!-- name --> and <!-- end of name -->."""
    path = os.path.join(HERE, "README.md")
    with open(path, encoding="utf-8") as file:
        before, rest = file.read().split(f"<!-- {name} -->\n")
    after = rest.split(f"<!-- end of {name} -->")[1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}<!-- {name} -->\n{text}\n<!-- end of {name} -->{after}")
