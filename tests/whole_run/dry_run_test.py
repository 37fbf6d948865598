"""--dry-run checks everything and trains nothing."""

import re
import unittest

import support


class DryRun(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=9, files=3, holdout=0.1)

    def dry_run(self, ranks, code=support.DONE, **more):
        options = {"data.shards": self.shards, "data.test": self.shards / "test.h5", "model.kind": "mlp",
                   "model.hidden": "50", "federation.cohort": 4, **more}
        return self.train("run", options, ranks, code, words=["--dry-run"])

    def test_prints_the_plan(self):
        parameters = 60 * 50 + 50 + 50 * 10 + 10
        for ranks, participants in ((0, 1), (1, 1), (3, 2)):
            with self.subTest(ranks=ranks):
                plan = self.dry_run(ranks).err
                self.assertIn("9 clients", plan)
                self.assertIn("3 files", plan)
                self.assertIn(f"{participants} participant", plan)
                self.assertIn(f"{parameters} parameters", plan)
                self.assertIn("4 of 9 clients", plan)
                self.assertRegex(plan, rf"{4 * parameters / 1024:.1f} KiB down and {8 * parameters / 1024:.1f} KiB up")
                self.assertRegex(plan, r"memory +about [\d.]+ [KM]iB")
                self.assertRegex(plan, r"checkpoint +about [\d.]+ KiB")

    def test_counts_no_more_updates_than_a_cohort_has(self):
        """Of a fixed size; one drawn by chance may come out larger."""
        memory = {}
        for sampling in ("uniform", "poisson"):
            plan = self.dry_run(2, **{"federation.cohort": 1, "federation.sampling": sampling, "model.hidden": 5000,
                                      "aggregate.kind": "median"}).err
            memory[sampling] = float(re.search(r"memory +about ([\d.]+) MiB", plan)[1])
        self.assertLess(memory["uniform"] + 4 * 4 * 71 * 5000 / 2**20, memory["poisson"])

    @unittest.skipIf(support.SLOWER > 1, "sanitizers take memory of their own")
    def test_refuses_a_test_shard_for_which_there_is_no_memory(self):
        large = self.shard("synthetic:0.5,0.5", name="large", clients=1200, holdout=0.9) / "test.h5"
        mib = large.stat().st_size >> 20
        self.assertGreater(mib, 60)
        for ranks in (1, 3):
            words = support.words_of({"data.shards": self.shards, "data.test": large, "run.dir": self.folder / "run"})
            ended = support.Started("train", *words, "--dry-run", ranks=ranks,
                                    wrapper=["env", f"SLURM_MEM_PER_NODE={mib}"]).wait()
            self.assertEqual(ended.code, support.USAGE, str(ended))
            self.assertRegex(ended.diagnostics[0], "of memory for the test examples of [0-9] ranks?, found .* left of")
        plan = self.dry_run(3, **{"data.test": large}).err  # of three ranks one holds a third at least
        self.assertGreater(float(re.search(r"memory +about ([\d.]+) MiB", plan)[1]), mib / 4)

    def test_sizes_that_no_number_holds(self):
        """Of vectors, threads and bytes together; none is taken for a small one, and nothing is allocated before."""
        for hidden in (2**56, 2**57, 2**62):
            words = support.words_of({"data.shards": self.shards, "run.dir": self.folder / "run", "model.kind": "mlp",
                                      "model.hidden": hidden, "federation.threads": 64})
            ended = support.Started("train", *words, "--dry-run", ranks=1).wait()
            self.assertEqual(ended.code, support.USAGE, str(ended))
            self.assertRegex(ended.diagnostics[0], r"expected .* of memory for the model|fewer than 2\^61 numbers")

    def test_trains_nothing(self):
        ended = self.dry_run(2)
        self.assertNotIn("train loss", ended.err)
        self.assertNotIn("sha256", ended.out)
        self.assertFalse((self.folder / "run").exists())

    def test_a_run_in_the_directory_stays_as_it_is(self):
        self.train("run", {"data.shards": self.shards, "federation.rounds": 3})
        before = support.folder_digest(self.folder / "run")
        self.dry_run(2, support.CANNOT_CREATE)
        self.train("run", {"data.shards": self.shards, "federation.rounds": 5, "run.resume": "auto", "eval.every": 2},
                   words=["--dry-run"])
        self.assertEqual(support.folder_digest(self.folder / "run"), before)

    def test_finds_a_broken_shard(self):
        shard = self.shards / "shard-00001.h5"
        shard.write_bytes(shard.read_bytes()[:-100])
        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                self.assertIn("shard-00001.h5", self.dry_run(ranks, support.BAD_DATA).diagnostics[0])

    def test_finds_a_directory_that_cannot_be_made(self):
        (self.folder / "file").touch()
        for ranks in (0, 2):
            with self.subTest(ranks=ranks):
                self.dry_run(ranks, support.CANNOT_CREATE, **{"run.dir": self.folder / "file" / "run"})

    def test_finds_a_wrong_option(self):
        ended = self.dry_run(2, support.USAGE, **{"model.loss": "hinge"})
        self.assertIn("model.loss: 'hinge' is not known", ended.err)


if __name__ == "__main__":
    support.main()
