"""What the whole-run tests share: starting the program as a user does, and writing and reading its files.

The environment names the program (FEDMPI), the launcher (MPIEXEC) and, where there is one, the folder with the data
sets of the tests (FEDMPI_SHARED_DATA)."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import math
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import h5py
import numpy as np

PROGRAM = os.environ.get("FEDMPI", "")
LAUNCHER = os.environ.get("MPIEXEC", "mpirun")
SLOWER = float(os.environ.get("FEDMPI_SLOWER", "1"))  # so many times, a build with sanitizers
TIMEOUT = 30 * SLOWER  # seconds

# Open MPI 4 keeps the files of all runs in a folder that the first makes and the last removes; one that starts while
# another ends may fail over it. So each has one of its own.
SESSIONS = tempfile.TemporaryDirectory(prefix="fedmpi-mpi-")

DONE, USAGE, BAD_DATA, CANNOT_CREATE, IO, STOPPED = 0, 2, 65, 73, 74, 75


@dataclasses.dataclass
class Ended:
    """A run of the program that has ended."""

    command: list
    code: int
    out: str
    err: str
    seconds: float

    @property
    def sha256(self):
        """The digest of the final weights, which a run that is done or stopped prints."""
        return re.search(r"^weights sha256 ([0-9a-f]{64})$", self.out, re.MULTILINE)[1]

    @property
    def diagnostics(self):
        """The lines of the program itself on stderr that say what is wrong; the launcher adds lines of its own."""
        return [line for line in self.err.splitlines() if line.startswith("fedmpi: ")]

    def __str__(self):
        return f"{' '.join(map(str, self.command))}\nexit code {self.code}\n{self.out}\n{self.err}"


def environment():
    """What a run is started with. Open MPI refuses to start as root without being told twice."""
    return dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
                OMPI_MCA_orte_top_session_dir=tempfile.mkdtemp(dir=SESSIONS.name))


def processes():
    """{number: (session, the parent's number, name)} of all that run."""
    found = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name, rest = (entry / "stat").read_text().split("(", 1)[1].rsplit(")", 1)
            state, parent, _, session = rest.split()[:4]
            if state != "Z":
                found[int(entry.name)] = int(session), int(parent), name
        except (OSError, ValueError, IndexError):
            continue  # ended meanwhile
    return found


class Started:
    """The program at work: fedmpi WORD …, or another one, alone (ranks=0) or under mpirun."""

    def __init__(self, *words, ranks=0, wrapper=(), launcher=(), program=PROGRAM):
        launch = [LAUNCHER, "--oversubscribe", *launcher, "-n", str(ranks)] if ranks else []
        self.command = [*launch, *wrapper, program, *map(str, words)]
        # Files, not pipes: a process left behind would keep a pipe open, and the test waiting.
        self.out, self.err = tempfile.TemporaryFile("w+"), tempfile.TemporaryFile("w+")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            self.command, stdout=self.out, stderr=self.err, stdin=subprocess.DEVNULL,
            env=environment(), start_new_session=True)
        self.gone = False

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=TIMEOUT):
        """The end of the run; an AssertionError if it does not come in time, and then nothing of it is left."""
        try:
            self.process.wait(timeout)
            in_time = True
        except subprocess.TimeoutExpired:
            in_time = False
        self.kill()
        ended = self._ended()
        if not in_time:
            raise AssertionError(f"still running after {timeout} s: {ended}")
        return ended

    def processes(self):
        """{process: (its parent, its name)} of the session: the launcher's ranks have process groups of their own."""
        return {number: (parent, name) for number, (session, parent, name) in processes().items()
                if session == self.process.pid}

    def ranks(self):
        """The program's processes, in order of their number: rank by rank. Not those that probe files."""
        name = pathlib.Path(PROGRAM).name
        return sorted(pid for pid, (_, found) in self.processes().items() if found == name)

    @staticmethod
    def kill_one(pid):
        """False if it has ended already."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False
        return True

    def kill(self):
        """Kills what is left of the session; once, since its number may be somebody else's afterwards."""
        if self.gone:
            return
        while left := self.processes():
            for pid in left:
                self.kill_one(pid)
        self.process.wait()
        self.gone = True

    def _ended(self):
        texts = []
        for file in (self.out, self.err):
            with file:
                file.seek(0)
                texts.append(file.read())
        return Ended(self.command, self.process.returncode, *texts, time.monotonic() - self.begun)


class WholeRun(unittest.TestCase):
    """A test with a folder of its own, in which runs are started."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fedmpi-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def fedmpi(self, *words, ranks=0, code=DONE, timeout=TIMEOUT):
        ended = Started(*words, ranks=ranks).wait(timeout)
        self.assertEqual(ended.code, code, f"expected exit code {code}: {ended}")
        return ended

    def shard(self, source, name="shards", **options):
        """Makes shards with `fedmpi shard` and returns their folder."""
        out = self.folder / name
        self.fedmpi("shard", source, "--out", out, *words_of(options), timeout=120)
        return out

    def train(self, run, options=None, ranks=0, code=DONE, timeout=TIMEOUT, words=()):
        """Trains into the folder `run` with options such as {"client.lr": 0.1}."""
        return self.fedmpi("train", *words_of({"run.dir": self.folder / run, **(options or {})}), *words,
                           ranks=ranks, code=code, timeout=timeout)

    def gone_in_time(self, started, seconds=10):
        """Asserts that every rank is gone in that time, and the launcher too, but for a fault of its own: in Debian 12
        (Open MPI 4.1.4) mpirun sometimes locks itself up in its last clean-up. Then it is killed, and False returned."""
        begun = time.monotonic()
        while left := started.processes():
            late = time.monotonic() - begun > seconds
            if late and {name for _, name in left.values()} == {pathlib.Path(LAUNCHER).name}:
                started.kill()
                return False
            self.assertFalse(late, f"left: {left}")
            time.sleep(0.01)
        return True

    def weights(self, run, file="latest.h5"):
        return read_weights(self.folder / run / file)

    def history(self, run):
        with h5py.File(self.folder / run / "latest.h5") as f:
            return f["history"][:]


def together(calls, at_once=4, seconds=math.inf):
    """The results of all calls, in order. Most of a short run is waiting for MPI to start, so some go at once. A run
    that took `seconds` or longer among others is started once more alone: it is its own time that counts."""
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        results = list(pool.map(lambda call: call(), calls))
    if seconds == math.inf:
        return results
    return [ended if ended.seconds < seconds else call() for call, ended in zip(calls, results)]


def words_of(options):
    """{"client.lr": 0.1, …} as words of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


