#!/usr/bin/env python3
"""The CSV and the page of a figure, from the ablations that reproduce.sh has run.

    figures.py fig1|fig2|fig3 WORK PAGES    WORK/NAME is an ablation; PAGES gets FIGURE.csv and FIGURE.md
    figures.py scaling WORK PAGES

Standard library only. What the page says of a run is decided from its trace by the rules in behaviour()."""
import csv
import json
import os
import re
import statistics
import sys

KEPT = ("data data_hash method estimator stepper l2 alpha_option gamma_option seed trials status iterations epochs "
        "uplink_bits wire_bytes loss gap gap_half gap_end dist2 gamma alpha omega L_max mu state_hash behaviour").split()
OPTIONS = {"method": "--method", "stepper": "--stepper", "l2": "--l2", "alpha_option": "--alpha", "gamma_option": "--gamma",
           "seed": "--seed"}
SAYS = {"linear": "falls in a straight line", "reached": "falls in a straight line, to the target",
        "hovers": "hovers", "slows": "falls ever slower", "diverged": "diverges"}


def read(path):
    with open(path, newline="") as f:
        return list(csv.DictReader(f))


def behaviour(run):
    """By how much the gap falls from the middle of the epochs to their end: linear by 100 at least, hovers by less than 3."""
    if run["status"] in ("diverged", "reached"):
        return run["status"]
    ratio = run["gap_end"] / run["gap_half"]
    return "linear" if ratio < 0.01 else "slows" if ratio < 1 / 3 else "hovers"


def window(trace, begin, end):
    """The median of the gaps between two shares of the epochs: single ones jump."""
    last = float(trace[-1]["epochs"])
    return statistics.median([float(r["gap"]) for r in trace if begin * last <= float(r["epochs"]) <= end * last] or
                             [float(trace[-1]["gap"])])


def runs_of(folder):
    found = []
    for run in read(os.path.join(folder, "runs.csv")):
        if run["status"] == "refused":
            continue
        trace = [r for r in read(os.path.join(folder, "traces", run["run"] + ".csv")) if r["gap"]]
        run["gap_half"], run["gap_end"] = window(trace, 0.45, 0.55), window(trace, 0.9, 1)
        run["behaviour"] = behaviour(run)
        run.update({name: run[option] for name, option in OPTIONS.items()})
        found.append(run)
    return found


def bits_to(gap, run, folder):
    """What a worker had sent at the first point of the trace with that gap or less; infinity if there is none."""
    for r in read(os.path.join(folder, "traces", run["run"] + ".csv")):
        if r["gap"] and float(r["gap"]) <= gap:
            return float(r["uplink_bits"])
    return float("inf")


def time_taken(folder):
    """A sentence about the seconds of all runs and trials."""
    runs, trials = [[float(r["seconds"]) for r in read(path) if r["seconds"]] if os.path.exists(path) else []
                    for path in (os.path.join(folder, "runs.csv"), os.path.join(folder, "trials.csv"))]
    return "%d runs%s took %.0f minutes of training in all, on a machine that did other work beside." % (
        len(runs), " and %d trials of step sizes" % len(trials) if trials else "", sum(runs + trials) / 60)


