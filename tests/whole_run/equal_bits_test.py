"""Same seed, same bits: the digest of the final weights is one value for any number of ranks, any placement, any number
of threads, and after stopping and going on with other ranks."""

import itertools

import support

ROUNDS, PAUSE = 12, 7
SYNTHETIC = {"seed": 3, "clients": 20}  # natural clients of very unequal sizes

# Everything that a round draws or keeps is on: a cohort, a shuffle, client momentum, a learning rate that decays.
OPTIONS = {
    "model.kind": "mlp", "model.hidden": "16", "model.activation": "tanh",
    "client.epochs": 2, "client.lr": 0.05, "client.lr-decay": 0.9, "client.momentum": 0.5,
    "federation.cohort": 9, "federation.rounds": ROUNDS, "federation.seed": 11, "eval.every": 5,
}


class EqualBits(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.numbers = itertools.count()

    def options(self, shards, more):
        options = {"data.shards": shards, **OPTIONS, **more}
        return support.without_unread(options, "client.algorithm") if "client.algorithm" in more else options

    def run_of(self, shards, ranks=0, **more):
        # Sixty-four ranks on two cores take long to start.
        return self.train(f"run-{next(self.numbers)}", self.options(shards, more), ranks,
                          timeout=(3 if ranks > 9 else 1) * support.TIMEOUT)

    def assert_equal_bits(self, cases):
        """Cases (shards, ranks, options) whose runs end with the same weights, of which the digest is returned."""
        runs = support.together([lambda c=c: self.run_of(c[0], c[1], **c[2]) for c in cases])
        for (shards, ranks, more), run in zip(cases, runs):
            with self.subTest(shards=shards.name, ranks=ranks, **more):
                self.assertEqual(run.sha256, runs[0].sha256)
        return runs[0].sha256

    def assert_survives_a_pause(self, shards, undisturbed, **more):
        run = f"paused-{next(self.numbers)}"
        options = self.options(shards, more)
        before = self.train(run, {**options, "federation.rounds": PAUSE}, ranks=5).sha256
        self.assertNotEqual(before, undisturbed)
        after = self.train(run, {**options, "run.resume": "auto"}, ranks=3)
        self.assertIn(f"continuing after round {PAUSE}", after.err)
        self.assertEqual(after.sha256, undisturbed)

    def assert_each_survives_a_pause(self, shards, variants):
        """With each of the variants of the options, alone, on 4 ranks, and after a pause; returns the digests."""
        def one(variant):
            digest = self.assert_equal_bits([(shards, 0, variant), (shards, 4, {"federation.threads": 2, **variant})])
            self.assert_survives_a_pause(shards, digest, **variant)
            return digest

        return [one(variant) for variant in variants]

    def test_any_number_of_ranks_and_threads(self):
        shards = self.shard("synthetic:0.5,0.5", **SYNTHETIC)
        sizes = [c.stop - c.start for c in support.read_shard(shards / "shard-00000.h5")[2]]
        self.assertGreater(max(sizes), 5 * min(sizes))
        digest = self.assert_equal_bits([(shards, ranks, {"federation.threads": threads}) for ranks, threads in
                                         ((0, 1), (0, 2), (1, 1), (2, 2), (3, 1), (4, 2), (5, 2), (8, 1), (9, 1))] +
                                        [(shards, 5, {"run.shared-memory": "off", "federation.threads": 2})])
        self.assertNotEqual(self.run_of(shards, **{"federation.seed": 12}).sha256, digest)

    def test_sixty_four_ranks(self):
        shards = self.shard("synthetic:0.5,0.5", seed=3, clients=80)
        self.assert_equal_bits([(shards, ranks, {"federation.cohort": 40, **more}) for ranks, more in
                                ((0, {}), (64, {}), (64, {"run.shared-memory": "off"}))])

    def test_any_placement(self):
        cases = []
        for files, count in (("one", 1), ("client", 20), (3, 3)):
            shards = self.shard("synthetic:0.5,0.5", f"files-{files}", files=files, **SYNTHETIC)
            self.assertEqual(len(list(shards.glob("shard-*.h5"))), count)
            cases += [(shards, ranks, {}) for ranks in (0, 2, 5)]
        self.assert_equal_bits(cases)

    def test_every_server_optimizer(self):
        shards = self.shard("synthetic:0.5,0.5", **SYNTHETIC)
        names = support.choices("server.optimizer")
        digests = self.assert_each_survives_a_pause(shards, [{"server.optimizer": name, "server.lr": 0.5}
                                                             for name in names])
        self.assertEqual(len(set(digests)), len(names))

    def test_every_sampling_weighting_algorithm_and_aggregator(self):
        shards = self.shard("synthetic:0.5,0.5", **SYNTHETIC)
        # float-mean is MPI's sum of float32, whose bits depend on the ranks.
        self.assert_each_survives_a_pause(shards, [
            {option: name} for option in ("federation.sampling", "client.algorithm", "aggregate.kind")
            for name in support.choices(option) if name != "float-mean"] + [{"aggregate.weights": "equal"}] + [
            {"client.momentum": 0, "client.epochs": 1, "client.batch": 0}, {"client.momentum": 0, "client.steps": 1}])

    def test_real_images_on_clients_of_skewed_sizes(self):
        images = support.ten_thousand_images(self.folder / "images")
        shards = self.shard(f"idx:{images}", clients=30, skew=1, partition="dirichlet:0.5")
        more = {"model.activation": "relu", "federation.cohort": 6}
        digest = self.assert_equal_bits([(shards, ranks, {"federation.threads": threads, **more})
                                         for ranks, threads in ((0, 1), (0, 2), (3, 1), (9, 1))])
        self.assert_survives_a_pause(shards, digest, **more)


if __name__ == "__main__":
    support.main()
