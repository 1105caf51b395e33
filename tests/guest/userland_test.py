"""A real userland computes in the guest what it computes on this machine, line for line.

The battery of tests/guest/userland/ runs in a Debian 12 made by scripts/make-userland.sh: once natively
in a chroot of the same tree, and in the guest with each CPU model. Also once recorded and replayed. Where this
machine runs no 32-bit programs, the native run is qemu-user's, registered for it in a user namespace.
By hand, PANDA_TEST_ITEMS="gcc perl" chooses items, PANDA_TEST_CPUS="default max,-avx" models, and
PANDA_TEST_PROGRAM another machine to run it in, as qemu-system-x86_64.
"""

import difflib
import os
import re
import shutil
import subprocess
import time

import guest

USERLAND = os.environ.get("PANDA_TEST_USERLAND", os.path.join(guest.SOURCE, "build", "userland"))
DEBIAN_ARCH = {"x86_64": "amd64", "i386": "i386"}[guest.ARCH]
ITEMS = os.environ.get("PANDA_TEST_ITEMS", "").split()
CPUS = os.environ.get("PANDA_TEST_CPUS", "default qemu64 max" if guest.IS_64BIT else "default pentium3 max").split()
OTHER_PROGRAM = os.environ.get("PANDA_TEST_PROGRAM")
SECONDS = int(os.environ.get("PANDA_TEST_SECONDS", "1500"))
RAM = "2G"
# The C library chooses between functions that round differently by what the CPU has. Natively it is told
# to do without what the model lacks, so that both sides run the same functions.
WITHOUT = {"default": "AVX2,FMA,FMA4,AVX,AVX512F", "qemu64": "AVX2,FMA,FMA4,AVX,AVX512F,SSE4_1,SSE4_2,SSSE3",
           "pentium3": "AVX2,FMA,FMA4,AVX,AVX512F,SSE4_1,SSE4_2,SSSE3,SSE2", "max": "AVX512F"}
ODD_MESSAGES = (r"\bBUG\b|WARNING|[Oo]ops|Call Trace|unhandled|stuck|too much work|[Ss]purious|nobody cared|traps:"
                r"|segfault|timed out|hung|stall|[Mm]achine [Cc]heck|unchecked MSR|general protection|corrupt|FW Bug"
                r"|[Uu]nstable|lockup|unexpected|Firmware Bug|invalid opcode|bad page|tainted"
                r"|Unable to|Fatal")

KNOWN_MESSAGES = r"PCI: Fatal: No config space access function found"  # the board has no PCI


def file_of(name):
    path = os.path.join(USERLAND, DEBIAN_ARCH, name)
    if not os.path.exists(path):
        raise AssertionError(f"{path} is missing: make it with scripts/make-userland.sh {DEBIAN_ARCH} "
                             f"{os.path.dirname(path)}")
    return path


def split_times(lines):
    """The lines to compare, and the milliseconds of each item."""
    times = {l.split()[1]: int(l.split()[2]) for l in lines if l.startswith("time ")}
    return [l for l in lines if not l.startswith("time ")], times


def emulator():
    """What runs the architecture's programs where this machine cannot; None where it can."""
    debian = DEBIAN_ARCH
    if subprocess.run(["arch-test", "-n", debian], stdout=subprocess.DEVNULL, check=False).returncode == 0:
        return None
    found = shutil.which(f"qemu-{guest.ARCH}-static")
    if found is None:
        raise AssertionError(f"this machine runs no {debian} programs, and there is no qemu-{guest.ARCH}-static: "
                             "install qemu-user-static")
    return found


