"""hooks: what is hooked is called as often as the program gets there, with the arguments that it passes."""

import os
import re

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")


class Hooks(recording.PluginTest):
    def probe(self, options, *names, **how):
        """The probe's lines with its hooks at these: [what, name, arguments, asid, count, block covers it]."""
        addresses = ":".join(hex(self.program[name]) for name in names)
        name_of = {self.program[name]: name for name in names}
        self.done = self.replay(f"{PROBE}:hooks={addresses}{options}", **how)
        rows = []
        for line in self.lines("probe.txt"):
            what, address, *arguments, asid, count, covers = line.split()
            rows.append((what, name_of[int(address, 16)], [int(a) for a in arguments], int(asid, 16), int(count), covers == "1"))
        self.assertEqual([r[4] for r in rows], sorted(r[4] for r in rows))
        return rows

    def test_functions_and_their_arguments(self):
        sizes = [len("Xyzzy, said the known program"), 512, 17, 16, 15]
        rows = self.probe("", "copy", "factorial", "never_called", "choose", "count_end")
        self.assertTrue(all(r[0] == "start" and r[5] for r in rows))
        self.assertEqual([r[2][2] for r in rows if r[1] == "copy"], sizes)
        self.assertEqual([r[2][0] for r in rows if r[1] == "copy"],
                         [self.program["copied"], self.program["histogram_copied"]] + [self.program["copied"]] * 3)
        self.assertEqual([r[2][0] for r in rows if r[1] == "factorial"], list(range(10, 0, -1)))
        self.assertEqual([r[2][0] for r in rows if r[1] == "choose"], [0, 1, 2])
        self.assertEqual(len([r for r in rows if r[1] == "count_end"]), 2)  # in the middle of the function
        self.assertEqual([r for r in rows if r[1] == "never_called"], [])
        # Of the other type, in user mode, it is the same; in the kernel there is nothing at these addresses.
        again = self.probe(",type=before,mode=user", "copy", "factorial", "never_called", "choose", "count_end")
        self.assertEqual([("start", *r[1:]) for r in again], rows)
        self.assertEqual(self.probe(",mode=kernel", "copy", "factorial"), [])

    def test_a_loop_in_two_address_spaces(self):
        rows = self.probe("", "count_body")
        self.assertEqual(len(rows), 6000)
        parent, child = rows[0][3], rows[-1][3]
        self.assertNotEqual(parent, child)
        self.assertEqual([r[3] for r in rows], [parent] * 1000 + [child] * 5000)
        only = self.probe(f",asid={hex(child)}", "count_body")
        self.assertEqual(only, rows[1000:])

    def test_hooks_go_and_come(self):
        self.assertEqual(len(self.probe(",once", "count_body")), 1)
        # Hooking ends at the first hook and goes on at the program's hypercall: only the child's loop is left.
        rows = self.probe(",toggle=off", "choose", "count_body")
        self.assertEqual([r[1] for r in rows], ["choose"] + ["count_body"] * 5000)
        # The plugin that hooks unloads itself at the hypercall: the child's loop runs without it.
        self.assertEqual([r[1] for r in self.probe(",leave", "count_body")], ["count_body"] * 1000)

    def test_blocks(self):
        for kind in ("end", "after"):
            rows = self.probe(f",type={kind}", "level1", "count_end")
            self.assertEqual([(r[0], r[1], r[5]) for r in rows],
                             [(kind, "level1", True)] + [(kind, "count_end", True)] * 2)
        rows = self.probe(",type=invalidate", "level1")
        self.assertEqual([(r[0], r[5]) for r in rows], [("invalidate", True)])
        for kind in ("after_translate", "codegen"):
            rows = self.probe(f",type={kind}", "level1", "never_called")
            self.assertEqual({(r[0], r[1], r[5]) for r in rows}, {(kind, "level1", True)})
        rows = self.probe(",type=before_translate", "level1", "never_called")
        self.assertEqual({(r[0], r[1]) for r in rows}, {("before_translate", "level1")})

    def test_what_cannot_be_hooked_is_said(self):
        self.assertEqual(self.probe(",symbol,type=nonsense", "level1"), [])
        errors = [line for line in self.done.stderr.splitlines() if "plugin hooks: " in line]
        self.assertEqual(len(errors), 2, self.done)
        self.assertTrue(re.search(r"add_hook at 0*%x: a hook cannot be of the callback type" % self.program["level1"], errors[0]))
        self.assertIn("the symbol malloc of any library cannot be hooked", errors[1])
        self.assertIn("introspection", errors[1])


if __name__ == "__main__":
    recording.guest.main()
