"""What the tests of the scripts in jobs/ share: a Slurm for all tests of a file, and the jobs in it."""

import csv
import pathlib
import re
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "whole_run"))

import support
from cluster import Cluster, missing

ROOT = pathlib.Path(__file__).resolve().parents[2]
SLOWLY = f"{sys.executable} -B {ROOT}/tests/slurm/slowly.py"
LAUNCHERS = {"srun": "srun --mpi=pmix", "mpirun": "mpirun"}


slurm = None  # the Cluster, while the tests of a file run


def start_slurm():
    """To be a test file's setUpModule."""
    global slurm
    if why_not := missing():
        raise unittest.SkipTest(f"no Slurm: {why_not}")
    slurm = Cluster()
    unittest.addModuleCleanup(slurm.stop)


def command_of(process):
    """The words of its command; none once it has ended."""
    try:
        return pathlib.Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return [b""]


def environment_of(process):
    """What it was started with, each NAME=VALUE; nothing once it has ended."""
    try:
        return set(pathlib.Path(f"/proc/{process}/environ").read_text(errors="replace").split("\0"))
    except OSError:
        return set()


class Job:
    """A submitted job: its log, its run directory, and what Slurm says of it."""

    def __init__(self, test, name, *words, script="train.sbatch", sbatch=(), **exports):
        self.test, self.run, self.log = test, test.folder / name, test.folder / f"{name}.log"
        exports = {"FEDMPI": support.PROGRAM, **exports}
        variables = ",".join(f"{key}={value}" for key, value in exports.items())
        # A heterogeneous job is given by its components, separated by colons.
        components = " : ".join(" ".join(map(str, sbatch)).split(" : ")).split()
        self.number = slurm.submit(
            f"--export=ALL,{variables}", f"--chdir={ROOT}", f"--output={self.log}", f"--job-name={name}", *components,
            ROOT / "jobs" / script, *words, **environment())

    def wait(self, *states, timeout=60):
        return slurm.wait(self.number, *states, timeout=timeout)

    def ended(self, code=support.DONE, timeout=4 * support.TIMEOUT):
        """The log of a job that has ended with this exit code."""
        fields = self.wait(timeout=timeout)
        text = self.text()
        self.test.assertEqual(fields["ExitCode"], f"{code}:0", f"{fields}\n{text}\n{slurm.logs()}")
        return text

    def text(self):
        return self.log.read_text() if self.log.exists() else ""

    def processes(self, node=None):
        """{number: (session, the parent's number, name)} of what it has started, on all nodes or on one."""
        mine = {f"SLURM_JOB_ID={self.number}"} | ({f"SLURMD_NODENAME={node}"} if node else set())
        return {number: what for number, what in support.processes().items() if mine <= environment_of(number)}

    def ranks(self, node=None):
        """The program's processes, not those that probe files for it, on all nodes or on one."""
        program = pathlib.Path(support.PROGRAM).name
        return [number for number, (_, _, name) in self.processes(node).items() if name == program]

    def sha256(self):
        return re.findall(r"^weights sha256 ([0-9a-f]{64})$", self.ended(), re.MULTILINE)[-1]

    def rounds(self):
        history = self.run / "history.csv"
        return history.read_text().count("\n") - 1 if history.exists() else 0

    def until(self, condition, complaint, timeout=60):
        deadline = time.monotonic() + timeout
        while not condition():
            fields = slurm.show(self.number)
            if time.monotonic() > deadline or fields["JobState"] in ("COMPLETED", "FAILED", "TIMEOUT", "CANCELLED"):
                self.test.fail(f"{complaint}: {fields}\n{self.text()}\n{slurm.logs()}")
            time.sleep(0.3)

    def until_started(self, times, rounds):
        """Until it has been started so often, and the last start has added some rounds."""
        self.until(lambda: self.text().count("train.sbatch: job ") == times, f"no start {times}", 100)
        before = self.rounds()
        self.until(lambda: self.rounds() >= before + rounds, f"no more rounds in start {times}")


def environment():
    """MPI between the nodes of the cluster; on a single one as it is."""
    if slurm.why_single:
        return {}
    return {"OMPI_MCA_btl": "^openib,usnic,ofi", "OMPI_MCA_btl_tcp_if_include": slurm.network,
            "OMPI_MCA_oob_tcp_if_include": slurm.network, "PRTE_MCA_prte_if_include": slurm.network,
            "PMIX_MCA_ptl_tcp_if_include": slurm.network,
            # As many ranks on each node as Slurm says; with :oversubscribe, as elsewhere, all would be on the first.
            "PRTE_MCA_rmaps_default_mapping_policy": "slot"}


class Jobs(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=9, files=3, holdout=0.2)
        self.config = self.folder / "config.ini"
        self.configure()

    def configure(self, rounds=20, **run):
        self.options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "federation.rounds": rounds,
                        "federation.cohort": 5, "client.lr": 0.02, "server.optimizer": "momentum", "eval.every": 4,
                        "run.checkpoint-every": 15, **run}
        sections = {}
        for name, value in self.options.items():
            section, key = name.split(".", 1)
            sections.setdefault(section, []).append(f"{key} = {value}")
        self.config.write_text("\n".join(f"[{s}]\n" + "\n".join(lines) for s, lines in sections.items()) + "\n")

    def job(self, name, *words, **more):
        return Job(self, name, self.config, "--run.dir", self.folder / name, *words, **more)

    def slowly(self, name):
        """The program for the job `name`: slow from its first round on, until hurry(name)."""
        return f"{SLOWLY} {self.folder}/{name}.hurry {support.PROGRAM}"

    def hurry(self, name):
        (self.folder / f"{name}.hurry").touch()

    def undisturbed(self, name="undisturbed", **options):
        return self.train(name, {**self.options, **options}, ranks=2).sha256

    def two_nodes(self):
        if slurm.why_single:
            self.skipTest(slurm.why_single)

    def assert_whole_history(self, job, rounds):
        with open(job.run / "history.csv", newline="") as file:
            self.assertEqual([int(row["round"]) for row in csv.DictReader(file)], list(range(rounds + 1)))
