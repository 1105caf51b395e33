#!/usr/bin/env python3
"""make bench-plugins: what plugins cost, as user time over that of the bare replay.

    plugins.py [-n ROUNDS] [--minutes M] [--only NAME ...] [--recording NAME] [--dry-run]

Replays a recording of Debian's amd64 kernel with bench/workload.c (made by the first run) with each of the plugins
below in turn, and bare every few of them and before those that are to cost next to nothing; writes pandalogs; and
rewrites the table in docs/performance.md. A round takes five minutes on a quiet machine, and none is begun that would
end behind M minutes. Digests must agree in every run; a plugin whose run fails is named in the table, the others are
measured, and the exit status is 1. --dry-run, --only and --recording leave the file alone.
"""
import argparse
import os
import re
import resource
import subprocess
import sys
import time

import run

PANDA = os.path.join(run.TOP, "build/release/bin/panda-system-x86_64")
PLUGIN = os.path.join(run.TOP, "build/release/bench/x86_64/panda_bench.so")
# What is measured: name, arguments of PLUGIN (or a plugin of plugins/), the most it may cost, what PANDA's counterpart
# costs over its own replay.
CASES = [
    ("an empty callback before each block", "before", 1.4, ""),
    ("before and after each block", "before,after", 1.8, ""),
    ("before each block, looks at a register and counts", "looks", None, ""),
    ("before each block, calls the API", "calls", None, ""),
    ("before each instruction", "insn,every", 3.0, ""),
    ("before each instruction, looks at a register and counts", "insnlooks,every", None, ""),
    ("an empty callback after each memory access, virtual", "memory", 3.0, ""),
    ("counts memory accesses (`memstats`)", "-memstats", None, ""),
    ("asid_changed", "asid", 1.02, "1.05 (asid_instr_count)"),
    ("an inline counter per block", "counter", 1.1, ""),
    ("loaded and disabled", "before,after,insn,every,disabled", 1.01, ""),
    ("stringsearch with callstack_instr", "-stringsearch", 8.0, "5.5"),
]


BARE_EVERY = 4  # plugins
REPLAY_SECONDS = 600


class Failed(Exception):
    pass


def replay(recording, options):
    """User seconds of a replay."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    try:
        done = subprocess.run([PANDA, "-replay", recording] + options, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace",
                              check=False, timeout=REPLAY_SECONDS)
    except subprocess.TimeoutExpired:
        raise Failed(f"not done after {REPLAY_SECONDS} s") from None
    except OSError as why:
        raise Failed(str(why)) from None
    if done.returncode != 0 or "agrees" not in done.stderr:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failed(f"status {done.returncode}: {lines[-1]}")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def record():
    """The recording that make bench made, or one like it."""
    recording = os.path.join(run.OUT, "recording-amd64")
    if not os.path.exists(recording + "-rr-nondet.log"):
        initrd, _ = run.build("amd64")
        kernel = os.path.join(run.TOP, "build/guests/amd64/vmlinuz")
        print("recording the boot and the workload", file=sys.stderr, flush=True)
        run.sh([PANDA, "-m", "256", "-nographic", "-kernel", kernel, "-initrd", initrd, "-append",
                "console=ttyS0 quiet pti=off", "-no-reboot", "-net", "none", "-record", recording],
               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return recording


def options_of(arguments):
    if not arguments.startswith("-"):
        return ["-panda-plugin", PLUGIN] + [x for a in arguments.split(",") for x in ("-panda-arg", f"bench:{a}")]
    if arguments != "-stringsearch":
        return ["-panda", arguments[1:]]
    name = os.path.join(run.OUT, "strings")
    with open(name + "_search_strings.txt", "w", encoding="ascii") as file:
        file.write('"Power down"\n')
    return ["-panda", f"callstack_instr;stringsearch:name={name}"]


def measure_round(recording, cases, ratios, bare_times, failures):
    """Appends to ratios, by case; a case that failed is left out from then on."""
    since = BARE_EVERY
    for name, arguments, limit, _ in cases:
        if name in failures:
            continue
        if since == BARE_EVERY or (limit is not None and limit <= 1.1):
            bare_times.append(replay(recording, []))
            since = 0
        since += 1
        try:
            ratios[name].append(replay(recording, options_of(arguments)) / bare_times[-1])
            print(f"{name}: {ratios[name][-1]:.3f}", file=sys.stderr, flush=True)
        except Failed as why:
            failures[name] = str(why)
            print(f"{name}: {why}", file=sys.stderr, flush=True)


def row(case, ratios, failures):
    name, _, limit, theirs = case
    if name in failures:
        said = f"failed: {failures[name]}".replace("|", "\\|")
    else:
        cost = run.median(ratios[name])
        said = f"{cost:.2f}" + (" (**missed**)" if limit is not None and cost > limit else "")
    return f"| {name} | {said} | {limit or ''} | {theirs} |"


def pandalog_speed():
    """Entries a second by wall clock, by interface."""
    program = os.path.join(run.TOP, "build/release/bin/pandalog_bench")
    log = os.path.join(run.OUT, "bench.plog")
    try:
        done = subprocess.run([program, log, "3000000"], capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as why:
        raise Failed(str(why)) from None
    if os.path.exists(log):
        os.remove(log)
    found = re.findall(r"^(\S+) +\d+ entries: written in [\d.]+ s, ([\d.]+) M/s", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not found:
        raise Failed(f"{program}: status {done.returncode}: {done.stderr.strip()}")
    return ", ".join(f"{rate} million by the {interface} interface" for interface, rate in found)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="rounds at most (default 3)")
    parser.add_argument("--minutes", type=float, default=11.5, help="for the rounds (default 11.5); there is always one")
    parser.add_argument("--only", action="append", help="cases whose arguments are this")
    parser.add_argument("--recording", help="another recording")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    os.makedirs(run.OUT, exist_ok=True)
    cases = [case for case in CASES if not given.only or case[1] in given.only]
    if not cases:
        sys.exit("bench: --only is one of " + " ".join(case[1] for case in CASES))
    ratios, bare_times, failures = {case[0]: [] for case in cases}, [], {}
    try:
        recording = given.recording or record()
        begin, rounds, longest = time.monotonic(), 0, 0.0
        while rounds == 0 or (rounds < given.n and time.monotonic() - begin + longest < given.minutes * 60):
            started = time.monotonic()
            measure_round(recording, cases, ratios, bare_times, failures)
            longest = max(longest, time.monotonic() - started)
            rounds += 1
            print(f"round {rounds}: {longest:.0f} s", file=sys.stderr, flush=True)
        text = (f"Made by `make bench-plugins` on {time.strftime('%Y-%m-%d')}: user time over that of the bare replay of "
                f"Debian's amd64\nboot and `bench/workload.c`, which takes {run.median(bare_times):.1f} s; medians of "
                f"{rounds} rounds.\n\n| plugin | over the bare replay | at most | PANDA's |\n|---|---|---|---|\n"
                + "".join(row(case, ratios, failures) + "\n" for case in cases))
    except Failed as why:
        sys.exit(f"bench: {why}")
    if not given.only:
        try:
            speed = pandalog_speed()
        except Failed as why:
            speed = failures["pandalog"] = f"failed: {why}"
        text += f"\nPandalog entries a second, by wall clock (1 million wanted): {speed}.\n"
    print(text)
    if not (given.dry_run or given.only or given.recording):
        run.write_between("plugins", text)
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
