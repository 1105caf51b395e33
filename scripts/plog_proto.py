#!/usr/bin/env python3
"""Merges plugins' .proto fragments into the pandalog's schema.

    plog_proto.py -o plog.proto FRAGMENT...
    plog_proto.py --run plog.proto COMMAND...

A fragment holds messages and enums, and fields (`optional uint64 asid = 3;`) that become fields of
message panda.LogEntry. Tags and names are unique over all fragments; the same declaration in two of
them is one. The second form runs a compiler on the result and says where in which fragment its errors are.
"""

import os
import re
import subprocess
import sys

FIRST_TAG, LAST_TAG = 1, 536870911
RESERVED = range(19000, 20000)
TOKEN = re.compile(r'\s+|//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|[A-Za-z_][\w.]*|[\w.+-]+|.', re.S)
FIELD = re.compile(r"(optional|repeated|required) ([\w.]+) (\w+) = (\w+) (.*;)$")


class Problem(Exception):
    pass


class Declaration:
    """One statement at the top of a fragment: its words, its text, and where it is."""

    def __init__(self, words, text, path, line):
        self.words, self.text, self.path, self.line = words, text, path, line
        self.kind, self.name = words[0], words[1] if len(words) > 1 else ""
        self.tag = None

    def where(self):
        return f"{self.path}:{self.line}"

    def same(self, other):
        return self.words == other.words


def declarations(path):
    """Splits a fragment into its statements: up to a ';' or a '}' outside of all braces."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    begin, depth, words, line, first = None, 0, [], 1, 1
    for token in TOKEN.finditer(text):
        word = token.group()
        if not (word.isspace() or word.startswith(("//", "/*"))):
            if begin is None:
                if word == ";":
                    continue
                begin, first = token.start(), line
            words.append(word)
            depth += {"{": 1, "}": -1}.get(word, 0)
            if depth < 0:
                raise Problem(f"{path}:{line}: a '}}' without its '{{'")
            if depth == 0 and word in (";", "}"):
                yield Declaration(words, text[begin:token.end()], path, first)
                begin, words = None, []
        line += word.count("\n")
    if begin is not None:
        raise Problem(f"{path}:{first}: this declaration does not end: a '}}' or a ';' is missing")


class Schema:
    def __init__(self):
        self.types = {"LogEntry": Declaration(["message", "LogEntry"], "", "the pandalog", 0)}
        own = [Declaration(f"required uint64 {name} = {tag} ;".split(), f"required uint64 {name} = {tag};",
                           "the pandalog", 0) for name, tag in (("pc", 1), ("instr", 2))]
        for d, tag in zip(own, (1, 2)):
            d.name, d.tag = d.words[2], tag
        self.fields = {d.name: d for d in own}
        self.tags = {d.tag: d for d in own}
        self.order = []

    def add(self, d):
        if d.kind in ("message", "enum"):
            self.add_type(d)
        elif d.kind in ("optional", "repeated", "required"):
            self.add_field(d)
        else:
            raise Problem(f"{d.where()}: '{d.kind}' does not belong here: a fragment holds messages, enums and optional "
                          "or repeated fields; syntax, package and message LogEntry are put around them")

    def add_type(self, d):
        other = self.types.get(d.name)
        if other is None:
            self.types[d.name] = d
            self.order.append(d)
        elif not d.same(other):
            raise Problem(f"{d.where()}: {d.kind} {d.name} is there already, from {self.origin(other)}: give it another name")

    def add_field(self, d):
        found = FIELD.match(" ".join(d.words))
        if found is None:
            raise Problem(f"{d.where()}: '{' '.join(d.text.split())}' is not a field: expected e.g. "
                          "'optional uint64 name = 200;'")
        d.name = found.group(3)
        try:
            d.tag = int(found.group(4), 0)
        except ValueError:
            raise Problem(f"{d.where()}: field '{d.name}': '{found.group(4)}' is not a tag number") from None
        if found.group(1) == "required":
            raise Problem(f"{d.where()}: field '{d.name}' is required, so that nobody else's entries were valid: make it "
                          "optional")
        if not FIRST_TAG <= d.tag <= LAST_TAG or d.tag in RESERVED:
            raise Problem(f"{d.where()}: field '{d.name}': tags are {FIRST_TAG} to {LAST_TAG}, without {RESERVED.start} to "
                          f"{RESERVED.stop - 1}; this is {d.tag}")
        other = self.fields.get(d.name) or self.tags.get(d.tag)
        if other is None:
            self.fields[d.name] = self.tags[d.tag] = d
            self.order.append(d)
        elif not d.same(other):
            if other.tag == d.tag:
                what = f"field '{d.name}' has the tag {d.tag}, which field '{other.name}' of {self.origin(other)} has already"
            else:
                what = f"field '{d.name}' is there already, from {self.origin(other)}"
            raise Problem(f"{d.where()}: {what}: names and tags are unique over all plugins (free: tag {self.free_tag()})")

    def free_tag(self):
        return next(t for t in range(100, LAST_TAG) if t not in self.tags)

    @staticmethod
    def origin(d):
        return d.where() if d.line else d.path

    def text(self):
        lines = ["// Generated by plog_proto.py from the plugins' fragments.", 'syntax = "proto2";', "package panda;", ""]

        def put(d):
            lines.append(f"//# {d.where()}")
            lines.extend(d.text.split("\n"))

        for d in self.order:
            if d.tag is None:
                put(d)
        lines += ["", "message LogEntry {", "required uint64 pc = 1;", "required uint64 instr = 2;"]
        for d in self.order:
            if d.tag is not None:
                put(d)
        return "\n".join(lines + ["}", ""])


def merge(output, fragments):
    schema, problems = Schema(), []
    for path in dict.fromkeys(fragments):
        try:
            for d in declarations(path):
                try:
                    schema.add(d)
                except Problem as p:
                    problems.append(str(p))
        except Problem as p:
            problems.append(str(p))
        except (OSError, UnicodeDecodeError) as e:
            problems.append(f"{path}: cannot be read: {e}")
    if problems:
        for p in problems:
            print(f"pandalog schema: {p}", file=sys.stderr)
        return 1
    with open(output, "w", encoding="utf-8") as f:
        f.write(schema.text())
    return 0


def run(proto, command):
    """The compiler, with the places in its messages put back to where they come from."""
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    with open(proto, encoding="utf-8") as f:
        lines = f.read().split("\n")

    def place(found):
        number = int(found.group(1))
        for back in range(min(number, len(lines)) - 1, -1, -1):
            origin = re.match(r"//# (.*):(\d+)$", lines[back])
            if origin:
                return f"{origin.group(1)}:{int(origin.group(2)) + number - back - 2}:"
        return found.group()

    name = re.escape(os.path.basename(proto))
    sys.stderr.write(re.sub(rf"(?m)^(?:\S*/)?{name}:(\d+):", place, done.stderr))
    return done.returncode


def main(arguments):
    if len(arguments) >= 2 and arguments[0] == "-o":
        return merge(arguments[1], arguments[2:])
    if len(arguments) >= 3 and arguments[0] == "--run":
        return run(arguments[1], arguments[2:])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
