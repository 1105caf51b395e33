"""A Linux guest on -cpu max works with AVX2, FMA and F16C: the results are the host's own.

The program (programs/avx.c) is the initramfs's only one; the same binary runs on the host first.
"""

import os
import re

import guest
import known_program

NEEDED = {"avx", "avx2", "fma", "f16c"}


def host_features():
    with open("/proc/cpuinfo", encoding="ascii") as f:
        return set(re.search(r"^flags\s*:(.*)$", f.read(), re.M).group(1).split())


def results(text):
    """The lines that say something about the computation, in an order of their own."""
    return sorted(re.findall(r"^(?:features|child|parent|signals|first touches): .*$", text, re.M))

OPTIONS = ["-O2", "-static", "-mavx2", "-mfma", "-mf16c"]


class Avx(guest.GuestTest):
    def setUp(self):
        super().setUp()
        self.source = os.path.join(guest.SOURCE, "tests", "guest", "programs", "avx.c")
        program = guest.compile_c(["-m64" if guest.IS_64BIT else "-m32", *OPTIONS], [self.source], self.path("avx"))
        with open(program, "rb") as f:
            self.initramfs = self.write("avx.cpio", known_program.initramfs({"init": f.read()}))

    def test_results_are_the_hosts(self):
        if not NEEDED <= host_features():
            self.skipTest("the host has no AVX2, FMA and F16C")
        want = guest.run_natively(OPTIONS, self.source, self.path("native"))
        with guest.Guest("-cpu", "max", initrd=self.initramfs) as g:
            text = g.wait_for("avx done")
            self.assertEqual(g.wait(), 0, g.stderr())
        self.assertEqual(results(text), results(want))
        self.assertIn("features: AVX AVX2 FMA F16C", text)

    def test_without_avx(self):
        """Without the features the kernel enables nothing, and the first VEX instruction is undefined."""
        with guest.Guest("-cpu", "max,-avx", initrd=self.initramfs) as g:
            self.assertIn("features: missing", g.wait_for("Attempted to kill init! exitcode=0x00000004"))  # SIGILL


if __name__ == "__main__":
    guest.main()
