"""trace: replaying the trace's changes gives the registers and the memory that the program had."""

import os
import re

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")
PC = "rip" if recording.guest.IS_64BIT else "eip"
A, D, SP, DI = (("rax", "rdx", "rsp", "rdi") if recording.guest.IS_64BIT else ("eax", "edx", "esp", "edi"))
REGISTERS = ({"rax", "rbx", "rcx", "rdx", "rbp", "rsp", "rsi", "rdi", *(f"r{i}" for i in range(8, 16))}
             if recording.guest.IS_64BIT else {"eax", "ebx", "ecx", "edx", "ebp", "esp", "esi", "edi"})


class Trace(recording.PluginTest):
    def steps(self, name="trace.txt"):
        """[(registers before the instruction, accesses of the one before)] by the format alone."""
        registers, steps = {}, []
        for line in self.lines(name):
            accesses = []
            for field in line.split(","):
                key, _, value = field.partition("=")
                if key in ("mr", "mw"):
                    found = re.fullmatch(r"0x([0-9a-f]+):((?:[0-9a-f]{2})+)", value)
                    self.assertIsNotNone(found, line)
                    accesses.append((key, int(found[1], 16), bytes.fromhex(found[2])))
                else:
                    self.assertRegex(value, r"^0x[0-9a-f]+$")
                    if steps and key != PC:
                        self.assertNotEqual(registers[key], int(value, 16), line)  # only changes
                    registers[key] = int(value, 16)
            if not steps:
                self.assertEqual(set(registers), REGISTERS | {PC})
            self.assertIn(PC + "=", line)
            steps.append((dict(registers), accesses))
        return steps

    def function(self, name, more=""):
        begin = self.program[name]
        self.done = self.replay(f"trace:user,begin={hex(begin)},end={hex(begin + self.program.sizes[name])}{more}")
        return self.steps()

    def test_registers(self):
        steps = self.function("factorial")
        p = self.program
        self.assertTrue(all(p.inside("factorial", s[0][PC]) for s in steps))
        entries = [s[0] for s in steps if s[0][PC] == p["factorial"]]
        self.assertEqual(len(entries), 10)
        if recording.guest.IS_64BIT:
            self.assertEqual([r[DI] for r in entries], list(range(10, 0, -1)))
        self.assertEqual([r[SP] for r in entries], sorted((r[SP] for r in entries), reverse=True))
        ends = {pc for pc, name, _ in p.instructions_of("factorial") if name.startswith("ret")}
        results, factorial = [], 1
        for n in range(1, 11):
            factorial *= n
            results.append(factorial)
        self.assertEqual([s[0][A] for s in steps if s[0][PC] in ends], results)

    def test_memory(self):
        steps = self.function("copy")
        p, copied = self.program, bytearray()
        for (registers, _), (_, accesses) in zip(steps, steps[1:]):
            if registers[PC] == p["copy_store"]:
                (how, address, data), = accesses
                self.assertEqual((how, len(data)), ("mw", 1))
                if len(copied) < 29:
                    self.assertEqual(address, p["copied"] + len(copied))
                copied += data
            elif registers[PC] == p["copy_load"]:
                (how, _, data), = accesses
                self.assertEqual((how, len(data)), ("mr", 1))
        self.assertEqual(bytes(copied), b"Xyzzy, said the known program" + bytes(i // 2 for i in range(512))
                         + b"through a pointer" + b"on another stack" + b"after the throw")

    def test_one_address_space(self):
        steps = self.function("count_loop")
        body = self.program["count_body"]
        self.assertEqual(sum(s[0][PC] == body for s in steps), 6000)
        self.replay("asid_instr_count:csv=counts.csv;trace:log=none.txt,target=0x123000")
        self.assertEqual(self.lines("none.txt"), [])
        with_child = 0
        for row in self.lines("counts.csv")[1:]:
            counted = self.function("count_loop", f",target={row.split(',')[0]}")
            with_child += sum(s[0][PC] == body for s in counted) == 5000
        self.assertEqual(with_child, 1)

    def test_instruction_counts(self):
        """From one count to another there is a line for each."""
        self.replay(f"{PROBE}:hooks={hex(self.program['spread'])}")
        count = int(self.lines("probe.txt")[0].split()[6])
        self.replay(f"trace:user,first={count},last={count + 19}")
        steps = self.steps()
        self.assertEqual(len(steps), 20)
        self.assertEqual(steps[0][0][PC], self.program["spread"])


if __name__ == "__main__":
    recording.guest.main()
