#!/usr/bin/env python3
"""make bench-plugins: what plugins cost, as user time over that of the bare replay.

    plugins.py [-n ROUNDS] [--only NAME ...] [--recording NAME] [--dry-run]

Replays a recording of Debian's amd64 kernel with bench/workload.c (made by the first run) bare and with each of
the plugins below in turn, and rewrites their table in docs/performance.md. The digests must agree in every run.
--dry-run, --only and --recording leave the file alone.
"""
import argparse
import os
import resource
import subprocess
import sys
import time

import run

PANDA = os.path.join(run.TOP, "build/release/bin/panda-system-x86_64")
PLUGIN = os.path.join(run.TOP, "build/release/bench/x86_64/panda_bench.so")
PLUGINS = os.path.join(run.TOP, "build/release/lib/panda/x86_64")
# What is measured: name, options, the most it may cost, what PANDA's counterpart costs over its own replay.
CASES = [
    ("an empty callback before each block", "before", 1.4, ""),
    ("before and after each block", "before,after", 1.8, ""),
    ("before each block, looks at a register and counts", "looks", None, ""),
    ("before each block, calls the API", "calls", None, ""),
    ("before each instruction", "insn,every", 3.0, ""),
    ("before each instruction, looks at a register and counts", "insnlooks,every", None, ""),
    ("after each memory access, virtual", "memory", 3.0, ""),
    ("asid_changed", "asid", 1.02, "1.05 (asid_instr_count)"),
    ("an inline counter per block", "counter", 1.1, ""),
    ("loaded and disabled", "before,after,insn,every,disabled", 1.01, ""),
    ("stringsearch with callstack_instr", None, 8.0, "5.5"),
]


def replay(recording, options):
    """User seconds of a replay."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run([PANDA, "-replay", recording] + options, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, check=False)
    if done.returncode != 0 or "agrees" not in done.stderr:
        sys.exit(f"bench: replay with {options}: {done.stderr.strip()}")
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
    if arguments is None:
        for name in ("stringsearch", "callstack_instr"):
            if not os.path.exists(os.path.join(PLUGINS, f"panda_{name}.so")):
                return None
        strings = os.path.join(run.OUT, "strings_search_strings.txt")
        with open(strings, "w", encoding="ascii") as file:
            file.write('"Power down"\n')
        return ["-panda", f"callstack_instr;stringsearch:name={strings[:-len('_search_strings.txt')]}"]
    return ["-panda-plugin", PLUGIN] + [x for a in arguments.split(",") for x in ("-panda-arg", f"bench:{a}")]


def pandalog_speed():
    program = os.path.join(run.TOP, "build/release/bin/pandalog_bench")
    if not os.path.exists(program):
        program = os.path.join(run.TOP, "build/release/tests/plugin/pandalog_bench")
    said = subprocess.run([program, os.path.join(run.OUT, "bench.plog"), "3000000"], capture_output=True, text=True,
                          check=True).stdout
    os.remove(os.path.join(run.OUT, "bench.plog"))
    return said.strip().splitlines()[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--only", action="append", help="cases whose arguments are this")
    parser.add_argument("--recording", help="another recording")
    parser.add_argument("--dry-run", action="store_true")
    given = parser.parse_args()
    os.makedirs(run.OUT, exist_ok=True)
    recording = given.recording or record()
    lines = ["| plugin | over the bare replay | at most | PANDA's |", "|---|---|---|---|"]
    bare_times = []
    for name, arguments, limit, theirs in CASES:
        if given.only and arguments not in given.only:
            continue
        options = options_of(arguments)
        most = f"{limit}" if limit else ""
        if options is None:
            lines.append(f"| {name} | not there yet | {most} | {theirs} |")
            continue
        ratios = []
        for number in range(given.n):
            bare = replay(recording, [])
            ratios.append(replay(recording, options) / bare)
            bare_times.append(bare)
            print(f"{name}: round {number + 1} of {given.n}: {ratios[-1]:.3f}", file=sys.stderr, flush=True)
        lines.append(f"| {name} | {run.median(ratios):.2f} | {most} | {theirs} |")
    text = (f"Made by `make bench-plugins` on {time.strftime('%Y-%m-%d')}: user time, medians of {given.n} paired replays "
            f"of Debian's amd64 boot and `bench/workload.c`; the bare replay takes {run.median(bare_times):.1f} s.\n\n"
            + "\n".join(lines) + "\n")
    if not given.only:
        text += f"\nPandalog (`bench/pandalog.cpp`; 1 million entries a second wanted): {pandalog_speed()}\n"
    print(text)
    if given.dry_run or given.only or given.recording:
        return
    with open(run.DOC, encoding="utf-8") as file:
        document = file.read()
    begin, end = "<!-- plugins begin -->", "<!-- plugins end -->"
    head, rest = document.split(begin)
    with open(run.DOC, "w", encoding="utf-8") as file:
        file.write(f"{head}{begin}\n{text}{end}{rest.split(end)[1]}")
    print(f"written to {os.path.relpath(run.DOC)}", file=sys.stderr)


if __name__ == "__main__":
    main()