def write_csv(path, problems, more=()):
    with open(path, "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["problem"] + KEPT + [m.lstrip("-") for m in more])
        for name, runs in problems.items():
            for run in runs:
                out.writerow([name] + [run[k] for k in KEPT + list(more)])


def name_of(run):
    name = {"vr-diana": "VR-DIANA", "diana": "DIANA-SGD", "qsgd": "QSGD", "qsvrg": "QSVRG", "terngrad": "TernGrad"}[run["method"]]
    return name + {"lsvrg": " (L-SVRG)", "saga": " (SAGA)", "svrg": " (SVRG)" if run["method"] == "vr-diana" else ""}.get(
        run["estimator"], "") + ("-Adam" if run["stepper"] == "adam" else "")


def groups(runs, *keys):
    found = {}
    for run in runs:
        found.setdefault(tuple(run[k] for k in keys), []).append(run)
    return list(found.values())


def middle(runs, key):
    return statistics.median(float(r[key]) for r in runs)


def row(cells):
    return "| " + " | ".join(cells) + " |\n"


def commands(folder):
    """The commands of repeat.sh, as one types them in the repository."""
    with open(os.path.join(folder, "repeat.sh")) as f:
        typed = [line.strip() for line in f if line.strip() and not line.startswith("#")]
    return list(dict.fromkeys(re.sub(r"^\S+", "dither", line) for line in typed))


def table(runs, with_alpha=False):
    lines = [row(["method"] + ["alpha"] * with_alpha + ["gamma L_max", "epochs", "Mbit a worker", "gap", "distance^2", "the gap"]),
             row(["---"] * (7 + with_alpha))]
    for group in groups(runs, "method", "estimator", "stepper", "alpha_option"):
        said = sorted({r["behaviour"] for r in group})
        scaled = middle(group, "gamma") * middle(group, "L_max")
        lines.append(row([name_of(group[0])] + ["%.3g" % middle(group, "alpha")] * with_alpha +
                         ["%.3g" % scaled if group[0]["stepper"] != "adam" else "(rate %.2g)" % middle(group, "gamma"),
                          "%.0f" % middle(group, "epochs"), "%.3g" % (middle(group, "uplink_bits") / 1e6),
                          "%.1e" % middle(group, "gap"), "%.1e" % middle(group, "dist2"), ", ".join(SAYS[s] for s in said)]))
    return "".join(lines)


def figures(figure, problem, axes, pages):
    found = []
    for axis in axes:
        y, x = axis.split("-")
        file = "%s-%s-%s-%s.svg" % (figure, problem, y, x)
        if os.path.exists(os.path.join(pages, file)):
            found.append("![%s: %s over %s](%s)\n" % (problem, {"gap": "gap", "dist2": "squared distance to the optimum"}[y], x, file))
    return "\n".join(found)


def all_are(runs, wanted):
    return bool(runs) and all(r["behaviour"] in wanted for r in runs)


def verdict(claim, holds):
    return "- %s **%s**\n" % (claim, "Yes." if holds else "Not here.")


# ---- Figure 3 ----

FIG3 = """# Figure 3: methods at their best step size

Horvath et al., 2019 (arXiv:1904.05115): VR-DIANA against DIANA with SGD, QSGD, TernGrad-Adam and QSVRG, logistic regression
on mushrooms and a5a, l2 = L/N and a tenth of it.

    scripts/reproduce.sh fig3

makes this page, [fig3.csv](fig3.csv) with a line for each run, and the pictures. Lines are medians over three seeds in a
band from the least to the most. Each method's step size was searched on each problem (`--tune gamma --tune-by bits`,
[ablate.md](../ablate.md)): for the fewest bits to a gap of 1e-12 or, where that is not reached, for the least gap at the
end of the epochs.

"""

FIG3_GUESSED = """## What was sure, what was guessed

Sure from the paper: the data sets, l2 = 5e-4 and 5e-5 for a5a, the norms (p = infinity with one level; QSVRG p = 2),
batches of one row, a contiguous split, x = 0 and h_i = 0 at the start, both metrics, and that each method is tuned.
Inferred: l2 = 6e-4 and 6e-5 for mushrooms (L/N = 6.46e-4, by the rule that gives a5a's). Guessed: 12 workers, one block of
all coordinates, the grid of the search, the budgets of %s epochs, TernGrad's clipping at 2.5 standard deviations, Adam's
0.9 and 0.999, QSVRG's epochs of 2 m iterations that go on from the last iterate, alpha = 1/(1 + omega). Bits are counted
as sent: 1.6 a coordinate and 32 a norm, where the paper counts 2 a coordinate; QSVRG's full gradients are 32 bits a
coordinate.

"""


def fig3(work, pages):
    problems = {name: runs_of(os.path.join(work, name)) for name in
                ("mushrooms-6e-4", "mushrooms-6e-5", "a5a-5e-4", "a5a-5e-5")}
    write_csv(os.path.join(pages, "fig3.csv"), problems)
    runs = [r for p in problems.values() for r in p]
    reduced = [r for r in runs if r["method"] == "vr-diana"]
    noisy = [r for r in runs if r["method"] in ("diana", "qsgd", "terngrad")]
    cheapest = all(min(groups([r for r in p if r["method"] in ("vr-diana", "qsvrg")], "method", "estimator"),
                       key=lambda g: middle(g, "uplink_bits") if g[0]["behaviour"] == "reached" else float("inf"))[0]["method"]
                   == "vr-diana" for p in problems.values())
    apart = all(max(float(r["gap"]) for r in p if r["method"] == "vr-diana") * 1000 <
                min(float(r["gap"]) for r in p if r in noisy) for p in problems.values())
    budgets = sorted({line.split("--epochs ")[1].split()[0] for p in problems for line in commands(os.path.join(work, p))}, key=int)
    text = FIG3 + "## What agrees\n\n"
    text += verdict("VR-DIANA, with L-SVRG and with SAGA, falls in a straight line on all four problems.", all_are(reduced, ("linear", "reached")))
    text += verdict("DIANA-SGD, QSGD and TernGrad-Adam hover, or fall ever slower, tuned as they are.", all_are(noisy, ("hovers", "slows")))
    text += verdict("At the end VR-DIANA is at least 1000 times closer than any of these three.", apart)
    text += verdict("QSVRG is linear too.", all_are([r for r in runs if r["method"] == "qsvrg"], ("linear", "reached")))
    text += verdict("VR-DIANA reaches the target with fewer bits than QSVRG.", cheapest)
    text += "\n## What does not, or can't be compared\n\n"
    steps = [float(r["gamma"]) * float(r["L_max"]) for r in runs if r["method"] in ("vr-diana", "qsvrg")]
    text += ("- The paper's curves are pictures, without numbers: nothing is compared but the order and the shape.\n"
             "- Over epochs QSVRG and VR-DIANA are close here, over bits they are not: a message of QSVRG has more levels.\n"
             "- The best steps of the variance-reduced methods are %.2g to %.2g times 1/L_max, far above what a theorem allows; whether "
             "the paper's grid went as far is not known.\n"
             "- Without a target in reach, the best step of a noisy method depends on the budget: with a smaller one its plateau is "
             "lower and comes later, so that at the budget's end it still falls, ever slower.\n\n" % (min(steps), max(steps)))
    text += FIG3_GUESSED % " and ".join(budgets)
    for name, found in problems.items():
        text += "## %s\n\n%s\n%s\n" % (name.replace("-", ", l2 = ", 1), table(found), figures("fig3", name, (
            "gap-bits", "gap-epochs", "dist2-bits", "dist2-epochs"), pages))
    text += "## The commands\n\n"
    for name in problems:
        text += "".join("    %s\n" % line for line in commands(os.path.join(work, name)))
    write_page(pages, "fig3", text)


# ---- Figure 1 ----

FIG1 = """# Figure 1: how fast the memories learn

Horvath et al., 2019 (arXiv:1904.05115): VR-DIANA with different alpha on gisette, blocks of 2000, 2000 and 1000 coordinates,
p = 2, l2 = 0.2. omega = sqrt(2000) - 1 = 43.7, so theory's alpha is 1/(1 + omega) = 0.0224, and the memories' worst case is
unstable from 2/(1 + omega) = 0.0447 on.

    scripts/reproduce.sh fig1

makes this page, [fig1.csv](fig1.csv) and the pictures; `GISETTE=FILE` uses the real data.

"""


def fig1(work, pages):
    name = next(n for n in ("gisette", "synthetic") if os.path.isdir(os.path.join(work, n)))
    runs = runs_of(os.path.join(work, name))
    write_csv(os.path.join(pages, "fig1.csv"), {name: runs})
    zero = [r for r in runs if float(r["alpha"]) == 0]
    small = [r for r in runs if 0.02 < float(r["alpha"]) < 0.04]
    text = FIG1
    if name == "synthetic":
        text += ("**The data here is synthetic**: gisette's 6000 rows and 5000 features, all entries there, uniform, of a scale with which "
                 "L/N = 0.2, too; with a random hyperplane's labels, one in ten turned (`scripts/synthetic.py`). So the shapes are the "
                 "paper's, the curves are not.\n\n")
    text += "## What agrees\n\n"
    text += verdict("Without memories (alpha = 0) the gap does not get as low as with theory's alpha in the same iterations.",
                    min(float(r["gap"]) for r in zero) > 10 * max(float(r["gap"]) for r in small if abs(float(r["alpha"]) - 0.0224) < 1e-3))
    text += verdict("Without memories the gap hovers.", all_are(zero, ("hovers",)))
    text += verdict("Up to 1/(1 + omega) and a little above, it falls in a straight line.", all_are(small, ("linear", "reached")))
    text += verdict("Beyond 2/(1 + omega) it does not converge.", all_are([r for r in runs if float(r["alpha"]) > 0.0447], ("hovers", "diverged")))
    text += ("\n## What was guessed\n\nSure from the paper: the data, the blocks, p = 2, l2. Guessed: the grid of alpha, 12 workers, one level, "
             "the step size, 1/L_max (the paper tunes it).\n\n## The runs\n\n" + time_taken(os.path.join(work, name)) + "\n\n" +
             table(runs, with_alpha=True) + "\n")
    text += figures("fig1", name, ("gap-bits", "gap-epochs"), pages)
    text += "\n## The commands\n\n" + "".join("    %s\n" % line for line in commands(os.path.join(work, name)))
    write_page(pages, "fig1", text)


# ---- Figure 2 ----

FIG2 = """# Figure 2: many sparse features

Horvath et al., 2019 (arXiv:1904.05115): the methods of [figure 3](fig3.md) on real-sim with 12 workers, gap and distance.

    scripts/reproduce.sh fig2

makes this page, [fig2.csv](fig2.csv) and the pictures; `REAL_SIM=FILE` uses the real data, `NEWS20=FILE` adds news20, which is
real: rows divided by their norms, its label 1 against all others.

"""


def fig2(work, pages):
    names = sorted(n for n in os.listdir(work) if os.path.exists(os.path.join(work, n, "runs.csv")))
    problems = {name: runs_of(os.path.join(work, name)) for name in names}
    write_csv(os.path.join(pages, "fig2.csv"), problems, ("--batch", "--block"))
    text = FIG2
    if any(n.startswith("synthetic") for n in names):
        text += ("**The data called synthetic is**: 24103 rows of norm 1 with 51 of 6986 features each, whose frequencies follow Zipf's law, "
                 "and a random hyperplane's labels, one in ten turned (`scripts/synthetic.py`): real-sim's shape, rows and features a third.\n\n")
    text += "## What agrees\n\n"
    for name, runs in problems.items():
        reduced = [r for r in runs if r["method"] == "vr-diana"]
        noisy = [r for r in runs if r["method"] in ("diana", "qsgd", "terngrad")]
        text += verdict("%s: VR-DIANA falls in a straight line." % name, all_are(reduced, ("linear", "reached")))
        text += verdict("%s: DIANA-SGD, QSGD and TernGrad-Adam hover or fall ever slower." % name, all_are(noisy, ("hovers", "slows")))
        text += verdict("%s: at the end VR-DIANA is at least 1000 times closer than any of these three." % name,
                        1000 * max(float(r["gap"]) for r in reduced) < min(float(r["gap"]) for r in noisy))
        spent = {way: min(bits_to(1e-6, r, os.path.join(work, name)) for r in runs if r["method"] == way) for way in ("vr-diana", "qsvrg")}
        text += verdict("%s: VR-DIANA needs fewer bits than QSVRG to a gap of 1e-6 (%s against %s a worker)." % (
            (name,) + tuple("%.3g Mbit" % (b / 1e6) if b < float("inf") else "not reached" for b in spent.values())),
            spent["vr-diana"] < spent["qsvrg"])
    text += ("\n## What does not, or can't be compared\n\n"
             "- The paper's curves are pictures, without numbers: nothing is compared but the order and the shape.\n"
             "- The paper draws one row a worker and iteration. Here these are batches, and norms are of blocks: with one row and one block "
             "the same number of epochs is many times the messages, each of all features, and the search takes hours.\n")
    text += ("\n## What was guessed\n\nSure from the paper: the data, 12 workers, p = infinity (QSVRG: 2). Unknown there: l2; here 5e-5. Guessed: "
             "%s, one level, the search's grid and the budgets.\n\n" % "; ".join(
                 "%s: batches of %s rows, blocks of %s" % (name, runs[0]["--batch"], runs[0]["--block"]) for name, runs in problems.items()))
    for name, found in problems.items():
        text += "## %s\n\n%s\n\n%s\n%s\n" % (name, time_taken(os.path.join(work, name)), table(found), figures(
            "fig2", name, ("gap-bits", "gap-epochs", "dist2-bits"), pages))
    text += "## The commands\n\n"
    for name in problems:
        text += "".join("    %s\n" % line for line in commands(os.path.join(work, name)))
    write_page(pages, "fig2", text)


# ---- strong scaling ----

SCALING = """# Strong scaling

The same run on more ranks, in the format of Wen's table for ResNet-50 (there: hours for 1, 2, 4, 8 GPUs; speed-ups 1, 1.841,
3.135, 5.273). DIANA with full gradients on data/mushrooms: 16 workers, 8124 rows and 16 messages an iteration, however many
ranks share them. Measured with `mpirun` on the cores that there are; beyond them **predicted** by
`dither bench iteration --network` ([bench.md](../bench.md)) from what one rank was measured to compute.

    scripts/reproduce.sh scaling

"""


def scaling_table(rows):
    lines = [row(["ranks", "seconds", "speed-up", "efficiency", "of the doubling", "rank-seconds"]), row(["---:"] * 6)]
    first = before = rows[0][1]
    for ranks, seconds in rows:
        lines.append(row(["%d" % ranks, "%.3g" % seconds, "%.3f" % (first / seconds), "%.1f %%" % (100 * first / seconds / ranks),
                          "%.1f %%" % (50 * before / seconds) if ranks > 1 else "", "%.3g" % (ranks * seconds)]))
        before = seconds
    return "".join(lines)


def scaling(work, pages):
    measured, kept = [], []
    for ranks in (1, 2, 4, 8, 16):
        runs = [os.path.join(work, n) for n in os.listdir(work) if re.match(r"ranks-%d-\d+\.json\Z" % ranks, n)]
        if not runs:
            continue
        found = []
        for path in runs:
            with open(path) as f:
                found.append(json.load(f))
        assert len({r["state_hash"] for r in found}) == 1
        measured.append((ranks, min(r["seconds"] for r in found), found[0]))
        kept += [["measured", ranks, r["iterations"], r["seconds"], r["state_hash"]] for r in found]
    iterations = measured[0][2]["iterations"]
    text = SCALING + "## Measured\n\n%d iterations, the least of %d runs each.\n\n" % (iterations, sum(k[1] == 1 for k in kept))
    text += scaling_table([(r, s) for r, s, _ in measured])
    text += "\nThe state hash of all of them is `%s`: %s.\n" % (
        measured[0][2]["state_hash"], "the same" if len({m[2]["state_hash"] for m in measured}) == 1 else "NOT the same")
    with open(os.path.join(work, "iteration.json")) as f:
        benchmark = json.load(f)
    one = benchmark["rows"][0]
    networks = {}
    for p in one["predicted"]:
        networks.setdefault(p["network"], [(1, iterations * one["iteration_seconds"])]).append(
            (p["ranks"], iterations * p["predicted_iteration_seconds"]))
        kept.append(["predicted " + p["network"], p["ranks"], iterations, iterations * p["predicted_iteration_seconds"], ""])
    for network, rows in networks.items():
        text += "\n## Predicted on %s\n\n%s" % (network, scaling_table(rows))
    text += "\n## The commands\n\n    mpirun -n R dither %s\n    %s\n" % (
        re.sub(r"^\S+ ", "", re.sub(r" --summary \S+", "", measured[0][2]["command"])), re.sub(r"^\S+", "dither", re.sub(r" -J \S+| --force", "", benchmark["command"])))
    text += ("\n## What this is, and is not\n\nTwo ranks on two cores share caches and memory, and cross no network; the machine did other work beside. The predictions take the "
             "network's bandwidth and latency as given and overlap nothing. Neither is a claim about ResNet-50.\n")
    with open(os.path.join(pages, "scaling.csv"), "w", newline="") as f:
        out = csv.writer(f, lineterminator="\n")
        out.writerow(["what", "ranks", "iterations", "seconds", "state_hash"])
        out.writerows(kept)
    write_page(pages, "scaling", text)


def write_page(pages, name, text):
    with open(os.path.join(pages, name + ".md"), "w") as f:
        f.write(text)


if __name__ == "__main__":
    {"fig1": fig1, "fig2": fig2, "fig3": fig3, "scaling": scaling}[sys.argv[1]](sys.argv[2], sys.argv[3])
