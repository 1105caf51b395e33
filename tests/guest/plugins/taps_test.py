"""The plugins that sort accesses by tap point: what passes each is what the program's source says."""

import gzip
import re
import struct
import xml.etree.ElementTree

import recording

SECRET = b"Xyzzy, said the known program"
WORD = "<Q" if recording.guest.IS_64BIT else "<I"
LETTER = WORD[1]


class Taps(recording.PluginTest):
    def asid(self):
        """The program's: of the first time level3() runs."""
        if not hasattr(Taps, "known_asid"):
            address = self.program["level3"]
            self.replay(f"coverage:filename=asid.csv,pc=0x{address:x}-0x{address + self.program.sizes['level3']:x}")
            Taps.known_asid = int(self.lines("asid.csv")[4].split(",")[0], 16)
        return Taps.known_asid

    def index(self, name):
        data = self.bytes(name)
        self.assertEqual(struct.unpack_from("<I", data)[0], recording.WORD)
        rows = list(struct.iter_unpack("<4" + LETTER, data[4:]))
        out = {row[:3]: row[3] for row in rows}
        self.assertEqual(len(out), len(rows))
        self.assertEqual([r[1] for r in rows], sorted(r[1] for r in rows))
        return out

    def histograms(self, name):
        data = self.bytes(name)
        self.assertEqual(struct.unpack_from("<II", data), (recording.WORD, 4))
        out = {}
        for kind, caller, pc, first, second, kernel, *counts in struct.iter_unpack("<I4" + LETTER + "B256I", data[8:]):
            self.assertEqual((kind, second), (0, 0))
            out[(caller, pc, first, kernel)] = counts
        return out

    def test_tapindex(self):
        self.replay("tapindex")
        reads, writes = self.index("tap_reads.idx"), self.index("tap_writes.idx")
        p, asid = self.program, self.asid()
        for caller, size in ((p.return_address("level3", "copy"), len(SECRET)), (p.return_address("spread", "copy"), 512),
                             (p.return_address("after_throw", "copy"), 15)):
            self.assertEqual(reads[(caller, p["copy_load"], asid)], size)
            self.assertEqual(writes[(caller, p["copy_store"], asid)], size)
        self.assertEqual(writes[(p.return_address("work", "weave"), p["weave_first"], asid)], 32)
        # copy() is called from five places that run, and from no other.
        self.assertEqual(len([k for k in reads if k[1] == p["copy_load"]]), 5)
        self.assertNotIn(p["copy_load"], [k[1] for k in writes])

    def test_unigrams(self):
        self.replay("unigrams:csv=unigrams.csv,svg=unigrams.svg,svg_taps=10")
        reads, writes = self.histograms("unigram_mem_read_report.bin"), self.histograms("unigram_mem_write_report.bin")
        p, asid = self.program, self.asid()
        spread, level3 = p.return_address("spread", "copy"), p.return_address("level3", "copy")
        self.assertEqual(reads[(spread, p["copy_load"], asid, 0)], [2] * 256)
        self.assertEqual(writes[(spread, p["copy_store"], asid, 0)], [2] * 256)
        self.assertEqual(writes[(level3, p["copy_store"], asid, 0)], [SECRET.count(bytes([i])) for i in range(256)])

        rows = [line.split(",") for line in self.lines("unigrams.csv")]
        self.assertEqual(rows[0][:8], ["access", "caller", "pc", "sid first", "sid second", "in kernel", "bytes", "00"])
        self.assertEqual(len(rows) - 1, len(reads) + len(writes))
        for row in rows[1:]:
            key = (int(row[1], 16), int(row[2], 16), int(row[3], 16), int(row[5]))
            counts = (reads if row[0] == "read" else writes)[key]
            self.assertEqual([int(n) for n in row[7:]], counts)
            self.assertEqual(int(row[6]), sum(counts))
        picture = xml.etree.ElementTree.parse(self.path("unigrams.svg")).getroot()
        labels = [t.text for t in picture.iter("{http://www.w3.org/2000/svg}text")]
        largest = sorted((sum(c) for c in [*reads.values(), *writes.values()]), reverse=True)[:10]
        self.assertEqual([int(l.split()[-1]) for l in labels[8:]], largest)

    def test_textprinter(self):
        p, asid = self.program, self.asid()
        callers = self.callers_in_level3()
        self.write("tap_points.txt", f"0\n{callers[0]:x} {p['copy_load']:x} {asid:x}\n{callers[0]:x} {p['copy_store']:x} {asid:x}\n"
                                     f"{callers[0]:x} {p['words_load']:x} {asid:x}\n")
        self.replay("textprinter")
        before = -1
        for name, label, buffer in (("read", "copy_load", "secret"), ("write", "copy_store", "copied")):
            with gzip.open(self.path(f"{name}_tap_buffers.txt.gz"), "rt") as f:
                lines = f.read().splitlines()
            self.assertEqual(len(lines), len(SECRET))
            for i, line in enumerate(lines):
                words = line.split(" ")
                self.assertEqual([int(w, 16) for w in words[:len(callers)]], callers[::-1])
                rest = words[len(callers):]
                self.assertEqual([len(w) for w in rest[:1] + rest[2:5]], [recording.DIGITS] * 4)
                self.assertEqual([int(w, 16) for w in rest[:5]], [p[label], 0, asid, 0, p[buffer] + i])
                self.assertEqual(int(rest[6], 16), SECRET[i])
            counts = [int(line.split(" ")[-2]) for line in lines]
            # A load and a store in turn: two accesses from one to the next, if no interrupt comes between.
            self.assertEqual(sorted(set(counts)), counts)
            self.assertGreaterEqual([b - a for a, b in zip(counts, counts[1:])].count(2), len(SECRET) - 5)
            self.assertGreater(counts[0], before)
            before = counts[0]

    def test_correlatetaps(self):
        self.replay("correlatetaps:csv=pairs.csv")
        p, asid = self.program, self.asid()
        caller = p.return_address("work", "weave")
        first, second = (caller, p["weave_first"], asid), (caller, p["weave_second"], asid)
        data = self.bytes("correlated_taps.bin")
        pairs = {(r[:3], r[3:6]): r[6] for r in struct.iter_unpack("<6" + LETTER + "I", data)}
        # first writes below second 32 times, and above it 31 times: bytes alternate.
        self.assertEqual((pairs[(first, second)], pairs[(second, first)]), (32, 31))
        self.assertNotIn((first, first), pairs)
        rows = [line.split(",") for line in self.lines("pairs.csv")]
        self.assertEqual(rows[0], ["caller 1", "pc 1", "asid 1", "caller 2", "pc 2", "asid 2", "count"])
        self.assertEqual({(tuple(int(w, 16) for w in r[:3]), tuple(int(w, 16) for w in r[3:6])): int(r[6]) for r in rows[1:]}, pairs)

    def test_bufmon(self):
        p, asid = self.program, self.asid()
        # Two buffers: the woven one, and the middle of the one that is copied by words.
        self.write("search_buffers.txt", f"{p['woven']:x} 40 {asid:x}\n{p['wide_copied'] + 3:x} 2 {asid:x}\n")
        self.replay("bufmon")
        rows = [line.split(" ") for line in self.lines("buffer_taps.txt")]
        word = recording.WORD
        wide = b"four words of a wide sentence..."[:word] if word == 8 else b"four words"[:4]
        sentence = p.return_address("sentence", "copy_words")
        expected = [["WRITE", sentence, p["words_store"], asid, p["wide_copied"], word, wide.hex()]]
        if word == 4:  # bytes 3 and 4 lie in two words
            expected.append(["WRITE", sentence, p["words_store"], asid, p["wide_copied"] + 4, 4, b" wor".hex()])
        weave = p.return_address("work", "weave")
        for i in range(64):
            expected.append(["WRITE", weave, p["weave_second" if i % 2 else "weave_first"], asid, p["woven"] + i, 1,
                             b"ab"[i % 2:i % 2 + 1].hex()])
        self.assertEqual([[r[0], *(int(w, 16) for w in r[2:6]), int(r[6]), r[7]] for r in rows], expected)
        counts = [int(r[1]) for r in rows]
        self.assertEqual(counts, sorted(set(counts)))

    def test_totals_agree(self):
        done = self.replay("memstats;unigrams;tapindex")
        found = re.search(r"^Memory statistics: (\d+) loads, (\d+) stores, (\d+) bytes read, (\d+) bytes written\.$",
                          done.stdout, re.M)
        self.assertIsNotNone(found, done)
        loads, stores, read, written = (int(n) for n in found.groups())
        self.assertGreater(read, loads)
        self.assertGreater(written, stores)
        self.assertGreater(loads, self.facts["instructions"] // 10)
        self.assertEqual(sum(map(sum, self.histograms("unigram_mem_read_report.bin").values())), read)
        self.assertEqual(sum(map(sum, self.histograms("unigram_mem_write_report.bin").values())), written)
        self.assertEqual(sum(self.index("tap_reads.idx").values()), read)
        self.assertEqual(sum(self.index("tap_writes.idx").values()), written)
        interp = self.replay("memstats", "--backend=interp")
        self.assertIn(found.group(0), interp.stdout)

    def test_refused(self):
        self.refused("textprinter", "textprinter", "tap_points.txt")
        self.write("tap_points.txt", "7\n1 2 3\n")
        self.refused("textprinter", "tap_points.txt:1", "stack type")
        self.write("tap_points.txt", "0\n1 2 3\n1 2\n")
        self.refused("textprinter", "tap_points.txt:3", "caller, pc and ASID")
        self.refused("bufmon", "bufmon", "search_buffers.txt")
        self.write("search_buffers.txt", "10000 0 3f9b2040\n")
        self.refused("bufmon", "search_buffers.txt:1", "address, size and ASID")
        self.refused("unigrams:svg=/no/such/place.svg", "unigrams", "/no/such/place.svg")


if __name__ == "__main__":
    recording.guest.main()
