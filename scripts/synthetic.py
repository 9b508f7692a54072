#!/usr/bin/env python3
"""Synthetic data in LIBSVM format, on the standard output: the same bytes for the same arguments.

    synthetic.py dense ROWS COLUMNS NORM2       every entry there, uniform in [-v, v] with v so that E||a||^2 = NORM2
    synthetic.py sparse ROWS COLUMNS NONZEROS   rows of norm 1 whose columns follow Zipf's law, as words do

Labels are those of a random hyperplane, one in ten of them turned. Standard library only."""
import bisect
import math
import random
import sys

SEED = 20190411


def label(r, margin):
    y = 1 if margin > 0 else -1
    return -y if r.random() < 0.1 else y


def dense(rows, columns, norm2):
    r = random.Random(SEED)
    v = math.sqrt(3 * norm2 / columns)
    value = [(2 * b - 255) / 255 * v for b in range(256)]
    text = ["%.4f" % x for x in value]
    head = ["%d:" % (c + 1) for c in range(columns)]
    plane = [r.gauss(0, 1) for _ in range(columns)]
    for _ in range(rows):
        row = r.randbytes(columns)
        margin = sum(p * value[b] for p, b in zip(plane, row))
        print("%+d %s" % (label(r, margin), " ".join([h + text[b] for h, b in zip(head, row)])))


def sparse(rows, columns, nonzeros):
    r = random.Random(SEED)
    total, sums = 0.0, []
    for c in range(columns):
        total += 1 / (c + 2)
        sums.append(total)
    plane = [r.gauss(0, 1) for _ in range(columns)]
    for _ in range(rows):
        chosen = set()
        while len(chosen) < nonzeros:
            chosen.add(min(bisect.bisect(sums, r.random() * total), columns - 1))
        entries = [(c, r.random()) for c in sorted(chosen)]
        norm = math.sqrt(sum(v * v for _, v in entries))
        margin = sum(plane[c] * v for c, v in entries)
        print("%+d %s" % (label(r, margin), " ".join("%d:%.6f" % (c + 1, v / norm) for c, v in entries)))


if __name__ == "__main__":
    kind, rows, columns, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    {"dense": lambda: dense(rows, columns, float(last)), "sparse": lambda: sparse(rows, columns, int(last))}[kind]()
