#!/usr/bin/env python3
"""Reads a pandalog: as a program it prints the entries as JSON, as a module it gives them one by one.

    plog_reader.py FILE            a JSON array        plog_reader.py --lines FILE     an object a line

    with PLogReader("x.plog") as log:
        for entry in log:
            print(entry.instr, hex(entry.pc), entry.asid if entry.HasField("asid") else "")

Entries are messages of python3-protobuf where that is installed, else objects that answer to the same
attributes, HasField() and ListFields(). The schema is the plog.desc of the build that made the plugins
(--schema, $PANDA_PLOG_SCHEMA, or the newest build/*/plog/*/plog.desc of this source tree).
"""

import argparse
import base64
import glob
import json
import math
import os
import struct
import sys
import zlib

HEADER = struct.Struct("<IIQII")
HEADER_BYTES = 128
READ_BYTES = 1 << 18


class PLogError(Exception):
    """What is wrong with a log; everything before it has been read."""


# ---- the schema

def default_schema():
    if os.environ.get("PANDA_PLOG_SCHEMA"):
        return os.environ["PANDA_PLOG_SCHEMA"]
    here = os.path.dirname(os.path.realpath(__file__))
    found = [path for place in ("../build/*/plog/*/plog.desc", "../share/panda/plog.desc", "plog.desc")
             for path in glob.glob(os.path.join(here, place))]
    if not found:
        raise PLogError("there is no schema: build PANDA, or name its plog.desc with --schema or $PANDA_PLOG_SCHEMA")
    return max(found, key=os.path.getmtime)


