#!/usr/bin/env python3
"""What the committed figures say: the order of the methods that theory gives, and that the lines are this program's.

DITHER_BIN is the program, DITHER_SOURCE the repository. Standard library only."""
import csv
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

BIN = os.path.abspath(os.environ.get("DITHER_BIN", "dither"))
ROOT = os.environ.get("DITHER_SOURCE", ".")
FIGURES = os.path.join(ROOT, "docs", "figures")
REDUCED = ("vr-diana", "qsvrg")               # variance reduced: linear to the optimum
NOISY = ("diana", "qsgd", "terngrad")         # with SGD: a plateau in proportion to the step


def read(name):
    with open(os.path.join(FIGURES, name), newline="") as f:
        return list(csv.DictReader(f))


def fnv(path):
    value = 0xcbf29ce484222325
    with open(path, "rb") as f:
        for byte in f.read():
            value = (value ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return "%016x" % value


class Figure3(unittest.TestCase):
    def setUp(self):
        self.problems = {}
        for row in read("fig3.csv"):
            self.problems.setdefault(row["problem"], []).append(row)

    def test_all_are_there(self):
        self.assertEqual(list(self.problems), ["mushrooms-6e-4", "mushrooms-6e-5", "a5a-5e-4", "a5a-5e-5"])
        for rows in self.problems.values():
            found = {(r["method"], r["estimator"], r["stepper"]) for r in rows}
            self.assertEqual(found, {("vr-diana", "lsvrg", "plain"), ("vr-diana", "saga", "plain"), ("diana", "sgd", "plain"),
                                     ("qsgd", "sgd", "plain"), ("qsvrg", "svrg", "plain"), ("terngrad", "sgd", "adam")})
            self.assertEqual(len(rows), 18)
            self.assertEqual({r["seed"] for r in rows}, {"0", "1", "2"})
            self.assertTrue(all(int(r["trials"]) >= 10 for r in rows))
            self.assertEqual({r["status"] for r in rows} - {"reached", "not-reached"}, set())

    def test_variance_reduced_methods_are_linear(self):
        for name, rows in self.problems.items():
            for r in rows:
                if r["method"] in REDUCED:
                    self.assertLess(float(r["gap_end"]), 0.01 * float(r["gap_half"]), (name, r["method"], r["estimator"]))

    def test_the_others_hover(self):
        for name, rows in self.problems.items():
            for r in rows:
                if r["method"] in NOISY:
                    self.assertGreater(float(r["gap_end"]), 0.1 * float(r["gap_half"]), (name, r["method"]))
                    self.assertGreater(float(r["gap"]), 1e-7)

    def test_vr_diana_ends_far_below(self):
        for name, rows in self.problems.items():
            worst = max(float(r["gap"]) for r in rows if r["method"] == "vr-diana")
            best = min(float(r["gap"]) for r in rows if r["method"] in NOISY)
            self.assertLess(1000 * worst, best, name)

    def test_bits(self):
        """1.6 bits a coordinate in words of 32, and a norm of 32: what VR-DIANA and DIANA send in an iteration."""
        for name, rows in self.problems.items():
            d = 112 if name.startswith("mushrooms") else 122
            for r in rows:
                if r["method"] in ("vr-diana", "diana", "qsgd"):
                    each = float(r["uplink_bits"]) / int(r["iterations"])
                    self.assertTrue(1.6 * d + 32 <= each <= 1.6 * d + 32 + 8, (name, each))

    def test_lines_are_of_this_program_and_data(self):
        row = min((r for r in self.problems["mushrooms-6e-4"] if r["method"] == "vr-diana"), key=lambda r: int(r["iterations"]))
        data = os.path.join(ROOT, "data", "mushrooms")
        self.assertEqual(row["data_hash"], fnv(data))
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "s.json")
            subprocess.run([BIN, "train", data, "--l2", row["l2"], "--workers", "12", "--method", "vr-diana", "--estimator",
                            row["estimator"], "--gamma", row["gamma_option"], "--seed", row["seed"], "--iterations",
                            row["iterations"], "--threads", "1", "--reference", "none", "--quiet", "--summary", out],
                           check=True)
            with open(out) as f:
                summary = json.load(f)
        self.assertEqual(summary["state_hash"], row["state_hash"])
        self.assertEqual(summary["uplink_bits"], float(row["uplink_bits"]))


class Pages(unittest.TestCase):
    def test_pictures(self):
        pages = glob.glob(os.path.join(FIGURES, "*.md"))
        self.assertTrue(pages)
        for page in pages:
            with open(page) as f:
                text = f.read()
            self.assertNotRegex(text, r"/tmp/|/home/|nan")
            for name in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text):
                path = os.path.join(FIGURES, name)
                self.assertLess(os.path.getsize(path), 80000, name)
                tree = xml.etree.ElementTree.parse(path)
                lines = [e.get("d") for e in tree.iter("{http://www.w3.org/2000/svg}path") if (e.get("d") or "").count("L") > 10]
                self.assertTrue(lines, name)

    def test_figure_1(self):
        """Memories: none hover, theory's rate goes further than none, with both estimators."""
        if not os.path.exists(os.path.join(FIGURES, "fig1.csv")):
            self.skipTest("no fig1.csv")
        rows = read("fig1.csv")
        for estimator in ("lsvrg", "saga"):
            mine = {r["alpha_option"]: r for r in rows if r["estimator"] == estimator}
            self.assertGreater(float(mine["0"]["gap"]), 10 * float(mine["theory"]["gap"]))
            self.assertAlmostEqual(float(mine["theory"]["alpha"]), 1 / 2000 ** 0.5, 6)
            self.assertGreater(float(mine["0"]["gap_end"]), 0.3 * float(mine["0"]["gap_half"]))
            for alpha in "0.002", "theory", "0.035":
                self.assertLess(float(mine[alpha]["gap_end"]), 0.01 * float(mine[alpha]["gap_half"]))
            self.assertEqual(mine["0.1"]["status"], "diverged")

    def test_figure_2(self):
        """The order of figure 3, on every problem: QSVRG and VR-DIANA linear, the others far above."""
        problems = {}
        for row in read("fig2.csv"):
            problems.setdefault(row["problem"], []).append(row)
        self.assertIn("news20", problems)
        for name, rows in problems.items():
            self.assertEqual({(r["method"], r["estimator"]) for r in rows}, {
                ("vr-diana", "lsvrg"), ("vr-diana", "saga"), ("diana", "sgd"), ("qsgd", "sgd"), ("qsvrg", "svrg"), ("terngrad", "sgd")})
            for r in rows:
                self.assertAlmostEqual(float(r["L_max"]), 0.25 + float(r["l2"]), 5) # rows of norm 1
                if r["method"] in REDUCED:
                    self.assertTrue(r["status"] == "reached" or float(r["gap_end"]) < 0.01 * float(r["gap_half"]), (name, r["method"]))
                else:
                    self.assertGreater(float(r["gap_end"]), 0.1 * float(r["gap_half"]), (name, r["method"]))
            worst = max(float(r["gap"]) for r in rows if r["method"] == "vr-diana")
            self.assertLess(1000 * worst, min(float(r["gap"]) for r in rows if r["method"] in NOISY), name)


if __name__ == "__main__":
    if not os.path.isfile(BIN):
        sys.exit("set DITHER_BIN to the program")
    unittest.main()
