"""What each choice makes of a run in which nothing else is set, and how numbers of any size are printed."""

import re

import numpy as np

import support


class Defaults(support.WholeRun):
    def test_every_choice_trains(self):
        shards = self.shard("synthetic:0.5,0.5", seed=3, clients=20, holdout=0.2)
        options = {"data.shards": shards, "data.test": shards / "test.h5", "federation.rounds": 60, "eval.every": 0}
        runs = [{option: name} for option in ("client.algorithm", "server.optimizer", "aggregate.kind", "federation.sampling")
                for name in support.choices(option)]
        ended = support.together([lambda i=i, more=more: self.train(f"run-{i}", {**options, **more})
                                  for i, more in enumerate(runs)])
        for i, (more, run) in enumerate(zip(runs, ended)):
            with self.subTest(**more):
                accuracy = float(self.history(f"run-{i}")["test_accuracy"][-1])
                self.assertGreater(accuracy, 0.5, str(run))


class Numbers(support.WholeRun):
    def printed(self, scale, **more):
        """The losses and metrics in the log of a linear regression whose targets are of that size."""
        draw = np.random.default_rng(4)
        x = draw.normal(size=(90, 3)).astype("f4")
        y = (scale * (x @ np.ones((3, 1)) + draw.normal(size=(90, 1)))).astype("f4")
        shard = support.write_shard(self.folder / f"shards-{scale}" / "shard-00000.h5", x, y, [30, 30, 30])
        ended = self.train(f"run-{scale}", {"data.shards": shard, "data.test": shard, "model.kind": "linear",
                                            "federation.rounds": 1, **more})
        self.assertIn("the only round is done", ended.out)
        self.assertIn(" in 1 round,", ended.out)
        out = self.fedmpi("evaluate", "--checkpoint", self.folder / f"run-{scale}" / "latest.h5", "--data", shard).out
        self.assertIn("3 clients, 90 examples", out)
        number = r"[ (](\d[\d.e+-]*)(?=[ ,)\n])"
        found = re.findall(rf"(?:loss|rmse|worst){number}", ended.err + ended.out)
        found += re.findall(rf"(?:loss|rmse) +{number}", out)
        found += re.findall(rf"(?:examples|percentile|median|90th|worst){number}", out)
        self.assertGreater(len(found), 12, f"{ended}\n{out}")
        return found

    def test_keep_their_significant_digits(self):
        for scale in (1e-5, 1e-12, 1.0, 1e9, 1e15):
            with self.subTest(scale=scale):
                for text in self.printed(scale, **{"client.lr": 0.01, "eval.clients": "on"}):
                    self.assertGreaterEqual(len(re.sub(r"e.*|\.|^[0.]*", "", text)), 3, text)
                    self.assertLessEqual(len(text), 11, text)


if __name__ == "__main__":
    support.main()
