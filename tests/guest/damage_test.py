"""Recordings that are missing, truncated, altered or of another machine: an error that says where, always."""

import random
import shutil
import signal
import struct
import time

import guest

PREAMBLE_BYTES, CHUNK_HEADER_BYTES = 24, 48  # docs/log-format.md


def size_of(path):
    with open(path, "rb") as f:
        return f.seek(0, 2)


def chunk_offsets(path):
    """Where the file's chunks begin, and its end."""
    with open(path, "rb") as f:
        data = f.read()
    offsets = [PREAMBLE_BYTES]
    while offsets[-1] < len(data):
        offsets.append(offsets[-1] + CHUNK_HEADER_BYTES + struct.unpack_from("<I", data, offsets[-1] + 16)[0])
    assert offsets[-1] == len(data)
    return offsets


def spread(rng, size, chunks, count):
    """Offsets in the header, the middle and the end of a file, and around the borders of its chunks."""
    some = {0, 7, 8, 12, 16, 23, 24, 27, 28, 32, 40, 48, 56, 64, 71, 72, size - 1, size - 2, size - 48, size // 2}
    for border in rng.sample(chunks[:-1], min(4, len(chunks) - 1)) + [chunks[-2]]:
        some |= {border - 1, border, border + 1, border + 16, border + 47, border + 48}
    while len(some) < count:
        some.add(rng.randrange(size))
    return sorted(at for at in some if 0 <= at < size)


class Damage(guest.GuestTest):
    def record(self, name, append=""):
        """The first second or two of the kernel: long enough to have some chunks, short enough to replay often."""
        with guest.Guest("-record", name, cwd=self.work, ram=guest.SMALLEST_RAM, append=append) as g:
            time.sleep(1.5)
            g.process.send_signal(signal.SIGTERM)
            self.assertEqual(g.wait(), 0, g.stderr())
            return self.recorded_digest(g.stderr(), name, "signal")

    def setUp(self):
        super().setUp()
        self.rng = random.Random(20240607)
        self.digest = self.record("good")
        self.log, self.snapshot = self.path("good-rr-nondet.log"), self.path("good-rr-snp")

    def flip_bits(self, path):
        for at in spread(self.rng, size_of(path), chunk_offsets(path), 60):
            bit = 1 << self.rng.randrange(8)
            with self.subTest(byte=at, bit=bit), open(path, "r+b") as f:
                f.seek(at)
                old = f.read(1)[0]
                f.seek(at)
                f.write(bytes([old ^ bit]))
                f.flush()
                try:
                    self.assert_refused(guest.replay("good", cwd=self.work, seconds=60), path.rpartition("/")[2],
                                        status=1)
                finally:
                    f.seek(at)
                    f.write(bytes([old]))

    def test_one_bit_of_the_log(self):
        self.flip_bits(self.log)
        self.assert_agrees("good", self.digest)

    def test_one_bit_of_the_snapshot(self):
        self.flip_bits(self.snapshot)
        self.assert_agrees("good", self.digest)

    def test_truncated(self):
        for path in (self.log, self.snapshot):
            chunks = chunk_offsets(path)
            whole = path + ".whole"
            shutil.copy(path, whole)
            for size in spread(self.rng, size_of(path), chunks, 30):
                with self.subTest(path.rpartition("-")[2], bytes=size):
                    shutil.copy(whole, path)
                    with open(path, "r+b") as f:
                        f.truncate(size)
                    done = guest.replay("good", cwd=self.work, seconds=60)
                    # A log that has its header replays as far as it goes; a snapshot is needed whole.
                    status = 3 if path == self.log and size >= chunks[1] else 1
                    reached = max([c for c in chunks if c <= size], default=0) if status == 3 else None
                    where = f"cut off at byte {reached}" if status == 3 else path.rpartition("/")[2]
                    self.assert_refused(done, path.rpartition("/")[2], where, status=status)
            shutil.copy(whole, path)
        self.assert_agrees("good", self.digest)

    def test_more_behind_the_end(self):
        for path in (self.log, self.snapshot):
            whole = size_of(path)
            with open(path, "ab") as f:
                f.write(b"x")
            self.assert_refused(guest.replay("good", cwd=self.work), path.rpartition("/")[2], f"byte {whole}", status=1)
            with open(path, "r+b") as f:
                f.truncate(whole)

    def test_missing_and_mixed(self):
        self.assert_refused(guest.replay("none", cwd=self.work), "none-rr-snp", "No such file", status=1)
        self.record("other", "something=else")
        shutil.copy(self.path("other-rr-nondet.log"), self.path("mixed-rr-nondet.log"))
        shutil.copy(self.snapshot, self.path("mixed-rr-snp"))
        self.assert_refused(guest.replay("mixed", cwd=self.work), "mixed-rr-snp", "mixed-rr-nondet.log", status=1)
        shutil.copy(self.snapshot, self.path("half-rr-snp"))
        self.assert_refused(guest.replay("half", cwd=self.work), "half-rr-nondet.log", "No such file", status=1)
        shutil.copy(self.snapshot, self.path("half-rr-nondet.log"))
        self.assert_refused(guest.replay("half", cwd=self.work), "half-rr-nondet.log", "not a recording's log", status=1)

    def test_of_the_other_architecture(self):
        done = guest.replay("good", cwd=self.work, arch=guest.OTHER_ARCH)
        self.assert_refused(done, "good-rr-snp", f"recorded with panda-system-{guest.ARCH}", status=1)

    def test_log_that_belongs_to_other_events(self):
        """Whole chunks left out: each is sound by itself, the file is not."""
        chunks = chunk_offsets(self.log)
        self.assertGreater(len(chunks), 4)
        with open(self.log, "rb") as f:
            data = f.read()
        self.write("good-rr-nondet.log", data[:chunks[1]] + data[chunks[2]:])
        self.assert_refused(guest.replay("good", cwd=self.work), "good-rr-nondet.log", f"byte {chunks[1]}", status=1)


if __name__ == "__main__":
    guest.main()
