"""Installs fedmpi into a folder of its own, and builds and runs a program outside the tree with what is there.

install_test.py BUILD_FOLDER"""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

CONSUMER = pathlib.Path(__file__).resolve().parent
BUILD = ""

CONFIG = """
[data]
shards = {work}/shards
[model]
kind = softmax
[federation]
rounds = 2
[run]
dir = {work}/run-{ranks}
"""


def run(*command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


class Install(unittest.TestCase):
    def test_a_program_outside_the_tree_trains_and_keeps_its_process(self):
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            run("cmake", "--install", BUILD, "--prefix", work / "prefix")
            cache = (pathlib.Path(BUILD) / "CMakeCache.txt").read_text()
            flags = re.search(r"^FEDMPI_SANITIZE:\w+=(\w*)", cache, re.MULTILINE)[1]
            flags = {"": "", "address": "-fsanitize=address,undefined", "thread": "-fsanitize=thread"}[flags]
            if re.search(r"^FEDMPI_COVERAGE:\w+=ON", cache, re.MULTILINE):
                flags += " -fprofile-instr-generate"
            compiler = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)", cache, re.MULTILINE)[1]
            run("cmake", "-S", CONSUMER, "-B", work / "build", f"-DCMAKE_PREFIX_PATH={work / 'prefix'}",
                f"-DCMAKE_CXX_COMPILER={compiler}", f"-DCMAKE_CXX_FLAGS={flags}")
            run("cmake", "--build", work / "build")
            run(work / "prefix/bin/fedmpi", "shard", "synthetic:1,1", "--clients", 5, "--out", work / "shards")

            weights = set()
            for ranks in (1, 3):
                config = work / f"train-{ranks}.ini"
                config.write_text(CONFIG.format(work=work, ranks=ranks))
                printed = run(os.environ["MPIEXEC"], "-n", ranks, work / "build/consumer", config)
                self.assertIn("all 2 rounds done", printed)
                weights.add(re.search(r"weights ([0-9a-f]{64})", printed)[1])
                self.assertTrue((work / f"run-{ranks}" / "latest.h5").exists())
            self.assertEqual(len(weights), 1)


if __name__ == "__main__":
    BUILD = sys.argv[1]
    unittest.main(argv=sys.argv[:1])
