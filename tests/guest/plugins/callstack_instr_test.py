"""Calls, returns and callers are those of the known program, on all of its stacks, and of the kernel."""

import json
import os
import re
import subprocess

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_callstack_probe.so")
SCHEMA = os.path.join(recording.guest.BUILD, "plog", recording.guest.ARCH, "plog.desc")
QUIET = ("sys", "map_code", "say", "wait_for_byte", "generated_code")  # not checked one by one


def calls(name, *inner):
    """The events of a call: what it calls in turn is inside."""
    return [("call", name), *(event for i in inner for event in i), ("ret", name)]


class CallstackInstr(recording.PluginTest):
    def expected(self):
        copy = calls("copy")
        factorial = []
        for _ in range(10):
            factorial = calls("factorial", factorial)
        return [
            ("call", "work"),
            *calls("level1", calls("level2", calls("level3", copy))),
            *calls("sentence", calls("copy_words")),
            *calls("spread", copy),
            *calls("weave"),
            *factorial,
            *calls("apply", calls("pointed_at", copy)),
            *calls("on_stack", calls("elsewhere", copy)),
            # Left at once: the functions between have no return.
            *calls("catching", [("call", "deep1"), ("call", "deep2"), ("call", "throwing")]),
            *calls("after_throw", copy),
            *calls("choose") * 3,
            *calls("count_loop"),
            *calls("hypercall"),
        ]

    def events(self, lines):
        names = {a: n for n, a in self.program.symbols.items() if n in self.program.sizes or n == "catching_out"}
        out = []
        for line in lines:
            kind, address = line.split()[:2]
            name = names.get(int(address, 16))
            if kind in ("call", "ret") and name is not None and name not in QUIET:
                out.append((kind, name))
        return out

    def test_calls_and_returns(self):
        self.replay(f"callstack_instr;{PROBE}")
        lines = self.lines("calls.txt")
        events = self.events(lines)
        expected = self.expected()
        self.assertEqual(events[:len(expected)], expected)
        # Then the parent forks; its child and it go on, in an order that the kernel chooses.
        rest = events[len(expected):]
        self.assertEqual(sorted(rest), sorted([("call", "parent"), ("ret", "parent"), ("call", "child"), ("call", "count_loop"),
                                               ("ret", "count_loop"), ("call", "undefined"), ("ret", "work")]))
        # Made code is called twice, at the same address outside of the program.
        addresses = [l.split()[1] for l in lines if l.startswith("call")]
        made = [a for a in addresses if not any(self.program.inside(n, int(a, 16)) for n in self.program.sizes)]
        self.assertEqual((len(made), len(set(made))), (2, 1))
        # The callback of each call found the caller on the stack, in the kernel too.
        words = lines[-1].split()
        self.assertEqual((words[0], words[3]), ("kernel", "0"))
        self.assertGreater(int(words[1]), 500)
        self.assertGreaterEqual(int(words[5]), 10)

    def test_callers_by_stack(self):
        self.replay(f"callstack_instr;{PROBE}")
        p = self.program
        copies = [[int(a, 16) for a in l.split()[2:]] for l in self.lines("calls.txt")
                  if l.startswith("call") and int(l.split()[1], 16) == p["copy"]]
        bottom = [p.return_address("run", "work")]  # _start's call of run was before the recording
        self.assertEqual(copies[0], self.callers_in_level3())
        self.assertEqual(copies[1], [p.return_address("spread", "copy"), p.return_address("work", "spread"), *bottom])
        self.assertEqual(copies[2], [p.return_address("pointed_at", "copy"), p.returns("apply", None)[0],
                                     p.return_address("work", "apply"), *bottom])
        self.assertEqual(copies[3], [p.return_address("elsewhere", "copy"), p.returns("on_stack", None)[0]])
        self.assertEqual(copies[4], [p.return_address("after_throw", "copy"), p.return_address("work", "after_throw"), *bottom])
        deepest = [l.split()[2:] for l in self.lines("calls.txt")
                   if l.startswith("call") and int(l.split()[1], 16) == p["factorial"]][-1]
        inner, = p.returns("factorial", "factorial")
        self.assertEqual([int(a, 16) for a in deepest], [inner] * 9 + [p.return_address("work", "factorial"), *bottom])

    def test_pandalog(self):
        copy = self.program["copy"]
        self.replay(f"callstack_instr;{PROBE}:log_at=0x{copy:x}", "-pandalog", "stack.plog")
        reader = os.path.join(recording.guest.BUILD, "bin", "plog_reader")
        text = subprocess.run([reader, "--schema", SCHEMA, "--json", self.path("stack.plog")], check=True,
                              capture_output=True, text=True).stdout
        entry, = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([int(a) for a in entry["call_stack"]["addr"]], self.callers_in_level3())

    def test_other_back_end_and_heuristic_names(self):
        self.replay(f"callstack_instr;{PROBE}:file=jit.txt")
        self.replay(f"callstack_instr:stack_type=heuristic;{PROBE}:file=interp.txt", "--backend=interp")
        self.assertEqual(self.text("jit.txt"), self.text("interp.txt"))

    def test_verbose(self):
        said = [l for l in self.replay("callstack_instr:verbose").stderr.splitlines() if "plugin callstack_instr: " in l]
        stacks = [re.search(r"a stack at ([0-9a-f]+), (user|kernel), ASID ([0-9a-f]+)$", l).groups() for l in said[:-1]]
        self.assertEqual(len(set(stacks)), len(stacks))
        self.assertRegex(said[-1], rf"{len(stacks)} stacks, [0-9]+ calls$")
        # The program's two, and its child's one.
        self.assertEqual(len([s for s in stacks if s[1] == "user"]), 3)

    def test_refused(self):
        self.refused("callstack_instr:stack_type=threaded", "callstack_instr", "introspection")
        self.refused("callstack_instr:stack_type=thread", "callstack_instr", "asid, heuristic or threaded")


if __name__ == "__main__":
    recording.guest.main()
