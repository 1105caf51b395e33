"""Plugins built outside of the tree, against an installed development kit and against the build tree: in C and
C++, by CMake, by make with panda.mak, by pkg-config alone; with an API, with fields in the pandalog; and folders
given to --extra-plugins-path. What is built is loaded: it tells its arguments.
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest

BUILD = os.environ["PANDA_TEST_BUILD"]
SOURCE = os.environ["PANDA_TEST_SOURCE"]
ARCHES = ("x86_64", "i386")
CASE_STUDY = os.environ.get("PANDA_CASE_STUDY") or os.path.join(
    SOURCE, "..", "shared", "spec", "case-study-syscall-monitor.md")

OFFERS = r"""
#include "panda/plugin.h"
#include "offering_int_fns.h"
bool init_plugin(void *self);
void uninit_plugin(void *self);
int offering_twice(int x) { return 2 * x; }
bool init_plugin(void *self) { return self != NULL; }
void uninit_plugin(void *self) { (void)self; }
"""
ASKS = r"""
#include "panda/plugin.hpp"
#include "offering/offering_ext.h"
namespace {
struct Asking : panda::Plugin {
  Asking() {
    panda::Arguments args = arguments();
    if (!init_offering_api()) panda::refuse("no offering");
    static_cast<void>(args.number<int>("twice", offering_twice(21), "what offering says"));
  }
};
}
PANDA_PLUGIN(Asking)
"""
LOGS = r"""
#include "panda/plugin.h"
#include "panda/plog.h"
bool init_plugin(void *self);
void uninit_plugin(void *self);
bool init_plugin(void *self) {
  Panda__LogEntry entry = PANDA__LOG_ENTRY__INIT;
  entry.has_kit_number = 1;
  entry.kit_number = 5;
  panda_free_args(panda_get_args("logging"));
  return self != NULL && panda__log_entry__get_packed_size(&entry) > 0;
}
void uninit_plugin(void *self) { (void)self; }
"""


def run(command, cwd, env=None, fails=False):
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


class Kit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.top = tempfile.mkdtemp(prefix="panda-kit-")
        cls.installed = os.path.join(cls.top, "prefix")
        run(["cmake", "--install", BUILD, "--prefix", cls.installed], cls.top)
        cls.kits = {"build tree": BUILD, "installed": cls.installed}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.top)

    def setUp(self):
        self.work = tempfile.mkdtemp(dir=self.top)

    def write(self, name, text):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def help(self, kit, arch, plugin, folder=None):
        """What the program says about the plugin that was built."""
        env = {"PANDA_PLUGIN_DIR": folder} if folder else None
        return run([os.path.join(kit, "bin", "panda-system-" + arch), "-panda", plugin + ":help"], self.work, env)

    def check_skeleton(self, kit, arch, path):
        text = self.help(kit, arch, path)
        self.assertRegex(text, r"(?m)^  top +number +default 10 +how many address spaces to list$")

    def skeletons(self):
        for name, kit in self.kits.items():
            for language in ("c", "cpp"):
                with self.subTest(kit=name, language=language):
                    folder = os.path.join(self.work, f"{language}-{name}".replace(" ", "-"))
                    shutil.copytree(os.path.join(SOURCE, "skeleton", language), folder)
                    yield kit, language, folder

    def test_cmake(self):
        for kit, _, folder in self.skeletons():
            run(["cmake", "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={kit}"], folder)
            run(["cmake", "--build", "build"], folder)
            for arch in ARCHES:
                self.check_skeleton(kit, arch, f"{folder}/build/panda/{arch}/panda_skeleton.so")

    def test_make(self):
        for kit, _, folder in self.skeletons():
            run(["make", f"PANDA={kit}"], folder)
            for arch in ARCHES:
                self.check_skeleton(kit, arch, f"{folder}/build/{arch}/panda_skeleton.so")
            run(["make", f"PANDA={kit}", "clean", "TARGET_NAME=i386"], folder)
            self.assertEqual(os.listdir(folder + "/build"), ["x86_64"])

    def test_pkg_config(self):
        for kit, language, folder in self.skeletons():
            compiler = {"c": ["cc", "-std=c11"], "cpp": ["c++", "-std=c++20"]}[language]
            for arch in ARCHES:
                env = {"PKG_CONFIG_PATH": os.path.join(kit, "lib", "pkgconfig")}
                flags = [run(["pkg-config", what, "panda-plugin-" + arch], folder, env).split() for what in ("--cflags", "--libs")]
                run([*compiler, "-shared", *flags[0], "-Wall", "-Wextra", "-Werror", "-o", f"panda_{arch}.so",
                     "skeleton." + language, *flags[1]], folder)
                os.makedirs(f"{folder}/{arch}")
                os.rename(f"{folder}/panda_{arch}.so", f"{folder}/{arch}/panda_skeleton.so")
                self.check_skeleton(kit, arch, f"{folder}/{arch}/panda_skeleton.so")
                where = run(["pkg-config", "--variable=plugindir", "panda-plugin-" + arch], folder, env).strip()
                self.assertTrue(os.path.isfile(f"{where}/panda_syscalls.so"), where)

    def test_one_plugin_calls_another_and_one_logs(self):
        self.write("CMakeLists.txt", """
