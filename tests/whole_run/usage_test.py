"""Options that are wrong: exit code 2 and one sentence, alone and on 3 ranks, before anything is written."""

import subprocess

import support

SECONDS = 5 * support.SLOWER  # within which a run with wrong options must have ended


class Usage(support.WholeRun):
    def setUp(self):
        super().setUp()
        self.shards = self.shard("synthetic:0.5,0.5", clients=6, holdout=0.1)

    def assert_each(self, cases, code=support.USAGE):
        """Each of the cases {what: (words, pattern …)} ends with that code and one line that matches the patterns."""
        runs, calls = [], []
        for i, (what, (words, *patterns)) in enumerate(cases.items()):
            for ranks in (0, 3):
                run = self.folder / f"run-{i}-{ranks}"
                line = ["train", "--data.shards", self.shards, "--run.dir", run, *words]
                calls.append(lambda line=line, ranks=ranks: support.Started(*line, ranks=ranks).wait())
                runs.append((what, ranks, run, patterns))
        for (what, ranks, run, patterns), ended in zip(runs, support.together(calls, seconds=SECONDS)):
            with self.subTest(case=what, ranks=ranks):
                self.assertEqual(ended.code, code, str(ended))
                self.assertLess(ended.seconds, SECONDS)
                self.assertEqual(len(ended.diagnostics), 1, str(ended))
                for pattern in patterns:
                    self.assertRegex(ended.diagnostics[0], pattern)
                self.assertFalse(run.exists())

    def test_unknown_names_are_answered_with_the_known_ones(self):
        self.assert_each({
            "option": (["--client.speed", "1"], "client.speed", "client.lr", "client.epochs"),
            "section": (["--clients.lr", "1"], "clients.lr", "client, "),
            "no section": (["--rounds", "1"], "rounds"),
            "model": (["--model.kind", "cnn9"], "cnn9", "softmax, mlp"),
            "activation": (["--model.kind", "mlp", "--model.activation", "step"], "step", "relu, tanh"),
            "loss": (["--model.kind", "mlp", "--model.loss", "hinge"], "hinge", "cross-entropy"),
            "algorithm": (["--client.algorithm", "fedmagic"], "fedmagic", "fedavg"),
            "optimizer": (["--server.optimizer", "sgdd"], "sgdd", "sgd, "),
            "aggregator": (["--aggregate.kind", "mode"], "mode", "mean"),
            "weights": (["--aggregate.weights", "none"], "none", "examples"),
            "sampling": (["--federation.sampling", "best"], "best", "uniform"),
        })

    def test_values(self):
        self.assert_each({
            "a word for a number": (["--client.lr", "fast"], "client.lr", "fast"),
            "a number and more": (["--client.lr", "0.1x"], "client.lr", "0.1x"),
            "not a number": (["--client.lr", "nan"], "client.lr"),
            "a fraction for a count": (["--federation.rounds", "2.5"], "federation.rounds", "2.5"),
            "too large": (["--federation.rounds", "9" * 30], "federation.rounds", "which is out of range"),
            "negative": (["--federation.rounds", "-1"], "federation.rounds", "-1"),
            "negative seed": (["--federation.seed", "-1"], "federation.seed"),
            "a fraction above one": (["--federation.fraction", "1.5"], "federation.fraction", "1.5"),
            "no threads": (["--federation.threads", "0"], "federation.threads"),
            "a switch": (["--data.skip-bad", "maybe"], "data.skip-bad", "maybe"),
            "no width": (["--model.kind", "mlp", "--model.hidden", "20,0"], "model.hidden"),
            "widths": (["--model.kind", "mlp", "--model.hidden", "20;30"], "model.hidden", "20;30"),
            "a width that cannot be counted": (["--model.kind", "mlp", "--model.hidden", str(2**62)], f"dense_1: .*{2**62}"),
            "weights that cannot be counted": (["--model.kind", "mlp", "--model.hidden", f"7,{2**60}"], f"dense_2.*{2**60}"),
            "bytes that cannot be counted": (["--model.kind", "mlp", "--model.hidden", str(2**54)], "updates of a round.*fewer than"),
            "more than there is memory": (["--model.kind", "mlp", "--model.hidden", str(2**40)], "of memory for the model"),
            "momentum": (["--client.momentum", "1"], "client.momentum"),
            "epochs": (["--client.epochs", "0"], "client.epochs"),
            "one generation": (["--run.keep", "1"], "run.keep"),
            "server momentum": (["--server.optimizer", "momentum", "--server.momentum", "1.5"], "server.momentum"),
            "beta": (["--server.optimizer", "adam", "--server.beta2", "-0.1"], "server.beta2"),
            "tolerance": (["--stop.tolerance", "-1"], "stop.tolerance"),
            "tolerance of the gradient": (["--client.algorithm", "fedsgd", "--stop.gradient-tolerance", "-1"],
                                          "stop.gradient-tolerance"),
            "nothing after it": (["--client.lr"], "client.lr"),
            "a stray word": (["softmax"], "softmax"),
        })

    def test_combinations_that_cannot_work(self):
        self.assert_each({
            "logistic regression of ten classes": (["--model.kind", "logistic"], "two classes.*10"),
            "a target without a test shard": (["--stop.target", "0.5"], "data.test"),
            "an accuracy in percent": (["--stop.target", "85", "--data.test", self.shards / "test.h5"], "from 0 to 1.*85"),
            "patience without a test shard": (["--stop.patience", "3"], "data.test"),
            "a gradient's tolerance without gradients": (["--stop.gradient-tolerance", "1"], "fedsgd"),
            "what FedSGD has none of": (["--client.algorithm", "fedsgd", "--client.momentum", "0.5"],
                                        "client.momentum: client.algorithm fedsgd does not read it; fedavg, fedprox do"),
            "layers of a regression": (["--model.hidden", "20"], "model.hidden: model.kind softmax does not read it; mlp does"),
            "weights of a median": (["--aggregate.kind", "median", "--aggregate.weights", "equal"],
                                    "aggregate.weights: aggregate.kind median does not .*; mean, float-mean do"),
            "linear regression's loss": (["--model.kind", "linear", "--model.loss", "cross-entropy"], "squared"),
        })

    def test_combinations_that_cannot_work_with_regression(self):
        self.shards = self.shard("linear:features=3,examples=60", "linear", clients=6)
        self.assert_each({
            "softmax": (["--model.kind", "softmax"], "regression"),
            "logistic": (["--model.kind", "logistic"], "regression"),
            "cross-entropy": (["--model.kind", "mlp", "--model.loss", "cross-entropy"], "regression"),
        })

    def test_files(self):
        lines = {
            "unknown.ini": ("[client]\nlr = 0.1\n# a comment\nspeed = 3\n", r"unknown\.ini:4: .*speed.*known"),
            "section.ini": ("[federation]\nrounds = 3\n\n[clients]\nlr = 1\n", r"section\.ini:5: .*clients"),
            "value.ini": ("[client]\nlr = 0.1\nepochs = many\n", r"value\.ini:3: .*epochs.*many"),
            "syntax.ini": ("[client]\n\nlr 0.1\n", r"syntax\.ini:3: .*lr 0\.1"),
            "open.ini": ("[client\nlr = 0.1\n", r"open\.ini:1: "),
            "twice.ini": ("[client]\nlr = 0.1\nlr = 0.2\n", r"twice\.ini:3: .*lr.*twice"),
            "unread.ini": ("[client]\nalgorithm = fedsgd\n\nepochs = 3\n", r"unread\.ini:4: client\.epochs: .*fedavg, fedprox, scaffold do$"),
            "marks.ini": ("[ client ]\nlr = 0.1;2 ; two\n", r"marks\.ini:2: client\.lr: .*'0\.1;2'"),
            "binary.ini": ("\x00\x01\x02\xff\n", r"binary\.ini:1: expected text, found a NUL byte"),
            "wide.ini": ("[client]\nlr\x00 = 0.1\n", r"wide\.ini:2: expected text, found a NUL byte"),
        }
        for name, (text, _) in lines.items():
            (self.folder / name).write_text(text, encoding="latin-1")
        cases = {name: (["--config", self.folder / name], pattern) for name, (_, pattern) in lines.items()}
        cases["missing"] = (["--config", self.folder / "absent.ini"], "absent.ini")
        cases["a folder"] = (["--config", self.folder], "configuration file")
        cases["no name"] = (["--config"], "--config")
        cases["two"] = (["--config", self.folder / "twice.ini", "--config=open.ini"], "--config.* more than once")
        self.assert_each(cases)

    def test_variables_of_the_environment(self):
        for name in ("FEDMPI_START_SECONDS", "FEDMPI_END_SECONDS", "SLURM_JOB_END_TIME", "SLURM_MEM_PER_NODE"):
            for ranks in (0, 3):
                with self.subTest(name=name, ranks=ranks):
                    words = support.words_of({"data.shards": self.shards, "run.dir": self.folder / "run"})
                    ended = support.Started("train", *words, ranks=ranks, wrapper=["env", f"{name}=soon"]).wait()
                    self.assertEqual(ended.code, support.USAGE, str(ended))
                    self.assertRegex(ended.diagnostics[0], f"{name}: expected a whole number, found 'soon'")
                    self.assertFalse((self.folder / "run").exists())

    def test_a_file_that_says_nothing_or_begins_with_a_mark_of_the_byte_order(self):
        for name, text in (("empty.ini", b""), ("mark.ini", b"\xef\xbb\xbf[federation]\r\nrounds = 1\r\n")):
            (self.folder / name).write_bytes(text)
            self.train("run", {"config": self.folder / name, "data.shards": self.shards}, words=["--dry-run"])

    def test_a_file_for_the_exit_code_that_cannot_be_written(self):
        for file in (self.folder, self.folder / "absent" / "code"):
            for ranks in (0, 3):
                with self.subTest(file=file, ranks=ranks):
                    words = support.words_of({"data.shards": self.shards, "run.dir": self.folder / "run"})
                    ended = support.Started("train", *words, ranks=ranks, wrapper=["env", f"FEDMPI_EXIT_FILE={file}"]).wait()
                    self.assertEqual(ended.code, support.CANNOT_CREATE, str(ended))
                    self.assertRegex(ended.diagnostics[0], f"FEDMPI_EXIT_FILE: '{file}' cannot be written: ")
                    self.assertFalse((self.folder / "run").exists())

    def test_a_file_from_a_pipe(self):
        """Which one rank alone can read; the launcher gives its standard input to rank 0."""
        text = f"[data]\nshards = {self.shards}\n[federation]\nrounds = 2\n[client]\nlr = 0.2 # fast\n"
        file = self.folder / "good.ini"
        file.write_text(text)
        digest = self.train("of-a-file", {"config": file}).sha256
        for ranks in (1, 3):
            with self.subTest(ranks=ranks):
                run = self.folder / f"run-{ranks}"
                command = [support.LAUNCHER, "--oversubscribe", "-n", str(ranks), support.PROGRAM, "train", "--config",
                           "/dev/stdin", "--run.dir", run]
                ended = subprocess.run(command, input=text, text=True, capture_output=True, env=support.environment(),
                                       timeout=support.TIMEOUT)
                self.assertEqual(ended.returncode, support.DONE, ended.stderr)
                self.assertIn(f"weights sha256 {digest}\n", ended.stdout)

    def test_words_override_the_file(self):
        file = self.folder / "good.ini"
        file.write_text(f"[data]\nshards = {self.shards}\n[client]\nlr = 0.3  # fast\n[federation]\nrounds = 9\n")
        self.fedmpi("train", "--config", file, "--federation.rounds=2", f"--run.dir={self.folder / 'run'}", ranks=2)
        text = (self.folder / "run" / "config.ini").read_text()
        self.assertIn("lr = 0.3\n", text)
        self.assertIn("rounds = 2\n", text)
        self.assertIn("[server]\noptimizer = sgd\nlr = 1\n\n", text)  # as resolved, and what is read alone
        self.assertEqual(len(self.history("run")), 3)

    def test_tasks_that_mpi_does_not_join(self):
        """As srun starts them without --mpi=pmix: each would be a run of its own, all in one directory."""
        for tasks, code in ((1, support.DONE), (2, support.USAGE), (64, support.USAGE)):
            ended = support.Started("train", "--data.shards", self.shards, "--run.dir", self.folder / "run", "--dry-run",
                                    wrapper=["env", f"SLURM_STEP_NUM_TASKS={tasks}"]).wait()
            self.assertEqual(ended.code, code, str(ended))
            if code == support.USAGE:
                self.assertIn(f"expected {tasks} ranks, as many as srun has started, found 1", ended.diagnostics[0])

    def test_a_directory_that_cannot_be_made(self):
        (self.folder / "file").write_text("in the way")
        self.assert_each({
            "below a file": (["--run.dir", self.folder / "file" / "run"], "file/run"),
            "a file": (["--run.dir", self.folder / "file"], "file"),
            "below a device": (["--run.dir", "/dev/null/run"], "/dev/null/run"),
        }, code=support.CANNOT_CREATE)
        self.assertEqual((self.folder / "file").read_text(), "in the way")

    def test_other_commands(self):
        for words in ([], ["fly"], ["shard"], ["shard", "x:y", "--out", self.folder / "o"], ["inspect"],
                      ["inspect", "--yaml"], ["evaluate"], ["evaluate", "--model", "x"],
                      ["shard", "synthetic:1,1"], ["shard", "synthetic:1", "--out", self.folder / "o"],
                      ["shard", "synthetic:1,1", "--out", self.folder / "o", "--clients", "-1"]):
            with self.subTest(words=words):
                self.fedmpi(*words, code=support.USAGE)
        ended = self.fedmpi("shard", "synthetic:1,1", "--out", self.folder / "o", ranks=2, code=support.USAGE)
        self.assertIn("without mpirun", ended.err)
        self.assertFalse((self.folder / "o").exists())

    def test_a_standard_output_that_is_closed(self):
        run = self.folder / "run"
        train = ["train", "--data.shards", self.shards, "--run.dir", run, "--federation.rounds", 1]
        for words in (train, ["inspect", run / "latest.h5"], ["evaluate", "--checkpoint", run / "latest.h5", "--data", self.shards],
                      ["shard", "synthetic:1,1", "--out", self.folder / "more"], ["train", "--help"]):
            with self.subTest(words=words):
                ended = support.Started(*words, wrapper=["sh", "-c", 'exec "$@" >&-', "sh"]).wait()
                self.assertEqual(ended.code, support.IO, str(ended))
                self.assertRegex("\n".join(ended.diagnostics), "cannot (be written|write)")
        self.assertTrue((run / "latest.h5").exists())
        ended = support.Started(*train, "--run.resume", "auto", wrapper=["sh", "-c", 'exec "$@" <&- 2>&-', "sh"]).wait()
        self.assertEqual(ended.code, support.DONE, str(ended))

    def test_help_of_an_option_and_of_a_choice(self):
        for option in ("model.kind", "client.algorithm", "server.optimizer", "aggregate.kind", "federation.sampling"):
            for name in support.choices(option):
                self.assertTrue(support.help_of(option, name).startswith(f"{option} {name}: "))
        self.assertEqual(support.reads("server.optimizer", "momentum"), {"server.lr", "server.momentum"})
        self.assertIn("[0.01]", support.help_of("server.optimizer", "adam"))
        for words, pattern in ((["client.algorithm", "scafold"], "'scafold' is not known; known are .*fedavg"),
                               (["client.algorithms"], "'client.algorithms' is not known; known are client.algorithm, "),
                               (["client.lr", "fast"], "client.lr has no choices; .*server.optimizer"),
                               (["client.algorithm", "fedavg", "fedsgd"], "'fedsgd' and more")):
            for ranks in (0, 3):
                with self.subTest(words=words, ranks=ranks):
                    ended = self.fedmpi("train", "--help", *words, ranks=ranks, code=support.USAGE)
                    self.assertEqual(len(ended.diagnostics), 1, str(ended))
                    self.assertRegex(ended.diagnostics[0], pattern)

    def test_help_is_printed_once(self):
        for words in (["train", "--help"], ["evaluate", "-h"]):
            with self.subTest(words=words):
                self.assertEqual(self.fedmpi(*words, ranks=3).out, self.fedmpi(*words).out)

    def test_help_and_version(self):
        for words in (["--help"], ["--version"], ["train", "--help"], ["shard", "--help"], ["evaluate", "--help"],
                      ["inspect", "--help"]):
            with self.subTest(words=words):
                self.assertTrue(self.fedmpi(*words).out)


if __name__ == "__main__":
    support.main()
