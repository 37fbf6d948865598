"""A participant that dies or stalls: without it the run goes on (federation.survive) or stops, naming it, to be resumed
(federation.deadline)."""

import csv
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import h5py
import numpy
import support

OPTIONS = {"federation.rounds": 500, "client.epochs": 3, "federation.seed": 5, "eval.every": 0, "run.checkpoint-every": 100}
SURVIVE = {"federation.survive": "on", "federation.deadline": 2}
# Of 6 million parameters, so that saving it takes a while.
LARGE = {"federation.rounds": 2, "federation.cohort": 3, "client.steps": 1, "client.lr": 0.01,
         "model.kind": "mlp", "model.hidden": "2500,2500"}


def recovering():
    """What makes this Open MPI leave a job alone in which a process has died."""
    version = subprocess.run([support.LAUNCHER, "--version"], capture_output=True, text=True, check=True).stdout
    return ["--with-ft", "ulfm"] if int(re.search(r"(\d+)\.\d+", version)[1]) >= 5 else ["--enable-recovery"]


class Losing(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", seed=3, clients=18, files="client")
        self.csv = self.folder / "run" / "history.csv"

    def start(self, ranks, launcher, wrapper=(), **more):
        words = support.words_of({"data.shards": self.shards, "run.dir": self.folder / "run", **OPTIONS, **more})
        return support.Started("train", *words, ranks=ranks, launcher=launcher, wrapper=wrapper)

    def rows(self):
        with open(self.csv, encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def wait_for(self, run, file):
        """Until there is such a file in the run's directory."""
        end = time.monotonic() + support.TIMEOUT
        while not (self.folder / "run" / file).exists():
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(run.process.poll(), "the run ended too early")
            time.sleep(0.001)

    def wait_for_round(self, run, number):
        end = time.monotonic() + support.TIMEOUT
        while not self.csv.exists() or len(self.rows()) <= number:
            self.assertLess(time.monotonic(), end, f"round {number} never came")
            self.assertIsNone(run.process.poll(), "the run ended too early")
            time.sleep(0.01)

    def hit(self, run, rank, number):
        """Sends a signal to one rank."""
        for entry in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                session = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[3])
                ours = session == run.process.pid and os.readlink(entry / "exe") == os.path.realpath(support.PROGRAM)
                if ours and f"OMPI_COMM_WORLD_RANK={rank}\0" in (entry / "environ").read_text():
                    os.kill(int(entry.name), number)
                    return
            except OSError:
                continue  # ended meanwhile
        self.fail(f"rank {rank} is not running")

    def events(self):
        file = self.folder / "run" / "latest.h5"
        with h5py.File(file) as f:
            events = f.attrs["events"].decode() if isinstance(f.attrs["events"], bytes) else str(f.attrs["events"])
        self.assertEqual(json.loads(self.fedmpi("inspect", file, "--json").out)["events"], events)
        return events

    def survivor(self, signals, rounds=500, **more):
        """A run of 6 participants in which ranks are hit, one after the other; it must end in good order."""
        run = self.start(7, recovering(), **{**SURVIVE, "federation.rounds": rounds, **more})
        at = 3
        for rank, number in signals:
            self.wait_for_round(run, at)
            self.hit(run, rank, number)
            at = len(self.rows()) + 5
        ended = run.wait(2 * support.TIMEOUT)
        self.assertEqual(ended.code, support.DONE, str(ended))
        self.assertIn(f"all {rounds} rounds done", ended.out)
        rows = self.rows()
        self.assertEqual([int(r["round"]) for r in rows], list(range(rounds + 1)))
        self.assertGreater(sum(int(r["lost"]) for r in rows), 0)
        for rank, _ in signals:
            self.assertRegex(self.events(), rf"rank {rank} did not answer in round \d+; it hosted clients? [0-9]")
        return ended, rows

    def test_two_of_six_die(self):
        # Rounds enough that the second is hit in time where this test hardly gets a turn.
        _, rows = self.survivor([(3, signal.SIGKILL), (5, signal.SIGKILL)], rounds=2000)
        self.assertEqual((int(rows[-1]["clients"]), int(rows[-1]["lost"])), (18, 0))  # taken over by the others
        hosted = re.findall(r"; it hosted (.*)\n.* taken over its clients: (.*)", self.events())
        self.assertEqual(len(hosted), 2, self.events())
        for had, has in hosted:  # files of one client each
            shares = re.findall(r"(\d+) on rank (\d)", has)
            self.assertEqual(sum(int(clients) for clients, _ in shares), had.count("client 0 of "), self.events())
            self.assertGreaterEqual(len(shares), min(2, had.count("client 0 of ")), "not all on one rank")

    def test_clients_of_one_file_on_file_and_with_bad_rows_are_taken_over(self):
        rows, file = 90 * 500, self.folder / "one.h5"
        features = numpy.random.default_rng(1).random((rows, 60), "f4")  # of 6 participants 1.8 MB each
        features[::50, 7] = numpy.nan
        support.write_shard(file, features, numpy.arange(rows) % 10, [500] * 90, classes=10)
        _, rows = self.survivor([(4, signal.SIGKILL)], **{"data.shards": file, "data.memory": 1, "data.skip-bad": "on",
                                                          "client.epochs": 1, "federation.cohort": 30})
        self.assertEqual((int(rows[-1]["clients"]), int(rows[-1]["lost"])), (30, 0))
        self.assertIn("the other participants have taken over its clients", self.events())

    def test_one_stalls(self):
        ended, rows = self.survivor([(2, signal.SIGSTOP)])
        self.assertEqual(int(rows[-1]["clients"]), 18)
        self.assertLess(ended.seconds, 45 * support.SLOWER)

    def assert_goes_on_without_the_clients(self, spoil):
        run = self.start(7, recovering(), **SURVIVE)
        self.wait_for_round(run, 3)
        for file in self.shards.glob("shard-*.h5"):
            spoil(file)
        self.hit(run, 4, signal.SIGKILL)
        ended = run.wait(2 * support.TIMEOUT)
        self.assertEqual(ended.code, support.DONE, str(ended))
        lost = int(self.rows()[-1]["lost"])
        self.assertGreater(lost, 0)
        self.assertEqual(int(self.rows()[-1]["clients"]), 18 - lost)
        self.assertIn(f"{lost} of its clients cannot be read by the other participants", self.events())

    def test_clients_that_nobody_else_can_read(self):
        self.assert_goes_on_without_the_clients(lambda file: file.unlink())

    def test_clients_whose_shards_have_been_replaced(self):
        others = self.shard("synthetic:0.5,0.5", name="others", seed=9, clients=18, files="client")
        self.assert_goes_on_without_the_clients(lambda file: os.replace(others / file.name, file))

    def test_clients_whose_examples_have_been_replaced(self):
        """By as many."""
        def negate(file):
            with h5py.File(file, "r+") as shard:
                shard["features"][...] = -shard["features"][...]

        self.assert_goes_on_without_the_clients(negate)

    def test_the_aggregator_dies(self):
        """Then the job ends too, although its launcher would let it live, and no exit code of an earlier one is left."""
        (self.folder / "code").write_text("0\n\n")
        run = self.start(4, recovering(), ["env", f"FEDMPI_EXIT_FILE={self.folder / 'code'}"],
                         **{**SURVIVE, "federation.rounds": 10**6})
        self.wait_for_round(run, 3)
        self.hit(run, 0, signal.SIGKILL)
        ended = run.wait()
        self.assertEqual((self.folder / "code").read_text(), "")
        self.assertRegex(ended.err, "(lost the connection to rank 0 on|rank 0 is gone).*; what was saved is intact")

    def test_without_it_the_job_ends_with_any_rank(self):
        """Although its launcher would let the others live, and wait for ever."""
        for rank in range(3):
            with self.subTest(rank=rank):
                self.csv.unlink(missing_ok=True)
                run = self.start(3, recovering(), **{"federation.rounds": 10**6, "run.resume": "auto"})
                self.wait_for_round(run, 3)
                self.hit(run, rank, signal.SIGKILL)
                killed = time.monotonic()
                ended = run.wait()
                self.assertLess(time.monotonic() - killed, 10)
                self.assertRegex(ended.err, f"fedmpi: rank [0-9]: lost the connection to rank {rank} on ")

    def test_a_rank_that_is_missing_from_the_start(self):
        """It is stopped or killed before it is the program: nobody waits for it longer than FEDMPI_START_SECONDS."""
        for rank, signal_name, launcher in ((0, "STOP", []), (2, "STOP", []), (1, "KILL", recovering())):
            with self.subTest(rank=rank):
                (self.folder / "code").unlink(missing_ok=True)
                # A launcher that gives up has a stopped one go on: it then ends.
                missing = f'[ "$OMPI_COMM_WORLD_RANK" = {rank} ] && kill -{signal_name} $$ && exit; exec "$@"'
                run = self.start(3, launcher, ["env", f"FEDMPI_START_SECONDS={3 * int(support.SLOWER)}",
                                               f"FEDMPI_EXIT_FILE={self.folder / 'code'}", "sh", "-c", missing, "sh"])
                ended = run.wait()
                if not launcher:  # which would pass on no exit code
                    self.assertNotEqual(ended.code, support.DONE)
                self.assertIn("fedmpi: MPI has not started in time", ended.err)
                self.assertEqual((self.folder / "code").read_text(), f"{support.STOPPED}\n\n")
                self.assertFalse(self.csv.exists())

    def test_nobody_is_left(self):
        """The round in which the last one dies does not count, so that what goes on ends with the same bits."""
        options = {**OPTIONS, "server.optimizer": "momentum"}
        undisturbed = self.train("undisturbed", {"data.shards": self.shards, **options}, ranks=3).sha256
        run = self.start(2, recovering(), **SURVIVE, **options)
        self.wait_for_round(run, 3)
        self.hit(run, 1, signal.SIGKILL)
        ended = run.wait()  # Open MPI 4.1 passes on no exit code when it is to live with dead ranks
        self.assertIn(ended.code, (support.DONE, support.STOPPED), str(ended))
        self.assertIn("no participant is left", ended.err)
        self.assertRegex(ended.err, "note: round [0-9]+ is saved in .*; --run.resume auto continues from there")
        after = self.train("run", {"data.shards": self.shards, **options, "run.resume": "auto"}, ranks=3)
        self.assertEqual(after.sha256, undisturbed)
        self.assertEqual(self.history("run")["lost"].sum(), 0)

    def test_one_dies_when_nobody_waits_for_it_any_more(self):
        """While rank 0 saves the last model: the run is done all the same, and its ranks end."""
        run = self.start(4, recovering(), **{**SURVIVE, **LARGE, "federation.deadline": 20})
        self.wait_for(run, "checkpoint-000002.h5.partial")
        self.hit(run, 2, signal.SIGKILL)
        ended = run.wait()
        self.assertEqual(ended.code, support.DONE, str(ended))
        self.assertIn("all 2 rounds done", ended.out)
        self.assertNotIn("lost the connection", ended.err)

    def test_one_stalls_when_nobody_waits_for_it_any_more(self):
        """MPI waits for it, but the others not for ever. (Where memory is shared it is missed before that.)"""
        for rank in (1, 2, 3):
            with self.subTest(rank=rank):
                run = self.start(4, [], wrapper=["env", f"FEDMPI_END_SECONDS={2 * int(support.SLOWER)}"],
                                 **{**LARGE, "run.shared-memory": "off", "federation.deadline": 20})
                self.wait_for(run, "checkpoint-000002.h5.partial")
                self.hit(run, rank, signal.SIGSTOP)
                self.gone_in_time(run, support.TIMEOUT)
                ended = run.wait()
                self.assertIn("fedmpi: MPI has not ended in time", ended.err)
                self.assertIn("all 2 rounds done", ended.out)
                shutil.rmtree(self.folder / "run")

    def test_one_stalls_while_the_last_model_is_saved(self):
        """Where memory is shared, which is given back together."""
        for rank in (1, 3):
            with self.subTest(rank=rank):
                run = self.start(4, [], **{**LARGE, "federation.deadline": 2 * int(support.SLOWER)})
                self.wait_for(run, "checkpoint-000002.h5.partial")
                self.hit(run, rank, signal.SIGSTOP)
                ended = run.wait()
                self.assertRegex(ended.err, f"no (answer|sign of life) from rank {rank} ")
                self.assertEqual(ended.code, support.STOPPED)
                shutil.rmtree(self.folder / "run")

    def test_one_dies_before_the_first_round(self):
        """While rank 0 saves what it goes on from: the job ends, unless the loss is noticed in the first round only. An
        MPI that notices it by itself may fail the others."""
        self.train("first", {"data.shards": self.shards, **OPTIONS, **LARGE}, ranks=2)
        resume = self.folder / "first" / "checkpoint-000002.h5"
        for rank in (1, 2, 3):
            with self.subTest(rank=rank):
                shutil.rmtree(self.folder / "run", ignore_errors=True)
                run = self.start(4, recovering(), **{**SURVIVE, **LARGE, "federation.rounds": 6, "run.resume": resume})
                self.wait_for(run, "checkpoint-000002.h5.partial")
                self.hit(run, rank, signal.SIGKILL)
                self.assertRegex(run.wait().err, f"(fedmpi: rank [0-9]: lost the connection to rank {rank} on |"
                                                 f"note: rank {rank} did not answer in round [2-5]|"
                                                 "fedmpi: rank 0: no participant is left)")

    def test_all_are_suspended(self):
        """By a batch system that gangs jobs, for longer than the deadline and than a rank may be silent: nobody is lost,
        in the rounds or while shards are read."""
        shards = self.large_shards()
        large = {"data.shards": shards / "shard-*.h5", "federation.rounds": 2, "client.epochs": 1,
                 "federation.deadline": 2 * int(support.SLOWER)}
        for where, launcher, options in ((3, recovering(), SURVIVE), (shards / "shard-1.h5", [], large)):
            with self.subTest(where=where):
                run = self.start(4, launcher, **options)
                if isinstance(where, int):
                    self.wait_for_round(run, where)
                else:
                    self.wait_for_open(run, 2, where)
                suspended = run.ranks()
                for number, seconds in ((signal.SIGSTOP, 7 if support.SLOWER == 1 else 10), (signal.SIGCONT, 0)):
                    for rank in suspended:
                        os.kill(rank, number)
                    time.sleep(seconds)
                ended = run.wait()
                self.assertEqual(ended.code, support.DONE, str(ended))
                self.assertEqual(sum(int(r["lost"]) for r in self.rows()), 0)
                shutil.rmtree(self.csv.parent)

    def large_shards(self):
        """A folder of shards that take a while to read."""
        folder = self.folder / "large"
        for name in ("test", "shard-0", "shard-1", "shard-2"):
            x = numpy.zeros((400_000 if name == "test" else 200_000, 100), "f4")
            support.write_shard(folder / f"{name}.h5", x, numpy.arange(len(x), dtype="i4") % 2, [len(x)], [name], 2)
        return folder

    def wait_for_open(self, run, rank, file):
        """Until that rank has the file open itself, not the process that probes it."""
        end = time.monotonic() + support.TIMEOUT
        while True:
            self.assertLess(time.monotonic(), end)
            self.assertIsNone(run.process.poll(), "the run ended too early")
            ranks = run.ranks()
            try:
                fds = pathlib.Path(f"/proc/{ranks[rank]}/fd") if len(ranks) > rank else None
                if fds and any(os.readlink(fd) == str(file) for fd in fds.iterdir()):
                    return
            except OSError:
                continue  # closed meanwhile
            time.sleep(0.001)

    def test_a_rank_stands_still_where_no_answer_is_due(self):
        """While shards are read; and rank 0, whoever waits for it. The runs wait side by side."""
        shards = self.large_shards()
        large = {"data.shards": shards / "shard-*.h5", "data.test": shards / "test.h5"}
        endless = {"federation.rounds": 10**6}
        survive = {"federation.survive": "on"}
        points = [(1, [], shards / "shard-0.h5", large),
                  (3, recovering(), shards / "shard-2.h5", {**large, **survive}),
                  (2, [], shards / "test.h5", large),
                  (0, [], shards / "test.h5", large),
                  (0, [], 3, endless),
                  (0, recovering(), 30, {**endless, **survive})]
        runs = []
        for i, (rank, launcher, where, options) in enumerate(points):
            self.csv = self.folder / str(i) / "history.csv"
            run = self.start(4, launcher, **{"run.dir": self.csv.parent, "federation.deadline": 1, **options})
            if isinstance(where, int):
                self.wait_for_round(run, where)
            else:
                self.wait_for_open(run, rank, where)
            os.kill(run.ranks()[rank], signal.SIGSTOP)
            runs.append(run)
        for run, (rank, launcher, where, _) in zip(runs, points):
            with self.subTest(rank=rank, where=where, launcher=launcher):
                ended = run.wait(15 * support.SLOWER)
                self.assertRegex(ended.err, rf"fedmpi: rank [0-3]: no sign of life from rank {rank} on \S+ for 5 s")
                if not launcher:
                    self.assertEqual(ended.code, support.STOPPED, str(ended))

    def stalled(self, rank, number, **more):
        """A run of 3 participants of which one stalls after that round."""
        self.csv.unlink(missing_ok=True)
        run = self.start(4, [], **{"federation.deadline": 1, **more})
        self.wait_for_round(run, number)
        self.hit(run, rank, signal.SIGSTOP)
        stopped = time.monotonic()
        ended = run.wait()
        self.assertLess(time.monotonic() - stopped, 10)
        self.assertEqual(ended.code, support.STOPPED, str(ended))
        self.assertIn(f"no answer from rank {rank} for 1 s", ended.err)
        self.assertRegex(ended.err, "note: round [0-9]+ is saved in .*; --run.resume auto continues from there")

    def test_a_stalled_rank_is_named_and_the_run_can_go_on(self):
        """Nothing is missing afterwards, not even the evaluation that was due when the run stopped."""
        options = {"data.test": min(self.shards.iterdir()), "eval.every": 1}
        undisturbed = self.train("undisturbed", {"data.shards": self.shards, **OPTIONS, **options}, ranks=3).sha256
        for shared_memory, rank, number in (("on", 2, 50), ("off", 3, 10)):
            with self.subTest(shared_memory=shared_memory):
                self.stalled(rank, number, **{"run.shared-memory": shared_memory, "run.resume": "auto", **options})
        after = self.train("run", {"data.shards": self.shards, **OPTIONS, **options, "run.resume": "auto"}, ranks=3)
        self.assertEqual(after.sha256, undisturbed)
        for column in ("round", "test_loss", "test_accuracy"):
            numpy.testing.assert_array_equal(self.history("run")[column], self.history("undisturbed")[column])

    def test_a_stalled_rank_is_named_whatever_is_exchanged(self):
        for kind, rank, number in (("float-mean", 1, 1), ("median", 3, 100)):
            with self.subTest(kind=kind):
                self.stalled(rank, number, **{"aggregate.kind": kind})
                shutil.rmtree(self.folder / "run")


if __name__ == "__main__":
    support.main()
