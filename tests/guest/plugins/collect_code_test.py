"""collect_code: the code that is collected is that of the program's file, all that ran and nothing that did not."""

import csv
import json
import os
import struct
import subprocess

import recording

guest = recording.guest


def read_drcov(data):
    """[(module's base, offset, bytes)]"""
    head, _, rest = data.partition(b"BB Table: ")
    lines = head.decode().splitlines()
    assert lines[:2] == ["DRCOV VERSION: 2", "DRCOV FLAVOR: drcov"], lines
    count = int(lines[2].removeprefix("Module Table: version 2, count "))
    assert lines[3] == "Columns: id, base, end, entry, checksum, timestamp, path"
    modules = [[field.strip() for field in line.split(",")] for line in lines[4:]]
    assert [int(m[0]) for m in modules] == list(range(count)), modules
    number, _, table = rest.partition(b" bbs\n")
    rows = list(struct.iter_unpack("<IHH", table))
    assert len(rows) == int(number)
    for offset, size, module in rows:
        assert int(modules[module][1], 16) + offset + size <= int(modules[module][2], 16)
    return [(int(modules[module][1], 16), offset, size) for offset, size, module in rows]


class CollectCode(recording.PluginTest):
    def code_of(self, name):
        """The function's bytes in the program's file: its text section is mapped as it is."""
        listing = subprocess.run(["objdump", "-d", "--wide", f"--disassemble={name}", recording.PROGRAM], check=True,
                                 capture_output=True, text=True).stdout
        code = {}
        for line in listing.splitlines():
            fields = line.split("\t")
            if len(fields) >= 2 and fields[0].strip().endswith(":"):
                for i, byte in enumerate(bytes.fromhex(fields[1])):
                    code[int(fields[0].strip()[:-1], 16) + i] = byte
        self.assertTrue(code, name)
        return code

    def check(self, blocks):
        """blocks: [(pc, code)]"""
        collected, versions = {}, set()
        text = range(self.program.instructions[0][0], self.program.instructions[-1][0])
        for pc, code in blocks:
            if pc in text:
                for i, byte in enumerate(code):
                    self.assertEqual(collected.setdefault(pc + i, byte), byte)
            if code[:1] == b"\xb8" and code[2:] == b"\0\0\0\xc3":
                versions.add(code[1])
        for name in ("level1", "copy", "factorial", "count_loop", "undefined", "on_stack"):
            code = self.code_of(name)
            if name == "undefined":  # what is behind ud2 never runs
                code = {pc: byte for pc, byte in code.items() if pc < self.program[name] + 2}
            self.assertEqual({pc: collected.get(pc) for pc in code}, code, name)
        self.assertEqual([pc for pc in self.code_of("never_called") if pc in collected], [])
        self.assertEqual(versions, {1, 2})  # the code that the program made, and made again

    def test_pandalog_and_csv(self):
        self.replay("collect_code:csv=code.csv", "-pandalog", "code.plog")
        with open(self.path("code.csv"), encoding="ascii", newline="") as f:
            rows = list(csv.DictReader(f))
        for row in rows:
            self.assertEqual(len(row["code"]), 2 * int(row["size"]))
        self.check([(int(row["pc"], 16), bytes.fromhex(row["code"])) for row in rows])
        done = subprocess.run([os.path.join(guest.BUILD, "bin", "plog_reader"), "--json", "--field", "basic_block",
                               self.path("code.plog")], capture_output=True, text=True, check=True)
        logged = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([(int(e["basic_block"]["pc"]), e["basic_block"]["size"], int(e["basic_block"]["asid"]), int(e["instr"]))
                          for e in logged],
                         [(int(r["pc"], 16), int(r["size"]), int(r["asid"], 16), int(r["instruction"])) for r in rows])

    def test_drcov(self):
        self.replay("collect_code:drcov=code.cov")
        covered = set()
        for base, offset, size in read_drcov(self.bytes("code.cov")):
            covered.update(range(base + offset, base + offset + size))
        self.assertTrue(set(self.code_of("level1")) <= covered)
        self.assertFalse(set(self.code_of("never_called")) & covered)
        begin, end = self.program.instructions[0][0] & ~0xfff, (self.program.instructions[-1][0] | 0xfff) + 1
        self.replay(f"collect_code:drcov=module.cov,modules=program@{hex(begin)}-{hex(end)}")
        rows = read_drcov(self.bytes("module.cov"))
        self.assertEqual({base for base, _, _ in rows}, {begin})
        self.assertEqual({pc for base, offset, size in rows for pc in range(base + offset, base + offset + size)},
                         {pc for pc in covered if begin <= pc < end})
        self.refused("collect_code:drcov=x,modules=program", "modules=program is not NAME@BEGIN-END")

    def test_without_an_output(self):
        self.refused("collect_code", "plugin collect_code: nothing to collect into: give -pandalog FILE")


if __name__ == "__main__":
    guest.main()
