"""A Slurm of one's own: munged, slurmctld and a slurmd per node, in a temporary directory, gone after the tests.

A node is a network namespace with a host name of its own, so that two of them are two hosts to Slurm and to MPI. Where
namespaces may not be made there is one node, on this machine's own address."""

import ctypes
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

COMMANDS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
START = 60  # seconds until every node has to be idle
GRACE = 10  # seconds that a job has which is preempted by one of the partition `urgent`


def missing():
    """Why no Slurm can be started here; empty where it can."""
    search = os.environ["PATH"] + ":/usr/sbin:/sbin"
    absent = [command for command in COMMANDS if not shutil.which(command, path=search)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "slurmd wants root"


def end_processes_of(folder):
    """slurmstepd and what it has started outlive slurmd. They carry their cluster in their environment, or write to a
    file of it."""
    mark = f"FEDMPI_CLUSTER={folder}".encode()
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            marked = mark in (entry / "environ").read_bytes().split(b"\0")
            if marked or any(os.readlink(fd).startswith(f"{folder}/") for fd in (entry / "fd").iterdir()):
                if int(entry.name) != os.getpid():
                    os.kill(int(entry.name), signal.SIGKILL)
        except OSError:
            continue  # ended meanwhile


def remove_what_was_left():
    """What tests have left that were killed before they could clean up; everything is named after their process."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob("fedmpi-slurm-*-*"):
        if not pathlib.Path("/proc", folder.name.split("-")[2]).exists():
            end_processes_of(folder)
            shutil.rmtree(folder, ignore_errors=True)
    for kind in ("netns", "link"):
        listed = subprocess.run(["ip", kind], capture_output=True, text=True).stdout
        for name, pid in re.findall(r"\b(fm(?:br)?([0-9a-f]+)(?:[nv]\d)?)\b", listed):
            if not pathlib.Path(f"/proc/{int(pid, 16)}").exists():
                subprocess.run(["ip", kind, "del", name], capture_output=True)


class Cluster:
    """Slurm commands run by `run(…)`; jobs by `submit(…)` and `ended(…)`."""

    def __init__(self, nodes=2, cores=12, memory=8000):
        """`nodes` at most; each is said to have `cores` cores and `memory` MiB."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"fedmpi-slurm-{os.getpid()}-"))
        self.daemons, self.namespaces, self.bridge, self.cut_off = [], [], None, set()
        remove_what_was_left()
        self.environment = dict(os.environ, SLURM_CONF=str(self.folder / "slurm.conf"),
                                PATH=os.environ["PATH"] + ":/usr/sbin:/sbin", FEDMPI_CLUSTER=str(self.folder))
        try:
            self.why_single = self._make_hosts(nodes)
            self._configure(cores, memory)
            self._start()
        except BaseException:
            self.stop()
            raise

    # Hosts

    def _make_hosts(self, nodes):
        """Namespaces node1, …, joined by a bridge. Returns why there are none, if there are none."""
        tag = f"{os.getpid():x}"
        second, third = 18 + os.getpid() // 256 % 2, os.getpid() % 256
        self.network = f"198.{second}.{third}.0/24"  # RFC 2544: never on the Internet
        address = f"198.{second}.{third}.{{}}"

        def ip(*words):
            done = subprocess.run(["ip", *words], capture_output=True, text=True, env=self.environment)
            if done.returncode:
                raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")

        try:
            self.bridge = f"fmbr{tag}"
            ip("link", "add", self.bridge, "type", "bridge")
            ip("addr", "add", address.format(254) + "/24", "dev", self.bridge)
            ip("link", "set", self.bridge, "up")
            for n in range(1, nodes + 1):
                name = f"fm{tag}n{n}"
                ip("netns", "add", name)
                self.namespaces.append(name)
                ip("link", "add", f"fm{tag}v{n}", "type", "veth", "peer", "name", "eth0", "netns", name)
                ip("link", "set", f"fm{tag}v{n}", "master", self.bridge, "up")
                ip("-n", name, "addr", "add", address.format(n) + "/24", "dev", "eth0")
                ip("-n", name, "link", "set", "lo", "up")
                ip("-n", name, "link", "set", "eth0", "up")
            subprocess.run(["unshare", "--uts", "--mount", "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove_hosts()
            self.controller, self.nodes = "127.0.0.1", {"node1": "127.0.0.1"}
            self.network = "127.0.0.0/8"
            return f"no network namespaces here: {error}"
        self.controller = address.format(254)
        self.nodes = {f"node{n}": address.format(n) for n in range(1, nodes + 1)}
        return ""

    def _remove_hosts(self):
        for name in self.namespaces:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, env=self.environment)
        if self.bridge:
            subprocess.run(["ip", "link", "del", self.bridge], capture_output=True, env=self.environment)
        self.namespaces, self.bridge = [], None

    def connect(self, node, connected):
        """Joins a node to the others, or cuts it off as if its network or power had gone: nobody is told.

        Slurm would look for a node that has come back after 100 s (a third of SlurmdTimeout)."""
        if connected == (node not in self.cut_off):
            return
        (self.cut_off.remove if connected else self.cut_off.add)(node)
        end = f"fm{os.getpid():x}v{node.removeprefix('node')}"
        subprocess.run(["ip", "link", "set", end, "up" if connected else "down"], check=True, env=self.environment)
        if connected:
            self.run("scontrol", "reconfigure")

    # Daemons

    def _configure(self, cores, memory):
        folder = self.folder
        with socket.socket() as a, socket.socket() as b:
            a.bind(("", 0))
            b.bind(("", 0))
            ports = a.getsockname()[1], b.getsockname()[1]
        host = "control" if self.bridge else socket.gethostname().split(".")[0]
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={name if self.bridge else host} NodeAddr={address} CPUs={cores} "
            f"RealMemory={memory}" for name, address in self.nodes.items())
        (folder / "slurm.conf").write_text(f"""
ClusterName=fedmpi
SlurmctldHost={host}({self.controller})
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# A requeued job waits until its credential has expired, by default two minutes.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
# No two clusters at the same time have jobs of the same number, by which MPI names what it shares.
FirstJobId={os.getpid() * 100 % 60_000_000 + 1}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdSpoolDir={folder}/spool-%n
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdLogFile={folder}/slurmd-%n.log
# The nodes share /tmp, in which PMIx would make the same directory twice.
TmpFS={folder}/tmp-%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=1,sched_min_interval=0,batch_sched_delay=0
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
MpiDefault=none
{nodes}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerNode={memory // 4} GraceTime={GRACE}
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP DefMemPerNode={memory // 4} PriorityTier=2
""")

    def _on_host(self, name, *command):
        """A command under a host name of its own, with a disk and shared memory of its own, that knows the other hosts.

        It asks no name server: from a namespace none answers, and Slurm stalls until it has stopped waiting."""
        if not self.bridge:
            return command
        script = """
            set -e
            hostname "$0"
            mount -t tmpfs none "$1/local"
            mount -t tmpfs none /dev/shm
            mount --bind "$1/hosts" /etc/hosts
            if [ -e /etc/resolv.conf ]; then mount --bind "$1/resolv.conf" /etc/resolv.conf; fi
            shift
            exec "$@" """
        return ["unshare", "--uts", "--mount", "sh", "-c", script, name, str(self.folder), *command]

    def _daemon(self, name, *command):
        def die_with_the_test():
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

        log = open(self.folder / f"{name}.out", "w")
        self.daemons.append(subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment,
            preexec_fn=die_with_the_test, start_new_session=True))
        log.close()

    def _start(self):
        folder = self.folder
        for name in ("munge", "state", "local", *(f"tmp-{node}" for node in self.nodes)):
            (folder / name).mkdir(mode=0o755)
        os.chmod(folder, 0o755)  # munged asks for it
        hosts = {"localhost": "127.0.0.1", "control": self.controller, socket.gethostname(): self.controller,
                 **self.nodes}
        (folder / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        self.local = folder / "local"
        (folder / "munge/key").write_bytes(os.urandom(128))
        os.chmod(folder / "munge/key", 0o400)
        munge = folder / "munge"
        self._daemon("munged", *self._on_host(
            "control", "munged", "--foreground", "--force", "--origin=127.0.0.1", f"--key-file={munge}/key",
            f"--socket={munge}/socket", f"--pid-file={munge}/pid", f"--log-file={munge}/log",
            f"--seed-file={munge}/seed"))
        self._until(lambda: (folder / "munge/socket").exists(), "munged has no socket")
        self._daemon("slurmctld", *self._on_host("control", "slurmctld", "-D"))
        for node in self.nodes:
            self.start_node(node)
        self._until(lambda: self.run("sinfo", "-h", "-o", "%T %D", check=False).strip() == f"idle {len(self.nodes)}",
                    "not every node is idle")

    def start_node(self, node):
        namespace = self.namespaces[list(self.nodes).index(node)] if self.bridge else None
        enter = ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []
        self._daemon(f"slurmd-{node}", *enter, *self._on_host(node, "slurmd", "-D", "-N", node))

    def stop_node(self, node):
        """Its slurmd, by force."""
        number = int((self.folder / f"slurmd-{node}.pid").read_text())
        os.kill(number, signal.SIGKILL)
        for daemon in [d for d in self.daemons if d.pid == number]:
            daemon.wait()
            self.daemons.remove(daemon)

    def _until(self, condition, complaint):
        deadline = time.monotonic() + START
        while not condition():
            if time.monotonic() > deadline or any(d.poll() is not None for d in self.daemons):
                raise AssertionError(f"no Slurm: {complaint}\n{self.logs()}")
            time.sleep(0.1)

    def logs(self):
        texts = []
        for path in sorted(self.folder.glob("*.out")) + sorted(self.folder.glob("*.log")):
            texts.append(f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:]))
        return "\n".join(texts)

    def stop(self):
        if (self.folder / "slurmctld.pid").exists():
            self.run("scancel", "--user=root", "--full", check=False)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(5)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        end_processes_of(self.folder)
        self._remove_hosts()
        shutil.rmtree(self.folder, ignore_errors=True)

    # Jobs

    def run(self, *command, check=True, **environment):
        """What a Slurm command prints. Without an answer it asks again by itself, and may take long on a busy machine."""
        words = list(map(str, command))
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=60,
                                  env={**self.environment, **environment})
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"{' '.join(words)}: no answer\n{self.logs()}") from error
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}\n{done.stdout}\n{done.stderr}\n{self.logs()}")
        return done.stdout

    def submit(self, *words, **environment):
        """The number of the job of `sbatch WORDS`."""
        return self.run("sbatch", "--parsable", *words, **environment).strip().split(";")[0]

    def show(self, job):
        """scontrol's fields of a job."""
        return dict(re.findall(r"(\S+?)=(\S*)", self.run("scontrol", "show", "job", job)))

    def wait(self, job, *states, timeout=60):
        """The fields of the job once it is in one of the states; by default once it has ended for good."""
        states = states or ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")
        deadline = time.monotonic() + timeout
        while (fields := self.show(job))["JobState"] not in states:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"job {job} is not {' or '.join(states)} after {timeout} s: {fields}\n{self.logs()}")
            time.sleep(0.3)
        return fields
