"""Coverage is exactly what runs of the known program: what is never called is not in it, what is, is to its last byte."""

import struct

import recording

# Functions of which not every instruction runs, and those that run not at all in the recording.
PARTLY = ("run", "choose", "deep1", "deep2", "child", "undefined")
NEVER = ("never_called", "_start")


class Coverage(recording.PluginTest):
    def records(self, name):
        lines = self.lines(name)
        self.assertRegex(lines[0], r"^PANDA Build Date,\d{4}-\d\d-\d\d$")
        self.assertRegex(lines[1], r"^Execution Time,\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(lines[2:4], ["asid", "asid,in kernel,block address,block size"])
        return [(int(a, 16), int(k), int(b, 16), int(s)) for a, k, b, s in (line.split(",") for line in lines[4:])]

    def expected(self):
        """The addresses of the program's instructions that run, and of the call that is not made."""
        p = self.program
        out = set()
        for name in p.sizes:
            if name not in PARTLY + NEVER:
                out |= {pc for pc, _, _ in p.instructions_of(name)}
        for name, last in (("deep1", "deep2"), ("deep2", "throwing"), ("child", "undefined")):
            out |= {pc for pc, _, _ in p.instructions_of(name) if pc < p.return_address(name, last)}
        out.add(p["undefined_insn"])
        waited = min(p.returns("run", "wait_for_byte"))
        out |= {pc for pc, _, _ in p.instructions_of("run") if pc >= waited}
        # choose(): all but the call of never_called() and what follows it up to a jump or a label of the rest.
        call = p.return_address("choose", "never_called")
        lines = p.instructions_of("choose")
        skipped = [i for i, (pc, _, _) in enumerate(lines) if pc < call][-1]
        first = skipped
        while not lines[first - 1][1].startswith(("j", "ret")):
            first -= 1
        last = skipped
        while not lines[last][1].startswith(("jmp", "ret")):
            last += 1
        return out | {pc for i, (pc, _, _) in enumerate(lines) if not first <= i <= last}, {lines[skipped][0]}

    def test_exactly_what_runs(self):
        self.replay("coverage:privilege=user")
        records = self.records("coverage.csv")
        self.assertEqual(len(records), len(set(records)))
        self.assertEqual({r[1] for r in records}, {0})
        self.assertEqual(len({r[0] for r in records}), 2)  # the program and its child
        instructions = [pc for pc, _, _ in self.program.instructions]
        covered = {pc for pc in instructions if any(b <= pc < b + s for _, _, b, s in records)}
        expected, not_run = self.expected()
        self.assertEqual({hex(pc) for pc in expected - covered}, set())
        # What the compiler put beside the call that is not made may be shared with what runs.
        doubtful = {pc for pc, _, _ in self.program.instructions_of("choose")} - not_run
        self.assertEqual({hex(pc) for pc in covered - expected - doubtful}, set())
        # What lies outside of the program's file is the code that it made.
        outside = [r for r in records if not instructions[0] <= r[2] <= instructions[-1]]
        self.assertEqual({s for _, _, _, s in outside}, {6})

    def test_filters(self):
        p = self.program
        first, size = p["copy"], p.sizes["copy"]
        self.replay(f"coverage:filename=copy.csv,pc=0x{first:x}-0x{first + size - 1:x}")
        inside = self.records("copy.csv")
        self.assertEqual(sum(1 for r in inside if r[2] == first), 1)
        self.assertTrue(all(first <= r[2] and r[2] + r[3] <= first + size for r in inside))
        self.replay(f"coverage:filename=rest.csv,privilege=user,exclude_pc={first}-{first + size - 1}")
        self.replay("coverage:filename=user.csv,privilege=user,summary")
        rest, user = self.records("rest.csv"), self.records("user.csv")
        self.assertEqual(rest, [r for r in user if r[2] + r[3] <= first or r[2] >= first + size])
        done = self.replay("coverage:filename=all.csv,summary")
        everything = self.records("all.csv")
        self.assertEqual([r for r in everything if r[1] == 0], user)
        self.replay("coverage:filename=kernel.csv,privilege=kernel")
        self.assertEqual(self.records("kernel.csv"), [r for r in everything if r[1] == 1])
        for asid in {r[0] for r in everything}:
            count = len({r[2:] for r in everything if r[0] == asid})
            self.assertIn(f"coverage: asid 0x{asid:x}: {count} blocks\n", done.stdout)

    def test_each_execution(self):
        body = self.program["count_body"]
        self.replay(f"coverage:full=true,pc=0x{self.program['count_loop']:x}-0x{self.program['count_end'] + 16:x}")
        self.assertEqual(sum(1 for _, _, b, s in self.records("coverage.csv") if b <= body < b + s), 1000 + 5000)

    def test_hook_filter(self):
        p = self.program
        self.replay(f"coverage:privilege=user,hook_filter=0x{p['level2']:x}-0x{p.return_address('level2', 'level3'):x}")
        records = self.records("coverage.csv")
        names = {n for n in p.sizes if any(p.inside(n, r[2]) for r in records)}
        self.assertEqual(names, {"level2", "level3", "copy"})

    def test_edges(self):
        self.replay("coverage:mode=edge,privilege=user")
        lines = self.lines("coverage.csv")
        self.assertEqual(lines[2], "from pc,from size,to pc,to size")
        edges = {(int(a, 16), int(b), int(c, 16), int(d)) for a, b, c, d in (line.split(",") for line in lines[3:])}
        self.assertEqual(len(edges), len(lines) - 3)
        p = self.program
        to = {(f, t) for f, _, t, _ in edges}
        self.assertIn((p["count_body"], p["count_body"]), to)
        self.assertIn((p["count_body"], p["count_end"]), to)
        callers = {c for f, s, t, _ in edges for c in [f + s] if t == p["copy"]}
        self.assertEqual(callers, {p.return_address(n, "copy") for n in
                                   ("level3", "spread", "elsewhere", "after_throw", "pointed_at")})
        self.assertNotIn(p["never_called"], {t for _, _, t, _ in edges})

    def test_drcov(self):
        p = self.program
        begin, end = min(p.symbols[n] for n in p.sizes) & ~0xfff, max(p.symbols.values()) + 1
        self.replay(f"coverage:privilege=user,drcov=program.drcov,modules=program@0x{begin:x}-0x{end:x}")
        modules, blocks = self.drcov("program.drcov")
        self.assertEqual(modules, [(0, begin, end, "program")])
        self.assertEqual({(begin + o, s) for o, s, _ in blocks},
                         {r[2:] for r in self.records("coverage.csv") if begin <= r[2] < end})
        # Modules that are made up: together they have all blocks.
        self.replay("coverage:drcov=all.drcov,filename=all.csv")
        modules, blocks = self.drcov("all.drcov")
        self.assertEqual({(modules[m][1] + o, s) for o, s, m in blocks}, {r[2:] for r in self.records("all.csv")})
        self.assertEqual([m[0] for m in modules], list(range(len(modules))))
        self.assertEqual({int(m[3].split("_")[1], 16) for m in modules}, {r[0] for r in self.records("all.csv")})
        self.assertTrue(all(modules[m][1] + o + s <= modules[m][2] for o, s, m in blocks))

    def drcov(self, name):
        data = self.bytes(name)
        head, _, rest = data.partition(b"BB Table: ")
        lines = head.decode().splitlines()
        self.assertEqual(lines[:2], ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov"])
        self.assertEqual(lines[3], "Columns: id, base, end, entry, checksum, timestamp, path")
        modules = [line.split(", ") for line in lines[4:]]
        self.assertEqual(lines[2], f"Module Table: version 2, count {len(modules)}")
        count, _, table = rest.partition(b" bbs\n")
        blocks = list(struct.iter_unpack("<IHH", table))
        self.assertEqual(len(blocks), int(count))
        self.assertEqual(len(blocks), len(set(blocks)))
        return [(int(m[0]), int(m[1], 16), int(m[2], 16), m[6]) for m in modules], blocks

    def test_start_disabled(self):
        self.replay("coverage:start_disabled=true,filename=none.csv")
        self.assertFalse(recording.os.path.exists(self.path("none.csv")))

    def test_refused(self):
        for arguments, mention in (("mode=osi-block", "introspection"), ("process_name=init", "introspection"),
                                   ("mode=blocks", "asid-block, edge or osi-block"), ("pc=0x10", "hyphen"),
                                   ("pc=0x20-0x10", "lower first"), ("privilege=root", "user, kernel or all"),
                                   ("mode=edge,drcov=x", "asid-block"), ("drcov=x,modules=a@1", "NAME@BEGIN-END"),
                                   ("modules=a@1-2", "drcov=FILE"), ("hook_filter=1", "hyphen"),
                                   ("filename=/no/such/x.csv", "/no/such/x.csv")):
            self.refused("coverage:" + arguments, "coverage", mention)


if __name__ == "__main__":
    recording.guest.main()
