#!/usr/bin/env python3
"""make bench: measures PANDA against QEMU on bench/workload.c and rewrites the tables of
docs/performance.md.

    run.py [-n ROUNDS] [--arch amd64|i386] [--dry-run]

Per architecture, in paired rounds: QEMU (TCG), PANDA, and PANDA recording from the kernel's first
instruction, on Debian's kernel with pti=off and the same -cpu; then QEMU and PANDA with pti=on, as far
as the phases that it slows; then a replay of the last recording, and the workload natively on this
host. --dry-run prints the tables and leaves the file alone.
"""
import argparse
import os
import platform
import re
import resource
import subprocess
import sys
import time

import compare

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(TOP, "build/bench")
DOC = os.path.join(TOP, "docs/performance.md")
# The program's target, gcc's option, and a CPU model that both sides have.
ARCHES = {"amd64": ("x86_64", "-m64", "qemu64"), "i386": ("i386", "-m32", "qemu32")}
PTI_PHASES = ("syscall", "fault")  # entries into the kernel: page-table isolation is felt there


def sh(command, **options):
    return subprocess.run(command, check=True, **options)


def build(arch):
    """The workload and its initramfs; returns the initramfs' path and the program's."""
    program = os.path.join(OUT, f"workload-{arch}")
    sh(["gcc", ARCHES[arch][1], "-O2", "-static", "-o", program, os.path.join(TOP, "bench/workload.c"), "-lm"])
    root = os.path.join(OUT, f"root-{arch}")
    os.makedirs(os.path.join(root, "dev"), exist_ok=True)
    sh(["cp", program, os.path.join(root, "init")])
    initrd = os.path.join(OUT, f"initrd-{arch}.gz")
    sh("find . | LC_ALL=C sort | cpio -o -H newc -R 0:0 --quiet | gzip -1n >" + initrd, shell=True, cwd=root)
    return initrd, program


