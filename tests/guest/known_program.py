"""A guest program of which is known, instruction by instruction, which system calls it makes.

It is the initramfs's only program, so every system call of the guest is one of its own. Made from a
table: each row is assembled into one or more calls, and the same row says what a list must show.
"""

import os
import re
import subprocess

MESSAGE = "the known program ran\\n"
POWER_OFF = (0xfee1dead, 672274793, 0x4321fedc)  # reboot(2)'s arguments

# entry, number, arguments, times. `vsyscall` is the vDSO's entry, which a 32-bit program is told in
# its auxiliary vector: sysenter, or syscall, as the kernel has chosen.
CALLS_64 = [
    ("syscall", 39, (), 1),                               # getpid
    ("syscall", 1, (1, "message", len(MESSAGE) - 1), 1),  # write
    ("syscall", 102, (), 300),                            # getuid, often
    ("syscall", 1023, (), 1),                             # nothing has this number
    ("syscall", 0x4fffffff, (), 1),
    ("syscall", 0xffffffffffffffff, (), 1),
    ("syscall", 0x100000027, (), 1),                      # the kernel looks at 32 bits: getpid again
    ("syscall", 95, (0o22,), 2),                          # umask
    ("int80", 20, (), 1),                                 # the 32-bit interface from 64-bit code: getpid
    ("int80", 399, (), 1),
    ("int80", 60, (0o77,), 100),                          # umask
    ("syscall", 59, ("next", "arguments", 0), 1),         # execve: the 32-bit program follows
]
CALLS_32 = [
    ("int80", 20, (), 1),                                 # getpid
    ("vsyscall", 20, (), 1),
    ("vsyscall", 64, (), 300),                            # getppid
    ("int80", 4, (1, "message", len(MESSAGE) - 1), 1),    # write
    ("vsyscall", 1023, (), 1),
    ("int80", 0xffffffff, (), 1),
    ("vsyscall", 0x12345678, (), 1),
    ("vsyscall", 60, (0o22,), 2),                         # umask
    ("int80", 4, (1, "hex", 9), 1),                       # where the vDSO's entry is
    ("vfork", 190, (), 1),                                # its child ends at once, the parent waits
    ("int80", 88, POWER_OFF, 1),                          # reboot; only reached if it fails:
    ("int80", 1, (1,), 1),
]
NAMES = {("syscall", 39): "getpid", ("syscall", 102): "getuid", ("int80", 60): "umask", ("vsyscall", 64): "getppid",
         ("int80", 88): "reboot", ("syscall", 1023): "syscall_1023", ("int80", 399): "msgget"}

PROLOGUE_32 = """
  mov %esp, %esi
  lodsl
1: lodsl
  test %eax, %eax
  jnz 1b
2: lodsl
  test %eax, %eax
  jnz 2b
3: lodsl
  mov %eax, %ecx
  lodsl
  cmp $32, %ecx
  je 4f
  test %ecx, %ecx
  jnz 3b
4: mov %eax, entry
  mov $hex, %edi
  mov %eax, %edx
  mov $8, %ecx
5: rol $4, %edx
  mov %edx, %eax
  and $15, %eax
  movb digits(%eax), %al
  stosb
  dec %ecx
  jnz 5b
"""
DATA = f"""
.data
message: .ascii "{MESSAGE}"
digits: .ascii "0123456789abcdef"
hex: .ascii "00000000\\n"
next: .asciz "/second"
.balign 8
entry: .long 0
"""
ARGUMENTS = """
.balign 8
arguments: .quad next, 0
"""


