#!/usr/bin/env python3
"""Ranks without a launcher: threads of one process, and processes that find each other over TCP. The same bits for any
number of them, and failures that end all of them with one message.

DITHER_BIN is the program, DITHER_DATA_DIR the folder with mushrooms. Standard library only."""
import csv
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

BIN = os.path.abspath(os.environ.get("DITHER_BIN", "dither"))
MUSHROOMS = os.path.abspath(os.path.join(os.environ.get("DITHER_DATA_DIR", "data"), "mushrooms"))
SETTINGS = [[], ["--method", "diana", "--aggregate", "allreduce"], ["--estimator", "saga", "--precision", "f32", "--block", "3"],
            ["--codec", "natural", "--prox", "l1:0.01"], ["--codec", "randk", "--keep", "3"], ["--method", "gd"],
            ["--prox", "ball:0.3", "--levels", "7", "--wire", "fixed"], ["--aggregate", "alltoall"], ["--wire", "rice"],
            ["--aggregate", "server", "--downlink", "dither"]]


def write_rows(path, rows, features, filled, seed=1):
    r = random.Random(seed)
    with open(path, "w") as f:
        for _ in range(rows):
            columns = sorted(r.sample(range(1, features + 1), filled))
            a = [r.gauss(0, 1) for _ in columns]
            f.write("%d %s\n" % (1 if a[0] + 0.7 * r.gauss(0, 1) > 0 else -1,
                                 " ".join("%d:%.6f" % cv for cv in zip(columns, a))))


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="dither-ranks-")
        cls.dir = cls.folder.name
        cls.small = os.path.join(cls.dir, "small")
        write_rows(cls.small, 61, 8, 5)
        cls.env = dict(os.environ, XDG_CACHE_HOME=os.path.join(cls.dir, "cache"), LC_ALL="C", CUDA_VISIBLE_DEVICES="")

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def path(self, name):
        return os.path.join(self.dir, name)

    def start(self, *words):
        return subprocess.Popen([BIN, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=self.env, cwd=self.dir)

    def launch(self, kind, ranks, *words):
        """The processes of a run, rank 0 last."""
        if kind == "threads":
            return [self.start("train", *words, "--device", "cpu", "--threads", "1", "--ranks", str(ranks))]
        at = ["--ranks", str(ranks), "--rendezvous", "127.0.0.1:%d" % free_port(), "--threads", "1", "--device", "cpu"]
        return [self.start("train", *words, *at, "--rank", str(r)) for r in reversed(range(ranks))]

    def finish(self, processes, timeout=60):
        """[(exit code, stdout, stderr)], rank 0 last"""
        done = []
        for p in processes:
            out, err = p.communicate(timeout=timeout)
            done.append((p.returncode, out, err))
        return done

    def train(self, kind, ranks, data, *words):
        """The summary, and the trace without its clock."""
        done = self.finish(self.launch(kind, ranks, data, "--summary", "s.json", "--trace", "t.csv", *words))
        for code, out, err in done:
            self.assertEqual((code, err), (0, ""))
        self.assertEqual(sum(out.count("state hash") for _, out, _ in done), 1)
        with open(self.path("s.json")) as f:
            summary = json.load(f)
        with open(self.path("t.csv")) as f:
            trace = [dict(row, seconds="") for row in csv.DictReader(f)]
        return summary, trace

    def check_same(self, runs, data, *words):
        alone, trace = self.train("threads", 1, data, *words)
        for kind, ranks in runs:
            with self.subTest(kind=kind, ranks=ranks, words=words):
                several, other = self.train(kind, ranks, data, *words)
                self.assertEqual((several["communicator"], several["ranks"]), (kind, ranks))
                self.assertEqual(several["state_hash"], alone["state_hash"])
                self.assertEqual(other, trace)

    def check_ended(self, processes, code, *parts):
        """Every rank has the exit code, and one message holds the parts."""
        done = self.finish(processes)
        self.assertEqual([c for c, _, _ in done], [code] * len(done), done)
        lines = [line for _, _, err in done for line in err.splitlines()]
        self.assertEqual(len(lines), 1, done)
        for part in parts:
            self.assertIn(part, lines[0])


class SameBits(Case):
    def test_settings(self):
        for i, words in enumerate(SETTINGS):
            self.check_same([("threads", 2 + i % 3), ("tcp", 2 + (i + 1) % 3)], self.small, *words, "--workers", "7",
                            "--iterations", "40")

    def test_every_number_of_threads(self):
        self.check_same([("threads", r) for r in range(2, 8)], self.small, "--workers", "7", "--iterations", "60")

    def test_mushrooms(self):
        self.check_same([("threads", 3), ("tcp", 4)], MUSHROOMS, "--l2", "6e-4", "--iterations", "500")


class Failures(Case):
    def test_more_ranks_than_workers(self):
        self.check_ended(self.launch("threads", 4, self.small, "--workers", "3"), 2, "--workers 3", "4 ranks")
        self.check_ended(self.launch("tcp", 3, self.small, "--workers", "2"), 2, "--workers 2", "3 ranks")

    def test_divergence(self):
        for kind in "threads", "tcp":
            self.check_ended(self.launch(kind, 3, self.small, "--gamma", "1e300"), 4, "diverged")

    def test_one_rank_alone(self):
        """Only rank 1 can't read its file; or it reads another one."""
        write_rows(self.path("other"), 61, 8, 5, seed=2)
        for name, code, parts in ("absent", 6, ["absent"]), ("other", 2, ["rank 1", "other data"]):
            at = ["--ranks", "3", "--rendezvous", "127.0.0.1:%d" % free_port(), "--device", "cpu"]
            self.check_ended([self.start("train", name if r == 1 else self.small, *at, "--rank", str(r)) for r in (2, 1, 0)],
                             code, *parts)

    def test_death(self):
        """A rank that is killed takes the others with it."""
        processes = self.launch("tcp", 3, MUSHROOMS, "--max-seconds", "100", "--target-gap", "1e-300")
        time.sleep(1)
        processes[1].kill()
        began = time.monotonic()
        (two, _, said2), (_, _, _), (zero, _, said0) = self.finish(processes)
        self.assertLess(time.monotonic() - began, 15)
        self.assertEqual((zero, two, said2), (5, 5, ""))
        self.assertIn("rank 1 has gone", said0)

    def test_interrupt(self):
        for kind in "threads", "tcp":
            processes = self.launch(kind, 2, MUSHROOMS, "--max-seconds", "100", "--target-gap", "1e-300", "--summary", "i.json")
            time.sleep(1.5)
            processes[-1].send_signal(signal.SIGTERM)
            self.finish(processes)
            self.assertEqual(processes[-1].returncode, 128 + signal.SIGTERM)
            with open(self.path("i.json")) as f:
                self.assertEqual(json.load(f)["status"], "interrupted")

    def test_usage(self):
        for words, part in [(["--comm", "threads"], "--ranks R"), (["--rank", "0"], "--rendezvous"),
                            (["--ranks", "2", "--rank", "2", "--rendezvous", "localhost:1"], "there are 2 ranks"),
                            (["--ranks", "2", "--comm", "local"], "--ranks is for"), (["--ranks", "2", "--rank", "1", "--rendezvous", "nix"], "host:port"),
                            (["--comm", "threads", "--ranks", "2", "--rank", "1"], "--rank and --rendezvous")]:
            code, out, err = self.finish([self.start("train", self.small, *words)])[0]
            self.assertEqual((code, out), (2, ""), words)
            self.assertIn(part, err)


if __name__ == "__main__":
    unittest.main()
