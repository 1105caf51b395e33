"""What the plugins' READMEs say is so: they name every argument that the plugin has, and the commands in them run."""

import os
import re

import recording

guest = recording.guest
PLUGINS = os.path.join(guest.SOURCE, "plugins")


def readmes():
    for name in sorted(os.listdir(PLUGINS)):
        path = os.path.join(PLUGINS, name, "README.md")
        if os.path.isdir(os.path.join(PLUGINS, name)):
            with open(path, encoding="utf-8") as f:
                yield name, f.read()


class Readmes(recording.PluginTest):
    def test_arguments(self):
        names = [name for name, _ in readmes()]
        self.assertGreaterEqual(len(names), 24)
        listed = guest.Run(["-panda", "help"], cwd=self.work)
        for name, text in readmes():
            self.assertRegex(listed.stdout, rf"(?m)^  {name} ")
            done = guest.Run(["-panda", name + ":help"], cwd=self.work)
            self.assertEqual((done.status, done.stderr), (0, ""), done)
            arguments = re.findall(r"(?m)^  (\S+) +(?:string|number|bool) ", done.stdout)
            self.assertEqual(bool(arguments), "has no arguments" not in done.stdout, done)
            for argument in arguments:
                self.assertRegex(text, rf"`{re.escape(argument)}\b", f"{name}: {argument} is not in its README")
            for line in done.stdout.splitlines()[1:]:
                self.assertGreater(len(line), 54, f"{name}: no help text for {line}")
        self.assertEqual([f for f in os.listdir(self.work) if not f.startswith("known-rr")], [], "only told, nothing written")

    def test_commands(self):
        ran = 0
        for name, text in readmes():
            for command in re.findall(r"(?m)^    panda-system-x86_64 -replay \w+ (-panda \S+(?: -pandalog \S+)?)$", text):
                with self.subTest(command):
                    _, plugins, *options = command.split()
                    for file, line in (("search_buffers.txt", "0 1000 1000\n"), ("tap_points.txt", "0\n4010d6 401006 1c3a000\n")):
                        self.write(file, line)
                    if "percent=" in plugins:  # ends the replay when it has what it wants
                        done = guest.replay("known", "-panda", plugins, *options, cwd=self.work)
                        self.assertEqual(done.status, 0, done)
                        self.assertIn(f"plugin {name}: saved RAM", done.stderr)
                    else:
                        self.assert_agrees("known", self.facts["digest"], "-panda", plugins, *options)
                    ran += 1
        self.assertGreaterEqual(ran, 15)


if __name__ == "__main__":
    guest.main()