cmake_minimum_required(VERSION 3.20)
project(three LANGUAGES C CXX)
find_package(PANDA 0.1 REQUIRED)
panda_add_plugin(offering SOURCES offering/offering.c API offering/offering_int_fns.h)
panda_add_plugin(asking SOURCES asking.cpp)
target_include_directories(asking_plugin_x86_64 PRIVATE .)
target_include_directories(asking_plugin_i386 PRIVATE .)
panda_add_plugin(logging SOURCES logging.c PROTO logging.proto)
""")
        self.write("offering/offering.c", OFFERS)
        self.write("offering/offering_int_fns.h", "int offering_twice(int x);\n")
        self.write("asking.cpp", ASKS)
        self.write("logging.c", LOGS)
        self.write("logging.proto", "optional uint32 kit_number = 7001;\n")
        for name, kit in self.kits.items():
            with self.subTest(kit=name):
                build = os.path.join(self.work, "build-" + name.split()[0])
                run(["cmake", "-S", ".", "-B", build, f"-DCMAKE_PREFIX_PATH={kit}"], self.work)
                run(["cmake", "--build", build], self.work)
                for arch in ARCHES:
                    self.assertIn("default 42 ", self.help(kit, arch, "asking", f"{build}/panda"))
                    self.assertIn("logging has no arguments", self.help(kit, arch, "logging", f"{build}/panda"))

    def test_make_makes_the_ext_header(self):
        self.write("offering/offering.c", OFFERS)
        self.write("offering/offering_int_fns.h", "int offering_twice(int x);\n")
        self.write("offering/Makefile", f"""
