"""Fragments of a pandalog's schema: what is merged is what was written, and each clash is named with its places."""

import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.environ.get("PANDA_TEST_SOURCE", os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
SCRIPT = os.path.join(SOURCE, "scripts", "plog_proto.py")
PROTOC = os.environ.get("PROTOC", "protoc")


class Schema(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def merge(self, **fragments):
        for name, text in fragments.items():
            with open(os.path.join(self.folder.name, name + ".proto"), "w", encoding="utf-8") as f:
                f.write(text)
        return subprocess.run([sys.executable, SCRIPT, "-o", "plog.proto", *(n + ".proto" for n in fragments)],
                              cwd=self.folder.name, capture_output=True, text=True, check=False)

    def compile(self):
        return subprocess.run([sys.executable, SCRIPT, "--run", "plog.proto", PROTOC, "-I.", "--descriptor_set_out=d",
                               "plog.proto"], cwd=self.folder.name, capture_output=True, text=True, check=False)

    def refused(self, *mentions, **fragments):
        done = self.merge(**fragments)
        self.assertEqual(done.returncode, 1, done)
        self.assertFalse(os.path.exists(os.path.join(self.folder.name, "plog.proto")))
        for text in mentions:
            self.assertIn(text, done.stderr)

    def test_merges(self):
        done = self.merge(a='message A { enum K { X = 0; } required uint32 n = 1; repeated K k = 2 [default = X]; }\n'
                            'optional A a = 40; optional uint64 asid = 3; // the address space { ; }\n',
                          b='/* A of the other fragment: } */ repeated A more = 100 [deprecated=true];\n'
                            'optional uint64  asid=3 ;\noptional string text = 0x70;\n', c='')
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        done = self.compile()
        # protoc checks it; `default` does not go with `repeated`
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"^a\.proto:1:\d+: Repeated fields can't have default values\.")
        self.assertEqual(self.merge(a="message A { required uint32 n = 1; }\noptional A a = 40;").returncode, 0)
        self.assertEqual(self.compile().returncode, 0)

    def test_clashes(self):
        self.refused("b.proto:2: field 'other' has the tag 40, which field 'one' of a.proto:1 has already", "tag 100",
                     a="optional uint32 one = 40;", b="\noptional uint32 other = 40;")
        self.refused("b.proto:1: field 'one' is there already, from a.proto:1", a="optional uint32 one = 40;",
                     b="optional uint64 one = 41;")
        self.refused("b.proto:1: message M is there already, from a.proto:1", a="message M { }",
                     b="message M { optional uint32 x = 1; }")
        self.refused("field 'x' has the tag 2, which field 'instr' of the pandalog has", a="optional uint32 x = 2;")
        self.refused("message LogEntry is there already", a="message LogEntry { }")

    def test_what_is_no_fragment(self):
        self.refused("a.proto:1: field 'x' is required", a="required uint32 x = 50;")
        self.refused("a.proto:1: 'syntax' does not belong here", a='syntax = "proto2";')
        self.refused("a.proto:2: this declaration does not end", a="\nmessage M { optional uint32 x = 1;")
        self.refused("a.proto:1: a '}' without its '{'", a="}")
        self.refused("is not a field", a="optional uint32 = 5;")
        self.refused("tags are 1 to 536870911", a="optional uint32 x = 19500;")
        self.refused("tags are", a="optional uint32 x = 0;")
        self.refused("'y' is not a tag number", a="optional uint32 x = y;")
        self.refused("a.proto:1:", "b.proto:1:", a="optional uint32 x = y;", b="required uint32 x = 7;")

    def test_errors_of_the_compiler_name_the_fragment(self):
        self.assertEqual(self.merge(a="optional uint32 x = 50;", b="\n\noptional Nothing y = 51;").returncode, 0)
        done = self.compile()
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r'^b\.proto:3:\d+: "Nothing" is not defined\.')


if __name__ == "__main__":
    unittest.main()
