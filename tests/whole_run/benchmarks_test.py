"""The benchmarks that run under mpirun still run, as bench/run.sh starts them: on all ranks, to the end."""

import json
import pathlib

import support

FOLDER = pathlib.Path(support.PROGRAM).parent / "bench"


class Benchmarks(support.WholeRun):
    def run_on(self, ranks, program, *words, wrapper=()):
        ended = support.Started(*words, ranks=ranks, wrapper=wrapper, program=FOLDER / program).wait(4 * support.TIMEOUT)
        self.assertEqual(ended.code, support.DONE, ended)
        return json.loads(ended.out)

    def test_a_round(self):
        shards = self.shard("synthetic:1,1", clients=10)
        for ranks in (2, 3):
            found = self.run_on(ranks, "round_bench", "--data.shards", shards, "--model.kind", "softmax",
                                "--federation.cohort", 4, "--federation.rounds", 40)
            self.assertEqual(found["rounds"], 38)  # after those that warm up
            self.assertEqual(found["reads"], 0)
            self.assertAlmostEqual(found["parts_share"], 1, delta=0.05)

    def test_an_exchange(self):
        for ranks in (2, 3):
            found = self.run_on(ranks, "exchange_bench", "--benchmark_format=json",
                                wrapper=("env", "FEDMPI_BENCH_PARAMETERS=300000"))["benchmarks"]
            self.assertEqual([b for b in found if b.get("error_occurred")], [])
            self.assertEqual({b["name"].split("/")[0] for b in found},
                             {"ours", "ours_by_mpi", "ours_float", "raw", "raw_same_bytes", "handover",
                              "shared_additions", "raw_by_participant", "exact_by_participant"})


if __name__ == "__main__":
    support.main()