PLUGIN_NAME=offering
include {self.installed}/share/panda/panda.mak
panda_$(PLUGIN_NAME).so: $(PLUGIN_TARGET_DIR)/$(PLUGIN_NAME).o
\t$(call quiet-command,$(CC) $(QEMU_CFLAGS) -shared -o $(SRC_PATH)/$(TARGET_DIR)/$@ $^ $(LIBS),"  PLUGIN  $@")
all: panda_$(PLUGIN_NAME).so
""")
        folder = os.path.join(self.work, "offering")
        run(["make"], folder)
        with open(f"{folder}/build/plugin-api/offering/offering_ext.h", encoding="utf-8") as f:
            self.assertIn("init_offering_api", f.read())

    def test_the_documents_makefile(self):
        if not os.path.isfile(CASE_STUDY):
            self.skipTest(f"{CASE_STUDY} is not here; set PANDA_CASE_STUDY")
        with open(CASE_STUDY, encoding="utf-8") as f:
            text = f.read()
        # In the document a recipe's tab has become blanks.
        makefile = re.search(r"^```Makefile\n(.*?)^```", text, re.M | re.S).group(1).replace("\n    ", "\n\t")
        self.write("panda_plugins/syscalls/Makefile", makefile)
        self.write("panda_plugins/syscalls/syscalls.c", re.search(r"^```C\n(.*?)^```", text, re.M | re.S).group(1))
        for name, kit in self.kits.items():
            with self.subTest(kit=name):
                self.write("panda_plugins/panda.mak", f"include {kit}/share/panda/panda.mak\n")
                folder = os.path.join(self.work, "panda_plugins", "syscalls")
                self.assertIn("  PLUGIN  panda_syscalls.so\n", run(["make"], folder))
                for arch in ARCHES:
                    self.assertIn("no arguments", self.help(kit, arch, f"{folder}/build/{arch}/panda_syscalls.so"))
                run(["rm", "-r", "build"], folder)

    def test_the_manuals_examples(self):
        with open(os.path.join(SOURCE, "docs", "plugins.md"), encoding="utf-8") as f:
            examples = re.findall(r"^```(c|cpp)\n(.*?)^```", f.read(), re.M | re.S)
        self.assertEqual([e[0] for e in examples], ["c", "cpp"])
        for language, source in examples:
            compiler = {"c": ["cc", "-std=gnu11"], "cpp": ["c++", "-std=c++20"]}[language]
            self.write("example." + language, source)
            for arch in ARCHES:
                env = {"PKG_CONFIG_PATH": os.path.join(self.installed, "lib", "pkgconfig")}
                flags = run(["pkg-config", "--cflags", "panda-plugin-" + arch], self.work, env).split()
                run([*compiler, "-shared", *flags, "-Wall", "-Werror", "-o", "panda_example.so", "example." + language], self.work)
                self.assertIn("no arguments", self.help(self.installed, arch, "./panda_example.so"))

    def configure_tree(self, extra, fails=False):
        build = os.path.join(self.work, "tree")
        text = run(["cmake", "-S", SOURCE, "-B", build, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DPANDA_TESTS=OFF",
                    f"-DPANDA_EXTRA_PLUGINS_PATH={extra}"], self.work, fails=fails)
        return build, re.sub(r"\s+", " ", text)

    def test_extra_plugins_path(self):
        """As the manual has it: DIR/panda/plugins/config.panda and folders beside it. Configured, and one compiled."""
        self.write("personal/panda/plugins/config.panda", "# mine\nnew_cool\n")
        self.write("personal/panda/plugins/new_cool/new_cool.c", OFFERS.replace("offering", "new_cool"))
        self.write("personal/panda/plugins/new_cool/new_cool_int_fns.h", "int new_cool_twice(int x);\n")
        build, _ = self.configure_tree(os.path.join(self.work, "personal"))
        targets = run(["ninja", "-C", build, "-t", "query", "lib/panda/x86_64/panda_new_cool.so"], self.work)
        self.assertIn("new_cool.c.o", targets)
        commands = run(["ninja", "-C", build, "-t", "commands", "product"], self.work)
        self.assertIn("new_cool/new_cool.c", commands)
        self.assertIn("panda-apigen new_cool", commands)

    def test_what_is_wrong_with_a_folder_of_plugins(self):
        self.assertIn("there is no folder /no/such", self.configure_tree("/no/such", fails=True)[1])
        self.write("a/readme", "")
        self.assertIn("a/config.panda is missing", self.configure_tree(self.work + "/a", fails=True)[1])
        self.write("a/config.panda", "PANDA_PLUGINS = one two\n")
        self.assertIn("config.panda lists one, but there is no folder", self.configure_tree(self.work + "/a", fails=True)[1])
        self.write("a/one/readme", "")
        self.assertIn("holds no source", self.configure_tree(self.work + "/a", fails=True)[1])
        self.write("a/config.panda", "syscalls\n")
        self.write("a/syscalls/syscalls.c", OFFERS)
        self.assertIn("another folder has a plugin of that name", self.configure_tree(self.work + "/a", fails=True)[1])
        self.write("a/config.panda", "no/good\n")
        self.assertIn("'no/good' is not a name", self.configure_tree(self.work + "/a", fails=True)[1])


if __name__ == "__main__":
    unittest.main(verbosity=2)