def assemble(calls, bits):
    registers = {("syscall", 64): ("rdi", "rsi", "rdx"), ("int80", 64): ("rbx", "rcx", "rdx")}.get
    lines = [".globl _start", ".text", "_start:"] + ([PROLOGUE_32] if bits == 32 else [])
    a = "rax" if bits == 64 else "eax"
    for i, (entry, number, arguments, times) in enumerate(calls):
        names = registers((entry, bits), ("ebx", "ecx", "edx"))
        counter = "r15" if bits == 64 else "edi"
        lines += [f"  mov ${times}, %{counter}", f"again{i}:"]
        lines += [f"  mov ${v if isinstance(v, str) else hex(v)}, %{r}" for r, v in zip(names, arguments)]
        lines += [f"  {'movabs' if bits == 64 else 'mov'} ${hex(number)}, %{a}"]
        if entry == "vsyscall":
            lines += ["  call *entry"]
        elif entry == "vfork":  # the child has the parent's stack: it makes one call and is gone
            lines += [f"call{i}: int $0x80", "  test %eax, %eax", "  jnz parent", "  xor %ebx, %ebx", "  mov $1, %eax",
                      f"call{i}_child: int $0x80", "parent: mov %eax, %ebx", "  xor %ecx, %ecx", "  xor %edx, %edx",
                      "  xor %esi, %esi", "  mov $114, %eax", f"call{i}_wait: int $0x80"]
        else:
            lines += [f"call{i}: {'syscall' if entry == 'syscall' else 'int $0x80'}"]
        lines += [f"  dec %{counter}", f"  jnz again{i}"]
    return "\n".join(lines) + DATA + (ARGUMENTS if bits == 64 else "")


def build(folder, name, calls, bits):
    """Assembles it; the path of the program, and its labels' addresses."""
    source, path = os.path.join(folder, name + ".S"), os.path.join(folder, name)
    with open(source, "w", encoding="ascii") as f:
        f.write(assemble(calls, bits))
    subprocess.run(["gcc", f"-m{bits}", "-static", "-nostdlib", "-no-pie", "-Wl,--build-id=none", "-o", path, source],
                   check=True)
    symbols = subprocess.run(["nm", path], check=True, capture_output=True, text=True).stdout
    return path, {m[1]: int(m[0], 16) for m in re.findall(r"^([0-9a-f]+) \w (\w+)$", symbols, re.M)}


def expected(calls, labels):
    """What a list of the calls must show: (where, number, name or None); where is None inside the vDSO."""
    rows = []
    for i, (entry, number, _, times) in enumerate(calls):
        where = None if entry == "vsyscall" else labels[f"call{i}"]
        if entry == "vfork":
            rows += [(where, number, "vfork"), (labels[f"call{i}_child"], 1, "exit"),
                     (labels[f"call{i}_wait"], 114, "wait4")]
        else:
            rows += [(where, number, NAMES.get((entry, number)))] * times
    return rows


def until_power_off(rows):
    return rows[:next(i for i, r in enumerate(rows) if r[2] == "reboot") + 1]


def initramfs(files):
    """A cpio archive (newc) of {name: contents}, with the console's device."""
    def entry(number, name, mode, contents=b"", device=(0, 0)):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(contents), 0, 0, *device, len(raw), 0)
        head = b"070701" + b"".join(b"%08X" % f for f in fields) + raw
        head += b"\0" * (-len(head) % 4)
        return head + contents + b"\0" * (-len(contents) % 4)

    parts = [entry(1, "dev", 0o40755), entry(2, "dev/console", 0o20600, device=(5, 1))]
    for i, (name, contents) in enumerate(files.items()):
        parts.append(entry(i + 3, name, 0o100755, contents))
    archive = b"".join(parts) + entry(0, "TRAILER!!!", 0)
    return archive + b"\0" * (-len(archive) % 512)


def make(folder, is_64bit):
    """The initramfs's path and what its system calls are."""
    def contents(path):
        with open(path, "rb") as f:
            return f.read()

    path_32, labels_32 = build(folder, "program32", CALLS_32, 32)
    rows, files = expected(CALLS_32, labels_32), {"init": contents(path_32)}
    if is_64bit:
        path_64, labels_64 = build(folder, "program64", CALLS_64, 64)
        rows = expected(CALLS_64, labels_64) + rows
        files = {"init": contents(path_64), "second": contents(path_32)}
    image = os.path.join(folder, "known.cpio")
    with open(image, "wb") as f:
        f.write(initramfs(files))
    return image, until_power_off(rows)