def native(program, rounds):
    """Seconds by phase; empty where this host's kernel does not run the program (32-bit code on some)."""
    try:
        runs = [compare.one_run(program, 120) for _ in range(rounds)]
    except OSError:
        return {}
    return {phase: sorted(r[phase][0] for r in runs)[rounds // 2] for phase in runs[0]}


def remove_recording(name):
    for part in ("snp", "nondet.log"):
        path = os.path.join(OUT, f"{name}-rr-{part}")
        if os.path.exists(path):
            os.remove(path)


def measure(arch, rounds):
    initrd, program = build(arch)
    target, _, cpu = ARCHES[arch]
    panda = os.path.join(TOP, f"build/release/bin/panda-system-{target}")
    kernel = os.path.join(TOP, f"build/guests/{arch}/vmlinuz")
    machine = (f"-m 256 -cpu {cpu} -nographic -kernel {kernel} -initrd {initrd} -append 'console=ttyS0 quiet pti=off' "
               "-no-reboot -net none")
    recording = os.path.join(OUT, f"recording-{arch}")
    commands = {"qemu": f"qemu-system-{target} {machine}", "panda": f"{panda} {machine}",
                "recording": f"{panda} {machine} -record {recording}"}
    runs = {name: [] for name in commands}
    for number in range(rounds):
        for name, command in commands.items():
            print(f"{arch}: round {number + 1} of {rounds}, {name}", file=sys.stderr, flush=True)
            remove_recording(os.path.basename(recording))
            # The recording is left to end by itself, with the guest's power-off, so that it can be replayed.
            runs[name].append(compare.one_run(command, 600, wait=name == "recording"))
    isolated = {"qemu": [], "panda": []}
    for number in range(rounds):
        for name, others in isolated.items():
            print(f"{arch}: round {number + 1} of {rounds}, {name}, pti=on", file=sys.stderr, flush=True)
            others.append(compare.one_run(commands[name].replace("pti=off", "pti=on"), 600, last=PTI_PHASES[-1]))
    for name, others in [*runs.items(), *isolated.items()]:
        for run in others:
            for phase, (_, checksum) in run.items():
                if checksum != runs["qemu"][0][phase][1]:
                    sys.exit(f"bench: {name}: phase {phase} computed something else")
    began = time.monotonic()
    sh([panda, "-replay", recording], stderr=subprocess.DEVNULL)
    replay = time.monotonic() - began
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    return {"runs": runs, "isolated": isolated, "native": native(program, rounds), "replay": replay, "memory": memory}


def median(values):
    return sorted(values)[len(values) // 2]


def table(arch, m):
    runs = m["runs"]
    lines = ["| phase | native s | QEMU s | PANDA s | recording s | QEMU/PANDA | PANDA/recording |", "|---|" + "---|" * 6]
    product = []
    for phase in runs["qemu"][0]:
        seconds = {name: median([r[phase][0] for r in rs]) for name, rs in runs.items()}
        ratio = median([q[phase][0] / p[phase][0] for q, p in zip(runs["qemu"], runs["panda"])])
        kept = median([p[phase][0] / r[phase][0] for p, r in zip(runs["panda"], runs["recording"])])
        own = f"{m['native'][phase]:.3f}" if phase not in ("boot", "total") and m["native"] else "–"
        lines.append(f"| {phase} | {own} | {seconds['qemu']:.3f} | {seconds['panda']:.3f} | {seconds['recording']:.3f} "
                     f"| {ratio:.2f} | {kept:.2f} |")
        if phase not in ("boot", "total"):
            product.append(ratio)
    for phase in PTI_PHASES:
        pairs = [(q[phase][0], p[phase][0]) for q, p in zip(m["isolated"]["qemu"], m["isolated"]["panda"])]
        lines.append(f"| {phase}, pti=on | – | {median([q for q, _ in pairs]):.3f} | {median([p for _, p in pairs]):.3f} | – "
                     f"| {median([q / p for q, p in pairs]):.2f} | – |")
    mean = 1.0
    for r in product:
        mean *= r ** (1 / len(product))
    lines.append(f"| geometric mean, pti=off | | | | | {mean:.2f} | |")
    live = median([r["total"][0] for r in runs["panda"]])
    lines.append("")
    lines.append(f"Replay of the recording, boot to power-off: {m['replay']:.1f} s (live {live:.1f} s). "
                 f"Largest process of the run: {m['memory']} MB with 256 MB of guest RAM.")
    return f"### {arch}\n\n" + "\n".join(lines) + "\n"


def write_between(name, text):
    """Replaces what stands in docs/performance.md between the two comments of that name."""
    with open(DOC, encoding="utf-8") as file:
        document = file.read()
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    head, rest = document.split(begin)
    with open(DOC, "w", encoding="utf-8") as file:
        file.write(f"{head}{begin}\n{text}{end}{rest.split(end)[1]}")
    print(f"written to {os.path.relpath(DOC)}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-n", type=int, default=3, help="rounds (default 3)")
    parser.add_argument("--arch", choices=ARCHES, action="append", help="one architecture only")
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    os.makedirs(OUT, exist_ok=True)
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    with open("/proc/cpuinfo", encoding="ascii") as file:
        cpu = re.search(r"model name\s*: (.*)", file.read())[1]
    text = (f"Made by `make bench` on {time.strftime('%Y-%m-%d')}: {cpu}, {os.cpu_count()} cores, Linux "
            f"{platform.release().split('-')[0]}; {qemu.splitlines()[0]}; `-cpu qemu64` and `qemu32` on both sides; medians of {options.n} paired rounds. "
            "`boot` is from the start of the process to init.\n\n")
    text += "\n".join(table(arch, measure(arch, options.n)) for arch in options.arch or ARCHES)
    print(text)
    if options.dry_run or options.arch:
        return
    write_between("bench", text)


if __name__ == "__main__":
    main()
