"""What a user gets wrong on the command line: one clear line on standard error, and a failure."""

import os

import guest

PLUGINS = {
    "false": "#include <stdbool.h>\nbool init_plugin(void *self) { return !self; }\nvoid uninit_plugin(void *s) { (void)s; }\n",
    "no_init": "int nothing;\n",
    "unresolved": "#include <stdbool.h>\nvoid panda_no_such_function(void);\n"
                  "bool init_plugin(void *self) { panda_no_such_function(); return self; }\nvoid uninit_plugin(void *s) { (void)s; }\n",
}


class BadInput(guest.GuestTest):
    def refuse(self, options, *mentions):
        with self.subTest(" ".join(options)):
            self.assert_refused(guest.Run(options, cwd=self.work, seconds=30), *mentions, status=1)

    def refuse_kernel(self, path, *mentions):
        self.refuse(["-kernel", path], *mentions)

    def test_kernel(self):
        self.refuse_kernel("no-such-kernel", "no-such-kernel", "No such file")
        self.refuse_kernel(".", "directory")
        if os.geteuid() != 0:  # root reads everything
            os.chmod(self.write("secret", b"x" * 5000), 0)
            self.refuse_kernel("secret", "secret", "Permission denied")
        self.refuse_kernel(self.write("empty", b""), "not a Linux bzImage")
        self.refuse_kernel(self.write("text", "not a kernel\n" * 1000), "not a Linux bzImage")
        self.refuse_kernel(guest.program(), "not a Linux bzImage")
        with open(guest.guest_file("vmlinuz"), "rb") as f:
            kernel = f.read()
        for size in (511, 0x204, 0x210, 0x240, 4096, 1 << 20, len(kernel) // 2):
            self.refuse_kernel(self.write("short", kernel[:size]), "kernel" if size >= 0x206 else "bzImage")

    def test_initrd(self):
        kernel = ["-kernel", guest.guest_file("vmlinuz"), "-m", guest.SMALLEST_RAM]
        self.refuse([*kernel, "-initrd", "no-such-initrd"], "no-such-initrd", "No such file")
        self.refuse([*kernel, "-initrd", "."], "directory")
        with open(self.path("big"), "wb") as f:
            f.truncate(200 << 20)
        self.refuse([*kernel, "-initrd", "big"], "initrd", "200 MiB", "-m")

    def test_command_line_too_long(self):
        self.refuse([*guest.boot_options("x" * 5000)], "command line", "bytes")

    def test_memory(self):
        kernel = ["-kernel", guest.guest_file("vmlinuz")]
        for size in ("0", "1M", "63M", "1K", "100T", "65536G", "99999999999999999999", "18446744073709551615T"):
            self.refuse([*kernel, "-m", size], f"-m {size}")
        for size in ("", "x", "-5", "64.5M", "512MB", "0x100", "1 G"):
            self.refuse([*kernel, "-m", size], f"-m {size}", "not a size")
        self.refuse([*kernel, "-m"], "-m needs an argument")

    def test_memory_too_small_for_the_kernel(self):
        if guest.IS_64BIT:
            self.refuse(guest.boot_options(ram="64M"), "the kernel needs", "MiB", "-m")

    def test_cpu(self):
        self.refuse([*guest.boot_options(), "-cpu", "pentiun3"], "pentiun3", "pentium3")
        self.refuse([*guest.boot_options(), "-cpu", "max,+ss3"], "ss3")
        done = guest.Run(["-cpu", "help"])
        self.assertEqual(done.status, 0, done)
        self.assertIn("max", done.stdout)

    def test_options(self):
        self.refuse(["-kernal", "x"], "-kernal", "-kernel")
        self.refuse(["--repaly", "x"], "--repaly", "-replay")
        self.refuse(["-hda", "disk.img"], "-hda")
        self.refuse(["disk.img"], "disk.img")
        self.refuse(["-zzzzzzzzzz"], "-zzzzzzzzzz")
        self.refuse(["-smp", "4"], "-smp 4")
        self.refuse(["-backend", "quick"], "quick", "interp")
        self.refuse(["-icount", "shift=99"], "shift=99")
        self.refuse(["-serial", "tcp::4444"], "tcp::4444")
        self.refuse(["-net", "user"], "-net user")
        self.refuse(["-rtc", "base=yesterday"], "yesterday")
        self.refuse([], "-kernel")
        self.refuse(["-replay", "x", "-record", "y"], "-record", "-replay")
        self.refuse(["-replay", "x", "-kernel", "y"], "-kernel")
        self.refuse([*guest.boot_options(), "-serial", "file:no/such/folder"], "no/such/folder")
        self.refuse(["-replay", ""], "-replay")
        self.refuse([*guest.boot_options(), "-record", ""], "-record")

    def test_plugins(self):
        for name, source in PLUGINS.items():
            guest.compile_c(["-shared", "-fPIC", "-w"], [self.write(name + ".c", source)], self.path(f"panda_{name}.so"))
        self.write("panda_garbage.so", b"\x7fELF" + bytes(range(256)) * 20)
        self.write("panda_text.so", "not a library\n")
        self.write("panda_empty.so", "")
        boot = [*guest.boot_options(), "-L", self.work]
        self.refuse([*boot, "-panda", "no_such"], "no_such", "not found")
        self.refuse([*boot, "-panda", "./no/such.so"], "no/such.so", "no such file")
        for name in ("garbage", "text", "empty"):
            self.refuse([*boot, "-panda", name], name, "cannot be loaded")
        self.refuse([*boot, "-panda", "unresolved"], "unresolved", "panda_no_such_function")
        self.refuse([*boot, "-panda", "no_init"], "no_init", "init_plugin")
        self.refuse([*boot, "-panda", "false"], "false", "init_plugin returned false")
        self.refuse([*boot, "-panda", "syscalls;false"], "false", "init_plugin returned false")
        self.refuse([*boot, "-panda", ""], "-panda")
        self.refuse([*boot, "-panda", ":x=1"], "-panda")
        self.refuse([*boot, "-panda", "syscalls:names=perhaps"], "names", "perhaps")
        self.refuse([*boot, "-panda-arg", "syscalls"], "-panda-arg")
        other = os.path.join(guest.BUILD, "lib", "panda", guest.OTHER_ARCH, "panda_syscalls.so")
        self.assertTrue(os.path.exists(other))
        self.refuse([*boot, "-panda", other], "syscalls", guest.OTHER_ARCH)

    def test_plugin_that_cannot_write(self):
        done = guest.Run([*guest.boot_options(), "-panda", "syscalls:file=no/such/folder"], cwd=self.work)
        self.assertEqual(done.status, 1, done)
        self.assertIn("plugin syscalls: cannot write no/such/folder: No such file or directory", done.stderr)


if __name__ == "__main__":
    guest.main()
