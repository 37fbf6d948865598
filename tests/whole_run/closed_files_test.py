"""A program whose standard files are closed: what it prints is lost, and it says so by its exit code."""

import support


class ClosedFiles(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:1,1", clients=4)
        self.options = {"data.shards": self.shards, "federation.rounds": 2}
        self.train("first", self.options)
        self.checkpoint = self.folder / "first" / "latest.h5"

    def assert_ends(self, code, closed, *words):
        ended = support.Started(*words, wrapper=["sh", "-c", f'exec "$0" "$@" {closed}']).wait()
        self.assertEqual(ended.code, code, str(ended))
        return ended

    def test_no_result_is_lost_in_silence(self):
        train = support.words_of({**self.options, "run.dir": self.folder / "run"})
        for words in (["train", *train], ["inspect", self.checkpoint], ["shard", "synthetic:1,1", "--out", self.folder / "s"],
                      ["evaluate", "--checkpoint", self.checkpoint, "--data", self.shards]):
            with self.subTest(command=words[0]):
                ended = self.assert_ends(74, ">&-", *words)
                self.assertIn("standard output cannot be written", ended.err)
        self.assertTrue((self.folder / "run" / "checkpoint-000002.h5").exists())

    def test_nothing_else_takes_their_places(self):
        """Neither a checkpoint nor a connection: progress goes to standard error, and nowhere when that is closed."""
        words = support.words_of({**self.options, "run.dir": self.folder / "run"})
        ended = self.assert_ends(support.DONE, "<&- 2>&-", "train", *words)
        self.assertEqual(ended.sha256, self.train("again", self.options).sha256)


if __name__ == "__main__":
    support.main()
