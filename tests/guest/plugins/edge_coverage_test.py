"""edge_coverage: the edges of the program's loops and calls, with the numbers of times that its source says."""

import csv
import json
import os
import subprocess

import recording
from collect_code_test import read_drcov

guest = recording.guest


class EdgeCoverage(recording.PluginTest):
    def rows(self, name):
        """{asid: {(pc, ...): hits}}"""
        spaces = {}
        with open(self.path(name), encoding="ascii", newline="") as f:
            head, *rows = csv.reader(f)
        for asid, hits, *path in rows:
            paths = spaces.setdefault(int(asid, 16), {})
            path = tuple(int(pc, 16) for pc in path)
            self.assertEqual(len(path), len(head) - 2)
            self.assertNotIn(path, paths)
            paths[path] = int(hits)
        return spaces

    def parent_and_child(self, spaces):
        """The child runs nothing of work(), the parent no undefined()."""
        factorial, undefined = self.program["factorial"], self.program["undefined"]
        parent = [s for s in spaces.values() if any(factorial in path for path in s)]
        child = [s for s in spaces.values() if any(undefined in path for path in s)]
        self.assertEqual((len(parent), len(child)), (1, 1))
        self.assertIsNot(parent[0], child[0])
        return parent[0], child[0]

    def test_edges(self):
        self.replay("edge_coverage:csv=edges.csv,drcov=edges.cov", "-pandalog", "edges.plog")
        spaces = self.rows("edges.csv")
        parent, child = self.parent_and_child(spaces)
        p = self.program
        body, end, loop = p["count_body"], p["count_end"], p["count_loop"]
        first_round = 0 if body == loop else 1  # on i386 the first round belongs to the function's first block
        for space, times in ((parent, 1000), (child, 5000)):
            self.assertEqual(space.get((body, body)), times - 1 - first_round)
            self.assertEqual(space.get((body, end)), 1)
            if first_round:
                self.assertEqual(space.get((loop, body)), 1)
        # copy()'s loop: one edge less than rounds, of the five calls; the first round is in the function's block.
        sizes = [29, 512, 17, 16, 15]
        self.assertEqual(parent[p["copy_load"], p["copy_load"]], sum(n - 2 for n in sizes))
        self.assertEqual(parent[p["copy"], p["copy_load"]], len(sizes))
        self.assertEqual(sum(hits for path, hits in parent.items() if path[1] == p["copy"]), len(sizes))
        self.assertEqual(sum(hits for path, hits in parent.items() if path[1] == p["factorial"]), 10)
        self.assertEqual([path for path in parent if p["never_called"] in path], [])
        # The kernel, interrupts and page faults are in no edge.
        kernel = 1 << 63 if guest.IS_64BIT else 0xc0000000
        self.assertEqual([path for s in spaces.values() for path in s if any(pc >= kernel for pc in path)], [])
        starts = {base + offset for base, offset, _ in read_drcov(self.bytes("edges.cov"))}
        self.assertTrue({pc for path in parent for pc in path} <= starts)

        logged = self.logged("edges.plog", "edge_coverage")
        self.assertEqual({int(e["asid"]): {tuple(map(int, edge["pc"])): int(edge["hit_count"])
                                           for edge in e["edge_coverage"]["edges"]} for e in logged}, spaces)

    def logged(self, name, field):
        done = subprocess.run([os.path.join(guest.BUILD, "bin", "plog_reader"), "--json", "--field", field, self.path(name)],
                              capture_output=True, text=True, check=True)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def test_paths_and_trace(self):
        self.replay("edge_coverage:n=3,trace,csv=paths.csv", "-pandalog", "trace.plog")
        parent, child = self.parent_and_child(self.rows("paths.csv"))
        body, end = self.program["count_body"], self.program["count_end"]
        first_round = 0 if body == self.program["count_loop"] else 1
        self.assertEqual(child[body, body, body, body], 5000 - 3 - first_round)
        self.assertEqual(child[body, body, body, end], 1)
        traces = {}
        for e in self.logged("trace.plog", "trace"):
            traces.setdefault(int(e["asid"]), []).extend(map(int, e["trace"]["pcs"]))
        for asid, paths in self.rows("paths.csv").items():
            blocks, counted = traces[asid], {}
            for path in zip(blocks, blocks[1:], blocks[2:], blocks[3:]):
                counted[path] = counted.get(path, 0) + 1
            self.assertEqual(counted, paths)
        self.assertEqual(sum(parent.values()) > 0, True)

    def test_from_main_on_in_one_address_space(self):
        self.replay("edge_coverage:csv=all.csv")
        spaces = self.rows("all.csv")
        parent, _ = self.parent_and_child(spaces)
        asid = next(a for a, s in spaces.items() if s is parent)
        self.replay(f"edge_coverage:csv=some.csv,asid={hex(asid)},main={hex(self.program['factorial'])}")
        some = self.rows("some.csv")
        self.assertEqual(list(some), [asid])
        paths = some[asid]
        self.assertEqual([path for path in paths if self.program["level1"] in path], [])  # was before
        loop = (self.program["count_body"], self.program["count_body"])
        self.assertEqual(paths[loop], parent[loop])
        self.assertTrue(all(hits <= parent[path] for path, hits in paths.items()))

    def test_the_kernels_too(self):
        self.replay("edge_coverage:csv=kernel.csv,kernel")
        parent, _ = self.parent_and_child(self.rows("kernel.csv"))
        kernel = 1 << 63 if guest.IS_64BIT else 0xc0000000
        self.assertTrue(any(path[0] < kernel <= path[1] for path in parent))  # its system calls
        loop = (self.program["count_body"], self.program["count_body"])
        self.assertGreaterEqual(parent[loop], 998)

    def test_bad_arguments(self):
        self.refused("edge_coverage", "plugin edge_coverage: nothing to write to")
        self.refused("edge_coverage:csv=x,n=0", "plugin edge_coverage: the argument n must be between 1 and 64")
        self.refused("edge_coverage:csv=x,main=main", "main=main is not an address", "introspection")
        self.refused("edge_coverage:csv=x,trace", "the argument trace needs -pandalog FILE")


if __name__ == "__main__":
    guest.main()
