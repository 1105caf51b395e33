#!/usr/bin/env python3
"""Time engines in turn on a guest that runs bench/workload.c, phase by phase.

    compare.py [-n ROUNDS] [--markdown] NAME=COMMAND [NAME=COMMAND ...]

Each command boots the guest with its console on standard output. A round runs every command once,
in order, so that the machine's drift hits all alike; a phase is timed by this host's clock between
its two BENCH lines (`boot`: from the start of the process). Printed per phase: each engine's median
seconds and, for the engines after the first, the median over the rounds of the first's time divided
by theirs (above 1: they are faster than the first). A phase that is missing, or whose checksum
differs between engines, is an error (exit status 1).
"""
import argparse
import os
import re
import shlex
import signal
import statistics
import subprocess
import sys
import threading
import time

MARK = re.compile(r"BENCH (\w+) (begin|end)(?: ([0-9a-f]+))?")


def one_run(command, limit, wait=False, last="total"):
    """Runs a command; returns {phase: (seconds, checksum)} in order of appearance. With `wait` it is
    left to end by itself after the phase `last`, else killed there."""
    started = time.monotonic()
    process = subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, start_new_session=True)
    complaints = []
    drain = threading.Thread(target=lambda: complaints.append(process.stderr.read()), daemon=True)
    drain.start()
    watchdog = threading.Timer(limit, lambda: os.killpg(process.pid, signal.SIGKILL))
    watchdog.start()
    phases, begun = {}, {"boot": started, "all": started}
    for raw in process.stdout:
        now = time.monotonic()
        mark = MARK.search(raw.decode("latin-1"))
        if mark is None:
            continue
        name, what, checksum = mark.groups()
        if what == "begin":
            begun[name] = now
        elif name in begun:
            phases["total" if name == "all" else name] = (now - begun[name], checksum)
        if last in phases and not wait:
            break
    watchdog.cancel()
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
    if last not in phases:
        drain.join(2)
        said = b"".join(complaints).decode("latin-1").strip()[-400:]
        sys.exit(f"compare: did not finish (reached: {', '.join(phases) or 'nothing'}): {command}\n{said}")
    return phases


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", nargs="+", metavar="NAME=COMMAND")
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--limit", type=float, default=300, help="seconds that one run may take (default 300)")
    parser.add_argument("--markdown", action="store_true", help="print a Markdown table")
    options = parser.parse_args()
    engines = [spec.split("=", 1) for spec in options.engine]
    if any(len(e) != 2 for e in engines):
        parser.error("an engine is given as NAME=COMMAND")

    rounds = []
    for number in range(options.n):
        runs = []
        for name, command in engines:
            if sys.stderr.isatty():
                print(f"\rround {number + 1} of {options.n}: {name}    ", end="", file=sys.stderr)
            runs.append(one_run(command, options.limit))
        for phase, (_, checksum) in runs[0].items():
            for (name, _), run in zip(engines, runs):
                if phase not in run or run[phase][1] != checksum:
                    sys.exit(f"compare: {name}: phase {phase} is missing or computed something else")
        rounds.append(runs)

    head = ["phase"] + [f"{name} s" for name, _ in engines] + [f"{engines[0][0]}/{name}" for name, _ in engines[1:]]
    rows, products = [], [[] for _ in engines[1:]]
    for phase in rounds[0][0]:
        seconds = [[r[i][phase][0] for r in rounds] for i in range(len(engines))]
        ratios = [statistics.median(a / b for a, b in zip(seconds[0], s)) for s in seconds[1:]]
        if phase not in ("boot", "total"):
            for product, ratio in zip(products, ratios):
                product.append(ratio)
        rows.append([phase] + [f"{statistics.median(s):.3f}" for s in seconds] + [f"{r:.2f}" for r in ratios])
    rows.append(["geometric mean"] + [""] * len(engines) + [f"{statistics.geometric_mean(p):.2f}" for p in products])
    if options.markdown:
        print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
        for row in rows:
            print("| " + " | ".join(row) + " |")
    else:
        for row in [head] + rows:
            print(f"{row[0]:15}" + "".join(f"{cell:>13}" for cell in row[1:]))


if __name__ == "__main__":
    main()
