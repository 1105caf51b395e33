#!/usr/bin/env python3
"""Runs the instruction tests of a build directory and prints docs/fidelity.md: what they covered."""

import collections
import os
import subprocess
import sys
import tempfile

INPUTS = os.environ.get("PANDA_INSN_INPUTS", "16")
SWITCH = {"PANDA_INSN_INPUTS": INPUTS}


def run(build, lines):
    """The lines that the test programs wrote; their exit status must be good."""
    for program in ("insn_test", "unicorn_test"):
        done = subprocess.run([os.path.join(build, "bin", program), "--gtest_brief=1"], stdout=sys.stderr, check=False,
                              env={**os.environ, **SWITCH, "PANDA_FIDELITY": lines})
        if done.returncode != 0:
            sys.exit(f"{program} failed: nothing is written")
    with open(lines, encoding="ascii") as f:
        return [line.rstrip("\n").split("\t") for line in f]


def table(head, rows):
    print("| " + " | ".join(head) + " |")
    print("|---|" + "---:|" * (len(head) - 1))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


def main(build):
    with tempfile.TemporaryDirectory() as work:
        records = run(build, os.path.join(work, "lines"))
    known = {}  # (mode, form) -> (extension, mnemonic)
    tested = collections.defaultdict(lambda: collections.defaultdict(int))  # oracle -> (mode, form) -> cases
    extension_of = {}
    reasons = {}
    mnemonics = collections.defaultdict(set)  # extension -> mnemonics
    chapters = {}
    for kind, *fields in records:
        if kind == "known":
            mode, extension, mnemonic, form = fields
            known[mode, form] = extension, mnemonic
        elif kind == "mnemonic":
            chapter, extension, mnemonic, reason = fields
            mnemonics[extension].add(mnemonic)
            extension_of[mnemonic] = extension
            chapters[mnemonic] = chapter
            if reason:
                reasons[mnemonic] = reason
        else:
            oracle, mode, extension, mnemonic, form, cases, _ = fields
            tested[oracle][mode, form] += int(cases)

    print("# Fidelity\n")
    print("Which instruction forms the tests cover, made by `make fidelity`. A form is a mnemonic with the kinds and")
    print("sizes of its operands and its prefixes; a case is one input on one back end (interpreter, JIT), compared")
    print(f"in registers, flags, x87, SSE and memory. {INPUTS} inputs a form; `PANDA_INSN_INPUTS` sets how many.\n")
    host, unicorn = tested["host"], tested["unicorn"]
    total_cases = sum(host.values()) + sum(unicorn.values())
    covered = {k for k in known if host.get(k) or unicorn.get(k)}
    print(f"{len(known)} forms in 64-bit and 32-bit code, {len(covered)} of them tested, {total_cases} cases: "
          f"{sum(host.values())} against the host's CPU,")
    print(f"{sum(unicorn.values())} against Unicorn (which takes the forms in 16-bit code too: "
          f"{sum(1 for (mode, _), n in unicorn.items() if mode == '16' and n)}).\n")

    rows = []
    for extension in sorted(mnemonics, key=lambda e: (e != "base", e)):
        forms = [k for k, v in known.items() if v[0] == extension]
        rows.append((extension, len(mnemonics[extension]), len(forms), sum(1 for k in forms if host.get(k)),
                     sum(1 for k in forms if unicorn.get(k)), sum(1 for k in forms if k not in covered),
                     sum(host.get(k, 0) + unicorn.get(k, 0) for k in forms)))
    table(("extension", "mnemonics", "forms", "host", "Unicorn", "no oracle", "cases"), rows)

    print("## Mnemonics not tested this way\n")
    print("Some are covered elsewhere, as their reason says; system instructions by guest programs (`tests/x86/guest`).\n")
    groups = collections.defaultdict(list)
    tested_mnemonics = {known[k][1] for k in covered}
    for mnemonic in sorted(chapters):
        if mnemonic in tested_mnemonics:
            continue
        reason = reasons.get(mnemonic) or ("system instruction" if chapters[mnemonic] == "system"
                                           else "no form that the tests can encode")
        groups[reason].append(mnemonic)
    for reason in sorted(groups):
        print(f"- {reason}: {', '.join(groups[reason])}")
    print("\n## Forms not tested, of mnemonics that are\n")
    left = sorted({f"{form} ({mode})" for (mode, form), (_, mnemonic) in known.items()
                   if (mode, form) not in covered and mnemonic in tested_mnemonics})
    print("\n".join(f"- {text}" for text in left) if left else "None.")


if __name__ == "__main__":
    main(sys.argv[1])
