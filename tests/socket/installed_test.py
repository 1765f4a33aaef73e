"""installed_test.py - programs outside the tree, built with what `make install` puts somewhere

The programs are those of docs/socket-class.md, as they stand there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "netns"))

from lab_case import PYTHON, LabCase  # noqa: E402  (the path comes first)
from lab import BUILD  # noqa: E402

DOCUMENT = os.path.join(ROOT, "docs", "socket-class.md")
CXX = os.environ.get("CXX", "g++")
LIMIT_S = 60

# Listens, says so, and prints what the first client sends.
LISTENER = """
import socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
connection, _ = listener.accept()
data = b""
while piece := connection.recv(100):
    data += piece
print(data.decode(), flush=True)
"""

CALLER = """
import socket, sys
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])))
data = b""
while piece := connection.recv(100):
    data += piece
print(connection.getsockname()[0], data.decode(), end="")
"""


def programs_of_the_document():
    """{"client.cpp": source, ...}"""
    with open(DOCUMENT, encoding="utf-8") as file:
        blocks = re.findall(r"```cpp\n(.*?)```", file.read(), re.DOTALL)
    return {re.match(r"// (\S+)", block).group(1): block for block in blocks}


@unittest.skipUnless(os.path.exists(os.path.join(BUILD, "libunderpass-socket.a")),
                     "the library is not built: run `make`")
class Installed(unittest.TestCase):
    """A folder of its own with an installation in it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder = tempfile.mkdtemp(prefix="up-installed-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        os.chmod(cls.folder, 0o755)
        cls.prefix = os.path.join(cls.folder, "prefix")
        # -o all: what is built is installed, and nothing is built again.
        cls.make("install")

    @classmethod
    def make(cls, *targets):
        environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
        done = subprocess.run(["make", "-C", ROOT, "-o", "all", f"B={BUILD}", f"PREFIX={cls.prefix}",
                               *targets], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment)
        if done.returncode != 0:
            raise AssertionError(done.stdout)

    def pkg_config(self, *options):
        environment = dict(os.environ, PKG_CONFIG_PATH=os.path.join(self.prefix, "lib", "pkgconfig"))
        done = subprocess.run(["pkg-config", *options, "underpass-socket"], check=True,
                              stdout=subprocess.PIPE, text=True, env=environment)
        return done.stdout.split()

    def compile(self, name, source, *flags, libraries=None):
        """The path of the program; a subprocess.CalledProcessError with the compiler's words."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        binary = path.removesuffix(".cpp")
        libraries = self.pkg_config("--libs") if libraries is None else libraries
        subprocess.run([CXX, "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror",
                        *flags, *self.pkg_config("--cflags"), path, "-o", binary, *libraries],
                       check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                       cwd=self.folder)
        return binary


class ConsumerTest(Installed):

    def say(self, binary):
        environment = dict(os.environ, LD_LIBRARY_PATH=os.path.join(self.prefix, "lib"))
        return subprocess.run([binary], stdout=subprocess.PIPE, text=True, env=environment,
                              timeout=LIMIT_S).stdout

    SOURCE = """
#include <underpass/socket.h>
#include <cstdio>
// Names that lwIP has, too.
int tcp_input(int value) { return value + 1; }
int tcp_connect(int value) { return tcp_input(value); }
int main() {
  try {
    underpass::Socket socket;
    socket.connect({127, 0, 0, 1, tcp_connect(65535)});
  } catch (const underpass::IOError& error) {
    std::puts(error.what());
  }
}
"""
    SAID = "port 65536 is not in 0 to 65535: Invalid argument\n"

    def test_shared_library(self):
        self.assertEqual(self.say(self.compile("shared.cpp", self.SOURCE)), self.SAID)

    def test_static_library(self):
        archive = os.path.join(self.prefix, "lib", "libunderpass-socket.a")
        binary = self.compile("static.cpp", self.SOURCE, libraries=[archive])
        self.assertEqual(subprocess.run([binary], stdout=subprocess.PIPE, text=True).stdout, self.SAID)

    def test_libraries_show_the_class_and_nothing_else(self):
        for library, options in (("libunderpass-socket.so", ["-D"]), ("libunderpass-socket.a", [])):
            path = os.path.join(self.prefix, "lib", library)
            done = subprocess.run(["nm", *options, "--defined-only", "--extern-only", "--format=posix",
                                   path], check=True, stdout=subprocess.PIPE, text=True)
            names = [line.split()[0] for line in done.stdout.splitlines() if " " in line]
            self.assertTrue(any("9underpass6Socket" in name for name in names), library)
            # Templates of libstdc++ are shared with the program.
            others = [name for name in names if "9underpass" not in name
                      and not re.match(r"_Z(Z?N?[KO]?|T[ISV]N?)(St|9__gnu_cxx)|DW\.ref", name)]
            self.assertEqual(others, [], library)

    def test_header_is_cpp17_and_later(self):
        for standard in ("c++17", "c++20", "c++23"):
            with self.subTest(standard=standard):
                binary = self.compile("standard.cpp", self.SOURCE, f"-std={standard}")
                self.assertEqual(self.say(binary), self.SAID)

    def refused(self, expression):
        source = f"#include <underpass/socket.h>\nvoid f(underpass::Socket& s) {{ {expression}; }}\n"
        try:
            self.compile("refused.cpp", source, "-c")
        except subprocess.CalledProcessError as error:
            return "error:" in error.stdout
        return False

    def test_tuples_of_the_wrong_length_do_not_compile(self):
        for expression in ("s.connect({1, 2, 3})", "s.connect({1, 2, 3, 4, 5, 6})", "s.connect({1, 2})",
                           "s.connect({\"1.2.3.4\", 80, 1})", "s.connect({80, \"1.2.3.4\"})",
                           "s.connect(std::make_tuple(1, 2, 3))", "s.connect(std::tuple<>())",
                           "s.bind(std::make_tuple(\"1.2.3.4\", 80, 1))", "s.connect(80)",
                           "s.sendto(\"x\", {1, 2, 3})", "s.connect({\"1.2.3.4\", \"80\"})",
                           "s.connect({1.5, 2, 3, 4})"):
            with self.subTest(expression=expression):
                self.assertTrue(self.refused(expression))
        # The way of asking is right.
        self.assertFalse(self.refused("s.connect({1, 2, 3, 4})"))

    def test_uninstall_leaves_nothing(self):
        self.make("uninstall")
        left = [os.path.join(folder, name) for folder, _, names in os.walk(self.prefix) for name in names]
        self.make("install")
        self.assertEqual(left, [])


class DocumentTest(Installed, LabCase):
    """The programs of the document, with an interface, against the kernel."""

    def setUp(self):
        sources = programs_of_the_document()
        self.assertEqual(sorted(sources), ["client.cpp", "server.cpp"])
        self.client, self.server = (self.compile(name, sources[name]) for name in sorted(sources))
        self.environment = {"LD_LIBRARY_PATH": os.path.join(self.prefix, "lib")}

    def test_client_says_hello_world(self):
        self.check_client(self.client)

    def test_client_with_the_static_library_says_hello_world(self):
        archive = os.path.join(self.prefix, "lib", "libunderpass-socket.a")
        source = programs_of_the_document()["client.cpp"]
        self.check_client(self.compile("static_client.cpp", source, libraries=[archive]))

    def check_client(self, client):
        listener = self.background(self.server_host, [PYTHON, "-c", LISTENER, 5555])
        self.server_host.wait_for_port(5555, listener)
        with self.lab.traffic() as traffic:
            self.client_host.run([client, self.client_host.iface, self.server_host.address],
                                 environment=self.environment)
            self.assertEqual(listener.wait(), 0)
        self.assertEqual(listener.log(), "Hello World!\n")
        self.assertGreater(traffic[0].tcp_frames, 0)

    def test_server_greets_every_client(self):
        server = self.background(self.server_host, [self.server, self.server_host.iface],
                                 environment=self.environment)
        self.server_host.wait_for_port(80, server, bypass=True)
        address = self.client_host.address
        with self.lab.traffic() as traffic:
            for _ in range(3):
                said = self.client_host.run([PYTHON, "-c", CALLER, self.server_host.address, 80])
                self.assertEqual(said.out, f"{address} Hello, {address}!\n")
            # Over loopback it is the kernel that hands the client on.
            said = self.server_host.run([PYTHON, "-c", CALLER, "127.0.0.1", 80])
            self.assertEqual(said.out, "127.0.0.1 Hello, 127.0.0.1!\n")
        self.assertGreater(traffic[1].tcp_frames, 0)
        self.assertTrue(server.alive())

    def test_what_goes_wrong_is_a_sentence(self):
        done = self.client_host.run([self.client, "nonesuch", self.server_host.address],
                                    environment=self.environment, check=False)
        self.assertEqual((done.status, done.err),
                         (1, 'there is no interface "nonesuch": No such device\n'))
        done = self.client_host.run([self.client, "lo", self.server_host.address],
                                    environment=self.environment, check=False)
        self.assertEqual((done.status, done.err), (
            1, "no broker runs for interface lo (underpassd -i lo): Connection refused\n"))
        done = self.client_host.run(
            [self.client, self.client_host.iface, self.server_host.address],
            environment=self.environment, check=False)
        self.assertEqual((done.status, done.err), (
            1, f"connect to {self.server_host.address}:5555: Connection refused\n"))


if __name__ == "__main__":
    unittest.main()