@functools.cache
def help_of(*words):
    return subprocess.run([PROGRAM, "train", "--help", *words], capture_output=True, text=True, check=True).stdout


def choices(option):
    """The names that `fedmpi train --help` lists for an option."""
    lines = help_of().split(f"--{option} ", 1)[1].splitlines()[1:]
    rows = []
    for line in lines:
        row = re.match(r"\s{20,}([\w-]+): ", line)
        if not row:
            break
        rows.append(row[1])
    assert rows, f"--help lists no names for {option}"
    return rows


def reads(option, choice):
    """The options that this choice of an option reads and others may not."""
    return set(re.findall(r"^  --(\S+) ", help_of(option, choice), re.MULTILINE))


def without_unread(options, option):
    """The options without those that only other choices of `option` read: they would be refused."""
    unread = set().union(*(reads(option, choice) for choice in choices(option))) - reads(option, options[option])
    return {name: value for name, value in options.items() if name not in unread}


def folder_digest(folder):
    """One value for all names and contents below a folder."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).rglob("*")):
        target = os.readlink(path) if path.is_symlink() else ""
        digest.update(f"{path.relative_to(folder)} {target}\n".encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


# Shards, as data/README.md describes them.


def write_shard(path, features, labels, sizes=None, names=None, classes=None, scale=None, offset=None,
                newest_format=True):
    """Writes a shard by h5py: integer labels are classes, others regression targets; `sizes` are the clients'.

    In the newest file format every dataset is chunked and has Fletcher32; else all is as h5py has it by default."""
    features, labels = np.asarray(features), np.asarray(labels)
    classification = labels.dtype.kind in "iu"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", libver="latest" if newest_format else None) as f:
        f.attrs.update(format="fedmpi-shard", version=1, feature_shape=features.shape[1:],
                       task="classification" if classification else "regression")
        if classification:
            f.attrs["classes"] = int(labels.max()) + 1 if classes is None else classes

        def dataset(name, data):
            protection = {"chunks": True, "fletcher32": True} if newest_format and data.size else {}
            return f.create_dataset(name, data=data, **protection)

        stored = dataset("features", features)
        if scale is not None:
            stored.attrs["scale"] = scale
        if offset is not None:
            stored.attrs["offset"] = offset
        dataset("labels", labels)
        if sizes is not None:
            dataset("clients/offsets", np.concatenate([[0], np.cumsum(sizes)]).astype("u8"))
        if names is not None:
            dataset("clients/names", np.array([name if isinstance(name, bytes) else name.encode() for name in names]))
    return path


def read_shard(path):
    """Features as float64, labels, and the clients as slices."""
    with h5py.File(path) as f:
        features = f["features"]
        x = features[:].reshape(len(features), -1) * float(features.attrs.get("scale", 1.0))
        x = x + float(features.attrs.get("offset", 0.0))
        offsets = f["clients/offsets"][:].astype(int)
        return x.astype("f8"), f["labels"][:], [slice(a, b) for a, b in zip(offsets[:-1], offsets[1:])]


def read_weights(checkpoint):
    """[(kernel, bias) of each layer] as float64, kernels shaped [inputs, outputs]."""
    with h5py.File(checkpoint) as f:
        layers = sorted(f["model"], key=lambda name: int(name.split("_")[1]))
        return [(f[f"model/{name}/kernel"][:].astype("f8"), f[f"model/{name}/bias"][:].astype("f8")) for name in layers]


def flat(weights):
    return np.concatenate([array.ravel() for layer in weights for array in layer])


# Real data, where there is any.


def ten_thousand_images(folder):
    """An IDX folder of 10,000 real images of MNIST or Fashion-MNIST: the test set under the training set's name."""
    candidates = ["/usr/share/datasets/fashion-mnist"]
    if "FEDMPI_SHARED_DATA" in os.environ:
        candidates.insert(0, f"{os.environ['FEDMPI_SHARED_DATA']}/mnist")
    for candidate in map(pathlib.Path, candidates):
        if (candidate / "t10k-images-idx3-ubyte.gz").exists():
            folder.mkdir()
            for what in ("images-idx3-ubyte.gz", "labels-idx1-ubyte.gz"):
                (folder / f"train-{what}").symlink_to(candidate / f"t10k-{what}")
            return folder
    raise unittest.SkipTest(f"no MNIST and no Fashion-MNIST in {', '.join(map(str, candidates))}")


def main():
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"FEDMPI: expected the path of the program, found '{PROGRAM}'")
    unittest.main()