def natively(items, without):
    """The battery's lines in a chroot on this machine."""
    by = emulator()
    script = ("mount -t proc proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" && mount -t tmpfs tmp \"$0/tmp\" && "
              "exec $1 chroot \"$0\" /battery/battery.sh $2")
    if by is not None:
        # By their ELF header: 32 bits, an executable or a shared object, for an Intel 386. F: opened outside the chroot.
        magic = r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x03\x00"
        mask = r"\xff\xff\xff\xff\xff\xfe\xfe\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
        script = ("mount -t binfmt_misc binfmt /proc/sys/fs/binfmt_misc && "
                  f"printf '%s' ':panda:M::{magic}:{mask}:{by}:F' >/proc/sys/fs/binfmt_misc/register && {script}")
    personality = "" if by is not None else "setarch " + {"x86_64": "x86_64", "i386": "i686"}[guest.ARCH]
    env = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
           "GLIBC_TUNABLES": "glibc.cpu.hwcaps=" + ",".join("-" + f for f in without.split(","))}
    done = subprocess.run(["unshare", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c",
                           script, file_of("tree"), personality, " ".join(items)],
                          env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False)
    if done.returncode != 0 or done.stderr:
        raise AssertionError(f"the native run failed: {done.returncode}\n{done.stderr.decode()}")
    return done.stdout.decode("utf-8", "replace").replace("\r", "").splitlines()


class Userland(guest.GuestTest):
    def options(self, cpu, items):
        append = "console=ttyS0 quiet" + (" battery.items=" + ",".join(items) if items else "")
        return [*([] if cpu == "default" else ["-cpu", cpu]), "-m", RAM, "-kernel", guest.guest_file("vmlinuz"),
                "-initrd", file_of("initrd.zst"), "-append", append, "-nographic", "-no-reboot"]

    def in_guest(self, cpu, items, *options):
        """The finished run, the battery's lines and the kernel's messages."""
        program = OTHER_PROGRAM or guest.program()
        began = time.monotonic()
        done = subprocess.run([program, *self.options(cpu, items), *options], cwd=self.work, stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=SECONDS, check=False)
        took = time.monotonic() - began
        output = done.stdout.decode("utf-8", "replace").replace("\r", "")
        self.write("console.txt", done.stdout)
        stderr = done.stderr.decode("utf-8", "replace")
        self.assertEqual(done.returncode, 0, f"{stderr}\n{output[-2000:]}")
        found = re.search(r"userland begin\n(.*)^userland end\n(.*)^dmesg end\n", output, re.M | re.S)
        self.assertIsNotNone(found, f"the battery did not end:\n{output[-3000:]}\n{stderr}")
        print(f"\n    {cpu} {' '.join(options)}: {took:.1f} s", end="")
        return stderr, found.group(1).splitlines(), found.group(2).splitlines()

    def assert_same_lines(self, lines, native):
        lines, times = split_times(lines)
        native, native_times = split_times(native)
        print("".join(f"\n    {item}: {ms} ms, natively {native_times.get(item)} ms" for item, ms in times.items()))
        # The native run is the judge only where all went well in it.
        self.assertEqual([l for l in native if re.search(r"status ([1-9]|\d\d)", l)], [])
        self.assertGreater(len([l for l in native if "status 0" in l]), 1)
        difference = list(difflib.unified_diff(native, lines, "natively", "in the guest", lineterm="", n=2))
        self.assertEqual(difference, [], "\n".join(difference))

    def assert_nothing_odd(self, messages):
        self.assertGreater(len(messages), 100)
        self.assertEqual([m for m in messages if re.search(ODD_MESSAGES, m) and not re.search(KNOWN_MESSAGES, m)], [])

    def test_battery(self):
        for cpu in CPUS:
            with self.subTest(cpu=cpu):
                native = natively(ITEMS, WITHOUT[cpu.split(",")[0]])
                _, lines, messages = self.in_guest(cpu, ITEMS)
                self.assert_same_lines(lines, native)
                self.assert_nothing_odd(messages)

    def test_counted_time(self):
        native = natively(["gcc"], WITHOUT["default"])
        _, lines, messages = self.in_guest("default", ["gcc"], "-icount", "shift=1")
        self.assert_same_lines(lines, native)
        self.assert_nothing_odd(messages)

    def test_recorded_and_replayed(self):
        items = ["gcc", "numbers"]
        native = natively(items, WITHOUT["default"])
        stderr, lines, _ = self.in_guest("default", items, "-record", "battery")
        self.assert_same_lines(lines, native)
        digest = self.recorded_digest(stderr, "battery", "power-off")
        self.assert_agrees("battery", digest, seconds=SECONDS)


if __name__ == "__main__":
    guest.main()
