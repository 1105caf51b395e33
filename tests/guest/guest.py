"""Drives panda-system-ARCH with Debian's guests: what the whole-system tests share.

A test program is started by ctest with the folders and the architecture in its environment (see
CMakeLists.txt) and calls main(). Guest is one live run, with its console and its monitor; replay()
is one replay. Every wait has a limit, and a guest that a test leaves behind is killed.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ARCH = os.environ.get("PANDA_TEST_ARCH", "x86_64")
BUILD = os.environ.get("PANDA_TEST_BUILD", os.path.join(os.getcwd(), "build", "release"))
SOURCE = os.environ.get("PANDA_TEST_SOURCE", os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
GUESTS = os.environ.get("PANDA_TEST_GUESTS", os.path.join(SOURCE, "build", "guests"))
OTHER_ARCH = {"x86_64": "i386", "i386": "x86_64"}[ARCH]
IS_64BIT = ARCH == "x86_64"
SMALLEST_RAM = {"x86_64": "96M", "i386": "64M"}[ARCH]  # that the kernel and the initrd fit into
PROMPT = "/ # "
LIMIT_S = 120  # for anything that takes a few seconds on an idle machine


def program(arch=ARCH):
    return os.path.join(BUILD, "bin", "panda-system-" + arch)


def guest_file(name, arch=ARCH):
    path = os.path.join(GUESTS, {"x86_64": "amd64", "i386": "i386"}[arch], name)
    if not os.path.isfile(path):
        raise AssertionError(f"{path} is missing: fetch the guests with `make guests`")
    return path


def shell_command(text):
    """The kernel command line's word that makes the guest's init run this."""
    return "panda.run=" + text.replace(" ", ",")


def boot_options(append="", initrd=None, ram="128M"):
    return ["-m", ram, "-kernel", guest_file("vmlinuz"), "-initrd", initrd or guest_file("initrd.gz"),
            "-append", ("console=ttyS0 quiet " + append).strip()]


class Guest:
    """A live run. Use as a context: it is killed at the end if it still runs."""

    def __init__(self, *options, cwd=None, **boot):
        self.stderr_file = tempfile.TemporaryFile()
        self.process = subprocess.Popen([program(), *boot_options(**boot), "-nographic", *options], cwd=cwd,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.stderr_file,
                                        bufsize=0)
        self.changed = threading.Condition()
        self.seen = ""
        self.at = 0
        self.ended = False
        self.marks = 0
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        while True:
            data = os.read(self.process.stdout.fileno(), 65536)
            with self.changed:
                self.seen += data.decode("latin-1").replace("\r", "")
                self.ended = not data
                self.changed.notify_all()
            if not data:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.reader.join()
        self.process.stdout.close()
        self.process.stdin.close()
        self.stderr_file.close()

    def stderr(self):
        self.stderr_file.seek(0)
        return self.stderr_file.read().decode("latin-1")

    def unread(self):
        with self.changed:
            return self.seen[self.at:]

    def wait_for(self, text, seconds=LIMIT_S):
        """What came before the text; reading goes on behind it."""
        end = time.monotonic() + seconds
        with self.changed:
            while True:
                found = self.seen.find(text, self.at)
                if found >= 0:
                    before = self.seen[self.at:found]
                    self.at = found + len(text)
                    return before
                left = end - time.monotonic()
                if self.ended or left <= 0:
                    why = "the program ended" if self.ended else f"nothing after {seconds} s"
                    raise AssertionError(f"waiting for {text!r}: {why}; the last output:\n{self.seen[-2000:]}\n"
                                         f"standard error:\n{self.stderr()[-2000:]}")
                self.changed.wait(left)

    def send(self, text):
        self.process.stdin.write(text.encode("latin-1"))

    def boot(self):
        """To the shell's prompt; what was printed before it."""
        return self.wait_for(PROMPT)

    def command(self, text, seconds=LIMIT_S):
        """Runs it in the guest's shell; its output."""
        self.marks += 1
        # The quotes keep the echo of the typed line from looking like the output.
        self.send(f'echo be""gin{self.marks}; {text}; echo en""d{self.marks}\n')
        self.wait_for(f"begin{self.marks}\n", seconds)
        output = self.wait_for(f"end{self.marks}\n", seconds)
        self.wait_for(PROMPT, seconds)
        return output

    def monitor(self, line):
        """Gives a line to the monitor behind the console; its answer."""
        self.send("\x01c")
        self.wait_for("(qemu) ")
        self.send(line + "\n")
        answer = self.wait_for("(qemu) ")
        self.send("\x01c")
        return answer

    def wait(self, seconds=LIMIT_S):
        """Waits for its end; the exit status."""
        status = self.process.wait(seconds)
        self.reader.join()
        return status

    def cpu_seconds(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as f:
            fields = f.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mib(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as f:
            return int(re.search(r"VmRSS:\s*(\d+) kB", f.read()).group(1)) / 1024


class Run:
    """A finished run of the program."""

    def __init__(self, options, cwd=None, arch=ARCH, seconds=LIMIT_S, stdin=None, env=None):
        with open(stdin or os.devnull, "rb") as source:
            done = subprocess.run([program(arch), *options], cwd=cwd, stdin=source, capture_output=True,
                                  timeout=seconds, check=False, env={**os.environ, **(env or {})})
        self.status = done.returncode
        self.stdout = done.stdout.decode("latin-1").replace("\r", "")
        self.stderr = done.stderr.decode("latin-1")

    def error_lines(self):
        """Standard error without the progress of a long replay."""
        return [l for l in self.stderr.splitlines() if not re.search(r": replay of .* instructions, .* M/s$", l)]

    def __str__(self):
        return f"exit status {self.status}\nstandard error:\n{self.stderr}\nstandard output:\n{self.stdout[-2000:]}"


def replay(name, *options, **how):
    return Run(["-replay", name, *options], **how)


def compile_c(compiler_options, sources, output):
    subprocess.run(["gcc", *compiler_options, "-o", output, *sources], check=True)
    return output


def run_natively(compiler_options, source, output, **environment):
    """What the program prints on this host: built for 64 bits, since not every host's kernel runs 32-bit code."""
    program = compile_c(["-m64", *compiler_options], [source], output)
    return subprocess.run([program], env=environment, check=True, capture_output=True, text=True).stdout


class GuestTest(unittest.TestCase):
    """Each test has its own folder, which is kept where the test failed."""

    def setUp(self):
        top = os.path.join(BUILD, "tests", "guest", "work")
        self.work = os.path.join(top, f"{os.path.basename(sys.argv[0])}-{self._testMethodName}-{ARCH}")
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)

    def tearDown(self):
        outcome = self._outcome
        results = getattr(outcome, "result", None)
        problems = list(getattr(outcome, "errors", [])) if results is None else results.errors + results.failures
        if not any(p[0] is self and p[1] for p in problems):
            shutil.rmtree(self.work, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.work, name)

    def write(self, name, contents):
        with open(self.path(name), "wb") as f:
            f.write(contents if isinstance(contents, bytes) else contents.encode())
        return self.path(name)

    def recorded_digest(self, stderr, name, reason):
        found = re.search(rf": recorded {re.escape(name)}: (\d+) instructions .*digest ([0-9a-f]{{32}}), "
                          rf"ended by {re.escape(reason)}$", stderr, re.M)
        self.assertIsNotNone(found, f"no report of the recording {name} ended by {reason} in:\n{stderr}")
        return found.group(2)

    def assert_agrees(self, name, digest, *options, **how):
        """Replays it: must succeed, report the digest that was recorded, and that it agrees."""
        done = replay(name, *options, cwd=self.work, **how)
        self.assertEqual(done.status, 0, done)
        found = re.search(rf": replayed {re.escape(name)}: (\d+) instructions .*digest ([0-9a-f]{{32}}) agrees$",
                          done.stderr, re.M)
        self.assertIsNotNone(found, done)
        self.assertEqual(found.group(2), digest, done)
        return done

    def assert_refused(self, done, *mentions, status=None):
        """One clear line on standard error that mentions these, and a failure as exit status."""
        self.assertGreater(done.status, 0, f"must fail, and not by a signal: {done}")
        if status is not None:
            self.assertEqual(done.status, status, done)
        self.assertEqual(len(done.error_lines()), 1, f"must be one line: {done}")
        self.assertNotIn("agrees", done.stderr, done)
        for text in mentions:
            self.assertIn(text, done.stderr, done)


class AtOnce(unittest.TextTestResult):
    """Tells what went wrong when it goes wrong, the rest may take minutes; and how long each test took."""

    def startTest(self, test):
        self.began = time.monotonic()
        super().startTest(test)

    def stopTest(self, test):
        super().stopTest(test)
        self.stream.writeln(f"  {time.monotonic() - self.began:.1f} s")

    def addError(self, test, err):
        super().addError(test, err)
        self.stream.writeln(self.errors[-1][1])

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.stream.writeln(self.failures[-1][1])

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.stream.writeln(f"{subtest}: {err[1]}")

    def printErrors(self):
        pass


def main():
    unittest.main(testRunner=unittest.TextTestRunner(verbosity=2, resultclass=AtOnce))
