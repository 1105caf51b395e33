"""The stock kernel boots to a shell, works, keeps time, idles and switches itself off."""

import re
import time

import guest


class Boot(guest.GuestTest):
    def test_shell_time_idle_and_power_off(self):
        with guest.Guest() as g:
            g.boot()
            self.assertEqual(g.command("uname -m").strip(), "x86_64" if guest.IS_64BIT else "i686")
            cpu = g.command("cat /proc/cpuinfo")
            for word in ("GenuineIntel", "fpu", "sse4_2", "popcnt"):
                self.assertIn(word, cpu)
            self.assertEqual(g.command("seq 1 2000 | md5sum").split()[0], "ea4d0a24dabcaa11f9aa979b872d162b")
            self.assertEqual(g.command("dmesg | grep -ciE 'oops|BUG:|call trace|unhandled|stuck' || true").strip(), "0")

            # The guest's clocks against the host's. Under load the guest may fall behind, never run ahead.
            self.assertAlmostEqual(int(g.command("date +%s")), time.time(), delta=10)
            begin, uptime = time.monotonic(), float(g.command("cat /proc/uptime").split()[0])
            g.command("sleep 2")
            took = time.monotonic() - begin
            slept = float(g.command("cat /proc/uptime").split()[0]) - uptime
            self.assertGreater(took, 1.9)
            self.assertLess(took, 12)
            self.assertGreater(slept, 1.9)
            self.assertLess(slept, time.monotonic() - begin + 0.5)

            before = g.cpu_seconds()
            time.sleep(3)
            self.assertLess(g.cpu_seconds() - before, 0.6, "an idle guest must leave the host idle")

            g.send("poweroff -f\n")
            self.assertEqual(g.wait(), 0, g.stderr())
            self.assertEqual(g.stderr(), "")

    def test_smallest_ram(self):
        with guest.Guest(ram=guest.SMALLEST_RAM, append=guest.shell_command("echo words=$(grep -c . /proc/meminfo)")) as g:
            g.wait_for("words=")
            g.boot()

    def test_ram_above_4g(self):
        with guest.Guest(ram="8G") as g:
            g.boot()
            total_kib = int(re.search(r"MemTotal:\s*(\d+)", g.command("cat /proc/meminfo")).group(1))
            self.assertIn("100000000-23fffffff : System RAM", g.command("cat /proc/iomem"))
            self.assertGreater(total_kib, 7.5 * (1 << 20))
            g.command("mount -t tmpfs none /tmp; dd if=/dev/zero of=/tmp/big bs=1M count=100")
            self.assertEqual(g.command("wc -c </tmp/big").strip(), str(100 << 20))
            self.assertLess(g.resident_mib(), 1000, "untouched guest RAM must not be taken from the host")

    def test_reboot_ends_with_no_reboot(self):
        with guest.Guest("-no-reboot", append=guest.shell_command("reboot -f")) as g:
            self.assertEqual(g.wait(), 0, g.stderr())

    def test_reboot_starts_again(self):
        with guest.Guest(append=guest.shell_command("echo first; reboot -f")) as g:
            for _ in range(2):
                g.wait_for("is up")
            g.send("\x01x")
            self.assertEqual(g.wait(), 0, g.stderr())


if __name__ == "__main__":
    guest.main()