def protobuf_class(descriptors):
    """The class of panda.LogEntry by python3-protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(descriptors).file:
        pool.Add(file)
    entry = pool.FindMessageTypeByName("panda.LogEntry")
    if hasattr(message_factory, "GetMessageClass"):
        return message_factory.GetMessageClass(entry)
    return message_factory.MessageFactory(pool).GetPrototype(entry)


def entry_class(schema=None, builtin=False):
    path = schema or default_schema()
    try:
        with open(path, "rb") as f:
            descriptors = f.read()
    except OSError as e:
        raise PLogError(f"{path}: cannot be read: {e.strerror}") from e
    if not builtin:
        try:
            return protobuf_class(descriptors)
        except ImportError:
            pass
    return simple_class(descriptors, path)


# ---- decoding without python3-protobuf: the wire format, and descriptors as messages of it

def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7f) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def wire(data):
    """(tag, wire type, value) of each field of a serialised message."""
    at, end = 0, len(data)
    try:
        while at < end:
            key, at = varint(data, at)
            kind = key & 7
            if kind == 0:
                value, at = varint(data, at)
            elif kind in (1, 2, 5):
                size = {1: 8, 5: 4}.get(kind)
                if size is None:
                    size, at = varint(data, at)
                if size > end - at:
                    raise ValueError("a field is cut off")
                value, at = data[at:at + size], at + size
            else:
                raise ValueError("no such wire type")
            yield key >> 3, kind, value
    except IndexError:
        raise ValueError("a number is cut off") from None


def by_tag(data):
    fields = {}
    for tag, _, value in wire(data):
        fields.setdefault(tag, []).append(value)
    return fields


def signed(value, bits):
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def zigzag(value):
    return value >> 1 ^ -(value & 1)


# FieldDescriptorProto.Type: (wire type, value of what is there, default)
SCALARS = {
    1: (1, lambda v: struct.unpack("<d", v)[0], 0.0), 2: (5, lambda v: struct.unpack("<f", v)[0], 0.0),
    3: (0, lambda v: signed(v, 64), 0), 4: (0, lambda v: v, 0), 5: (0, lambda v: signed(v, 32), 0),
    6: (1, lambda v: struct.unpack("<Q", v)[0], 0), 7: (5, lambda v: struct.unpack("<I", v)[0], 0),
    8: (0, bool, False), 9: (2, lambda v: v.decode("utf-8", "replace"), ""), 12: (2, bytes, b""),
    13: (0, lambda v: v & 0xffffffff, 0), 14: (0, lambda v: signed(v, 32), 0),
    15: (5, lambda v: struct.unpack("<i", v)[0], 0), 16: (1, lambda v: struct.unpack("<q", v)[0], 0),
    17: (0, zigzag, 0), 18: (0, zigzag, 0),
}
MESSAGE, ENUM, IS_64_BIT, REPEATED, REQUIRED = 11, 14, (3, 4, 6, 16, 18), 3, 2


class Field:
    def __init__(self, data):
        f = by_tag(data)
        self.name, self.number = f[1][0].decode(), f[3][0]
        self.label, self.type = f[4][0], f[5][0]
        self.type_name = f[6][0].decode() if 6 in f else ""
        self.repeated = self.label == REPEATED
        self.message = self.enum = None


class Message:
    """One message; `fields_` is set in the class of each type."""

    fields_, names_ = {}, {}

    @classmethod
    def FromString(cls, data):
        self = cls()
        for tag, kind, value in wire(data):
            field = cls.fields_.get(tag)
            if field is not None:
                self._take(field, kind, value)
        for field in cls.fields_.values():
            if field.label == REQUIRED and field.name not in self.__dict__:
                raise ValueError(f"the required field {field.name} is missing")
        return self

    def _take(self, field, kind, raw):
        if field.type == MESSAGE:
            if kind != 2:
                raise ValueError(f"{field.name} is not a message")
            values = [field.message.FromString(raw)]
        else:
            expected, convert, _ = SCALARS[field.type]
            if kind == 2 and expected != 2:  # packed
                values = []
                size = {1: 8, 5: 4}.get(expected)
                at = 0
                while at < len(raw):
                    if size:
                        one, at = raw[at:at + size], at + size
                    else:
                        one, at = varint(raw, at)
                    values.append(convert(one))
            elif kind != expected:
                raise ValueError(f"{field.name} is of another type")
            else:
                values = [convert(raw)]
        if field.repeated:
            self.__dict__.setdefault(field.name, []).extend(values)
        elif values:
            self.__dict__[field.name] = values[-1]

    def __getattr__(self, name):
        field = type(self).names_.get(name)
        if field is None:
            raise AttributeError(f"panda.{type(self).__name__} has no field {name}")
        if field.repeated:
            return []
        return field.message() if field.type == MESSAGE else SCALARS[field.type][2]

    def HasField(self, name):
        if name not in type(self).names_:
            raise ValueError(f"panda.{type(self).__name__} has no field {name}")
        return name in self.__dict__

    def ListFields(self):
        return [(f, self.__dict__[f.name]) for _, f in sorted(self.fields_.items()) if f.name in self.__dict__]

    def __repr__(self):
        return " ".join(f"{f.name}: {v!r}" for f, v in self.ListFields())


def simple_class(descriptors, path):
    messages, enums = {}, {}

    def enum(data, prefix):
        e = by_tag(data)
        values = (by_tag(v) for v in e.get(2, []))
        enums[f"{prefix}.{e[1][0].decode()}"] = {signed(v.get(2, [0])[0], 32): v[1][0].decode() for v in values}

    def message(data, prefix):
        m = by_tag(data)
        name = m[1][0].decode()
        fields = [Field(f) for f in m.get(2, [])]
        messages[f"{prefix}.{name}"] = type(name, (Message,), {"fields_": {f.number: f for f in fields},
                                                               "names_": {f.name: f for f in fields}})
        for nested in m.get(3, []):
            message(nested, f"{prefix}.{name}")
        for nested in m.get(4, []):
            enum(nested, f"{prefix}.{name}")

    try:
        for file in by_tag(descriptors)[1]:
            f = by_tag(file)
            package = "." + f[2][0].decode()
            for m in f.get(4, []):
                message(m, package)
            for e in f.get(5, []):
                enum(e, package)
        for m in messages.values():
            for field in m.fields_.values():
                if field.type == MESSAGE:
                    field.message = messages[field.type_name]
                elif field.type == ENUM:
                    field.enum = enums[field.type_name]
        return messages[".panda.LogEntry"]
    except (KeyError, ValueError, UnicodeDecodeError) as e:
        raise PLogError(f"{path}: is not the descriptor set of a pandalog schema") from e


# ---- the log

class PLogReader:
    """Iterates over the entries of a log. What is wrong with it is a PLogError where it is met."""

    def __init__(self, path, schema=None, builtin=False):
        self.path = path
        self.entry_class = entry_class(schema, builtin)
        try:
            self.file = open(path, "rb")
        except OSError as e:
            raise PLogError(f"pandalog {path}: cannot be opened: {e.strerror}") from e
        header = self.file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES:
            raise PLogError(f"pandalog {path}: is not a pandalog, or cut off in its first {HEADER_BYTES} bytes")
        self.version, _, self.dir_pos, self.chunk_size, _ = HEADER.unpack_from(header)
        if self.version != 2:
            raise PLogError(f"pandalog {path}: is not a pandalog of version 2")
        self.size = os.fstat(self.file.fileno()).st_size
        self.end = self.dir_pos if HEADER_BYTES <= self.dir_pos <= self.size else self.size
        self.iterator = self._entries(HEADER_BYTES, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.iterator)

    def chunks(self):
        """(first instruction, position, entries) of each chunk, by the directory; none in an interrupted log."""
        if self.end != self.dir_pos:
            return []
        self.file.seek(self.dir_pos)
        data = self.file.read(4)
        count = struct.unpack("<I", data)[0] if len(data) == 4 else 0
        data = self.file.read(min(24 * count, self.size))
        return list(struct.iter_unpack("<QQQ", data)) if len(data) == 24 * count else []

    def seek(self, instr):
        """The next entry is the first one at or after this instruction."""
        begin = HEADER_BYTES
        for first, position, _ in self.chunks():
            if first >= instr:
                break
            begin = position
        self.iterator = self._entries(begin, instr)

    def _entries(self, position, least):
        while position < self.end:
            stream, data, begin, at, fresh = zlib.decompressobj(), b"", position, 0, True
            while not stream.eof:
                self.file.seek(position)
                block = self.file.read(min(READ_BYTES, self.end - position))
                if not block:
                    raise PLogError(f"pandalog {self.path}: ends in the middle of the chunk at {begin}: the run was "
                                    "interrupted or the file cut off")
                position += len(block)
                try:
                    data = data[at:] + stream.decompress(block)
                except zlib.error as e:
                    if fresh and self.dir_pos == 0 and begin > HEADER_BYTES:
                        return  # a directory that was not finished
                    raise PLogError(f"pandalog {self.path}: the chunk at {begin} is damaged ({e})") from e
                fresh, at = False, 0
                while len(data) - at >= 4:
                    size = int.from_bytes(data[at:at + 4], "little")
                    if len(data) - at - 4 < size:
                        break
                    entry = self._decode(data[at + 4:at + 4 + size], begin)
                    at += 4 + size
                    if entry.instr >= least:
                        yield entry
            if at != len(data):
                raise PLogError(f"pandalog {self.path}: the chunk at {begin} ends in the middle of an entry")
            position -= len(stream.unused_data)
        if self.dir_pos != 0 and self.end != self.dir_pos:
            raise PLogError(f"pandalog {self.path}: its directory is missing: the file was cut off")

    def _decode(self, data, begin):
        try:
            return self.entry_class.FromString(bytes(data))
        except Exception as e:
            raise PLogError(f"pandalog {self.path}: in the chunk at {begin} there is an entry that is not of this "
                            f"schema ({e})") from e


def to_json(message):
    """As protobuf's JSON, with names as in the .proto: 64-bit numbers are strings, bytes base64."""
    if not isinstance(message, Message):
        from google.protobuf.json_format import MessageToDict
        return MessageToDict(message, preserving_proto_field_name=True)

    def value(field, v):
        if field.type == MESSAGE:
            return to_json(v)
        if field.type == ENUM:
            return field.enum.get(v, v)
        if field.type in IS_64_BIT:
            return str(v)
        if isinstance(v, bytes):
            return base64.b64encode(v).decode()
        if isinstance(v, float) and not math.isfinite(v):
            return "NaN" if math.isnan(v) else "Infinity" if v > 0 else "-Infinity"
        return v

    return {f.name: [value(f, x) for x in v] if f.repeated else value(f, v) for f, v in message.ListFields()}


def main():
    parser = argparse.ArgumentParser(description="Prints the entries of a pandalog as JSON.")
    parser.add_argument("file")
    parser.add_argument("--lines", action="store_true", help="one object a line, not an array")
    parser.add_argument("--instr", type=lambda s: int(s, 0), help="begin at this instruction")
    parser.add_argument("--schema", help="plog.desc of the build whose plugins wrote the log")
    parser.add_argument("--builtin", action="store_true", help="do without python3-protobuf")
    arguments = parser.parse_args()
    separator = "" if arguments.lines else "["
    status = 0
    try:
        with PLogReader(arguments.file, arguments.schema, arguments.builtin) as log:
            if arguments.instr is not None:
                log.seek(arguments.instr)
            for entry in log:
                print(json.dumps(to_json(entry)) if arguments.lines else
                      separator + "\n" + json.dumps(to_json(entry), indent=2), end="\n" if arguments.lines else "")
                separator = "" if arguments.lines else ","
    except PLogError as e:
        sys.stdout.flush()
        print(f"plog_reader.py: {e}", file=sys.stderr)
        status = 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if not arguments.lines:
        print("[]" if separator == "[" else "\n]")
    return status


if __name__ == "__main__":
    sys.exit(main())
