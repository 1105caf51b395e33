"""Strings are found at the instructions that are known to move them, with the callers known from the program."""

import os
import re

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_ssm_probe.so")


class StringSearch(recording.PluginTest):
    def matches(self, name):
        """(callers outermost first, pc, asid, counts) of each line."""
        out = []
        for line in self.lines(name + "_string_matches.txt"):
            word = f"[0-9a-f]{{{recording.DIGITS}}}"
            found = re.fullmatch(rf"((?:{word} )*)({word}) \(asid=0x([0-9a-f]+)\) ((?: \d+)+)", line)
            self.assertIsNotNone(found, line)
            out.append(([int(a, 16) for a in found[1].split()], int(found[2], 16), int(found[3], 16),
                        [int(n) for n in found[4].split()]))
        return out

    def test_bytewise(self):
        self.replay("stringsearch:str=said the known")
        read, write = self.matches("stringsearch")
        outermost_first = self.callers_in_level3()[::-1]
        self.assertEqual((read[0], read[1], read[3]), (outermost_first, self.program["copy_load"], [1]))
        self.assertEqual((write[0], write[1], write[3]), (outermost_first, self.program["copy_store"], [1]))
        self.assertEqual(read[2], write[2])

    def test_several_strings_from_a_file(self):
        self.write("mine_search_strings.txt", '"words of a wide"\n78:79:7A:7a:79\n\n"never seen by anybody"\n58:79:7a:7a:79:2c:20\r\n')
        done = self.replay("callstack_instr;stringsearch:name=mine,callers=2,verbose")
        matches = {m[1]: m for m in self.matches("mine")}
        p = self.program
        expected = {p["copy_load"]: ("level3", "copy", [0, 0, 0, 1]), p["copy_store"]: ("level3", "copy", [0, 0, 0, 1]),
                    p["words_load"]: ("sentence", "copy_words", [1, 0, 0, 0]),
                    p["words_store"]: ("sentence", "copy_words", [1, 0, 0, 0])}
        self.assertEqual(set(matches), set(expected))
        for pc, (function, callee, counts) in expected.items():
            callers, _, asid, found = matches[pc]
            self.assertEqual((callers[-1], len(callers), found), (p.return_address(function, callee), 2, counts))
            kind = "READ" if pc in (p["copy_load"], p["words_load"]) else "WRITE"
            self.assertRegex(done.stdout, rf"(?m)^{kind} Match of str {counts.index(1)} at: instr_count=\d+ :  "
                                          rf"0*{callers[-1]:x} 0*{pc:x} \(asid=0x{asid:x}\)$")

    def test_through_the_kernel(self):
        self.replay("stringsearch:str=what the kernel prints")
        pcs = [m[1] for m in self.matches("stringsearch")]
        kernel = 1 << 63 if recording.guest.IS_64BIT else 0xc0000000
        # say() reads it to its end; the kernel copies it and hands it to the serial port.
        self.assertEqual([self.program.inside("say", pc) for pc in pcs if pc < kernel], [True])
        self.assertGreaterEqual(len([pc for pc in pcs if pc >= kernel]), 2)

    def test_functions_and_callback(self):
        self.replay(f"stringsearch;{PROBE}:first=said the known,second=a wide sentence")
        p = self.program
        secret, wide, wide_copied = p["secret"], p["wide"], p["wide_copied"]
        at = "four words of a wide sentence...".index("a wide sentence")
        self.assertEqual(self.lines("ssm.txt"), [
            f"{p['copy_load']:0{recording.DIGITS}x} {secret + 7:0{recording.DIGITS}x} said the known read there",
            f"{p['words_load']:0{recording.DIGITS}x} {wide + at:0{recording.DIGITS}x} a wide sentence read there",
            f"{p['words_store']:0{recording.DIGITS}x} {wide_copied + at:0{recording.DIGITS}x} a wide sentence write there"])

    def test_nothing_to_find(self):
        self.replay("stringsearch:str=this is nowhere in the guest")
        self.assertEqual(self.text("stringsearch_string_matches.txt"), "")
        self.replay("stringsearch:name=,callers=1")

    def test_refused(self):
        self.write("bad_search_strings.txt", '"good"\n01:02:0g\n')
        self.refused("stringsearch:name=bad", "stringsearch", "bad_search_strings.txt:2")
        self.refused("stringsearch:name=missing", "stringsearch", "missing_search_strings.txt")
        self.refused("stringsearch:callers=5000,str=x", "stringsearch", "callers=5000")


if __name__ == "__main__":
    recording.guest.main()
