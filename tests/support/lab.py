"""lab.py - two hosts in network namespaces, joined by a veth pair, and the programs run in them

    with Lab() as lab:
        server = lab.host(1).popen(["redis-server", "--port", "7000"], bypass=True)
        lab.host(1).wait_for_port(7000, process=server)
        with lab.traffic() as traffic:
            lab.host(0).run(["redis-benchmark", "-h", lab.host(1).address, "-p", "7000"])
        print(traffic[1].tcp_frames)

Nothing outside the two namespaces is touched. A lab is removed with all its processes when the block is
left, at exit, upon SIGTERM, SIGINT and SIGHUP; what a killed maker left behind is removed by the next lab.
Nothing asserts on time: limits only keep a hang from lasting for ever. Python's standard library only.
"""

import atexit
import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("UNDERPASS_BUILD", os.path.join(ROOT, "build"))
UNDERPASS = os.path.join(BUILD, "underpass")
BROKER = os.path.join(BUILD, "underpassd")
LIBRARY = os.path.join(BUILD, "libunderpass.so")
PYTHON = "/usr/bin/python3"  # Debian's; the PATH may have another first
NETNS_DIRECTORY = "/var/run/netns"
# Generous: only a hang may reach it.
LIMIT_S = int(os.environ.get("LAB_LIMIT_S", "60"))
POLL_S = 0.005
# Of a failed program's output, what is shown.
SHOWN_CHARACTERS = 6000
PREFIX = "up-lab"


class LabError(AssertionError):
    """The lab or a program in it did not do what was asked; has the logs in its text."""


def is_built():
    """Whether there is something to bypass with."""
    return all(os.path.exists(path) for path in (UNDERPASS, BROKER, LIBRARY))


def wait_until(condition, what, limit_s=LIMIT_S):
    """Returns condition()'s first true value; LabError after limit_s."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise LabError(f"waited {limit_s} s in vain for {what}")
        time.sleep(POLL_S)


def tail(text):
    return text if len(text) <= SHOWN_CHARACTERS else "[...]\n" + text[-SHOWN_CHARACTERS:]


def sh(*argv):
    """Runs a command that must work."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise LabError(f"{shlex.join(argv)}: {done.stdout.strip()}")
    return done.stdout


def clean_environment(extra=None):
    """Ours without what would change Underpass; a bypassed runner must not bypass the kernel side."""
    kept = {name: value for name, value in os.environ.items()
            if not name.startswith("UNDERPASS_") and name != "LD_PRELOAD"}
    kept.update(extra or {})
    return kept


def processes_in(namespace):
    """The pids of all processes whose network namespace is the named one."""
    try:
        wanted = os.stat(os.path.join(NETNS_DIRECTORY, namespace)).st_ino
    except FileNotFoundError:
        return []
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.stat(f"/proc/{entry}/ns/net").st_ino == wanted:
                found.append(int(entry))
    return found


def is_zombie(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def remove_namespace(name):
    """Ends the processes in a namespace that a lab made, then removes it and its interfaces."""
    def all_gone():
        alive = [pid for pid in processes_in(name) if not is_zombie(pid)]
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not alive
    wait_until(all_gone, f"the processes in {name} to end")
    if os.path.exists(os.path.join(NETNS_DIRECTORY, name)):
        # At once, not when the kernel finds the time to take the namespace down.
        subprocess.run(["ip", "-n", name, "link", "delete", Host.iface], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        sh("ip", "netns", "delete", name)


def remove_orphans():
    """Removes the labs of makers that were killed."""
    if not os.path.isdir(NETNS_DIRECTORY):
        return
    for name in os.listdir(NETNS_DIRECTORY):
        parts = name.split("-")
        if name.startswith(PREFIX + "-") and len(parts) == 5 and parts[2].isdigit():
            if not os.path.exists(f"/proc/{parts[2]}"):
                with contextlib.suppress(LabError):
                    remove_namespace(name)


class Completed:
    """A program that has ended."""

    def __init__(self, argv, status, out, err):
        self.argv, self.status, self.out, self.err = argv, status, out, err

    def describe(self):
        return (f"{shlex.join(self.argv)}\nstatus {self.status}\n--- stdout\n{tail(self.out)}\n"
                f"--- stderr\n{tail(self.err)}")


class Process:
    """A program that runs in the background; its output goes to `log_path`, and is `log()`."""

    def __init__(self, host, argv, log_path, **popen_arguments):
        self.host, self.argv, self.log_path = host, argv, log_path
        with open(log_path, "wb") as log:
            popen_arguments.setdefault("stdin", subprocess.DEVNULL)
            popen_arguments.setdefault("stdout", log)
            popen_arguments.setdefault("stderr", log)
            self.popen = subprocess.Popen(argv, **popen_arguments)
        self.pid = self.popen.pid

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        return self.popen.poll() is None

    def wait(self, limit_s=LIMIT_S):
        """Returns the status; LabError when it does not end by itself."""
        try:
            return self.popen.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise LabError(f"did not end in {limit_s} s: {self.describe()}") from None

    def stop(self, number=signal.SIGTERM, limit_s=20):
        """Asks the program to end; LabError, and SIGKILL, if it does not."""
        if self.alive():
            self.popen.send_signal(number)
        try:
            return self.wait(limit_s)
        except LabError:
            self.kill()
            raise

    def kill(self):
        if self.alive():
            self.popen.kill()
        return self.popen.wait(LIMIT_S)

    def end(self):
        """Kills it, closes what it was spoken to through, and forgets what it said."""
        self.kill()
        for pipe in filter(None, (self.popen.stdin, self.popen.stdout)):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self.host.lab.forget(self)

    def describe(self):
        state = "running" if self.alive() else f"status {self.popen.returncode}"
        return f"{shlex.join(self.argv)}\npid {self.pid}, {state}\n{tail(self.log())}"


class Traffic:
    """What one host received through AF_XDP, and what its kernel's TCP and UDP saw, since start."""

    def __init__(self, host):
        self.host = host
        self.before = self.now()
        self.after = None

    def now(self):
        steer = self.host.steer() or {}
        kernel = self.host.kernel_counters()
        return {
            **{f"steer_{name}": value for name, value in steer.items()},
            "tcp_frames": steer.get("tcp_frames", 0), "tcp_bytes": steer.get("tcp_bytes", 0),
            "udp_frames": steer.get("udp_frames", 0), "udp_bytes": steer.get("udp_bytes", 0),
            "kernel_tcp": kernel["Tcp"]["InSegs"] + kernel["Tcp"]["OutSegs"],
            "kernel_opens": kernel["Tcp"]["ActiveOpens"] + kernel["Tcp"]["PassiveOpens"],
            # TCP's are of both families.
            "kernel_udp": sum(kernel[name][f"{way}Datagrams"] for name in ("Udp", "Udp6") for way in ("In", "Out")),
        }

    def finish(self):
        self.after = self.now()

    def __getattr__(self, name):
        if name in ("before", "after") or self.after is None:
            raise AttributeError(name)
        return self.after.get(name, 0) - self.before.get(name, 0)

    def describe(self):
        return ", ".join(f"{name} {getattr(self, name)}" for name in (
            "tcp_frames", "tcp_bytes", "udp_frames", "udp_bytes", "kernel_tcp",
            "kernel_opens", "kernel_udp"))


class Host:
    """One namespace: an address of each family on `iface`, loopback, and the programs in it."""

    iface = "up0"

    def __init__(self, lab, index, namespace, address):
        self.lab, self.index, self.namespace, self.address = lab, index, namespace, address
        self.address6 = f"fd77::{address.split('.')[2]}:{index + 1}"
        self.broker = None

    @property
    def peer(self):
        return self.lab.host(1 - self.index)

    @property
    def link_local(self):
        """With the interface as its scope."""
        link = json.loads(sh("ip", "-n", self.namespace, "-j", "-6", "address", "show", "dev", self.iface,
                             "scope", "link"))
        local = next(one["local"] for one in link[0]["addr_info"] if "local" in one and not one.get("deprecated"))
        return f"{local}%{self.iface}"

    # Making commands

    def argv(self, argv, bypass=False, options=(), cpus=None):
        """The command that runs argv here. Not `ip netns exec`: it mounts another /sys, which hides
        /sys/fs/bpf."""
        command = ["nsenter", f"--net={NETNS_DIRECTORY}/{self.namespace}", "--"]
        if cpus is not None:
            command += ["taskset", "-c", str(cpus)]
        if bypass:
            command += [UNDERPASS, "run", "-i", self.iface, *options, "--"]
        return [*command, *(str(word) for word in argv)]

    def run(self, argv, bypass=False, options=(), cpus=None, check=True, limit_s=LIMIT_S, **more):
        """Runs a program to its end. LabError: it failed (unless check is false) or hangs."""
        environment = clean_environment(more.pop("environment", None))
        command = self.argv(argv, bypass, options, cpus)
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        try:
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, errors="replace",
                                  timeout=limit_s, **more)
        except subprocess.TimeoutExpired as hang:
            text = (hang.stdout or b"").decode(errors="replace")
            raise LabError(f"did not end in {limit_s} s: {shlex.join(command)}\n{tail(text)}") from None
        completed = Completed(command, done.returncode, done.stdout, done.stderr)
        if check and done.returncode != 0:
            raise LabError(completed.describe())
        return completed

    def popen(self, argv, bypass=False, options=(), cpus=None, name=None, **more):
        """Starts a program in the background."""
        environment = clean_environment(more.pop("environment", None))
        command = self.argv(argv, bypass, options, cpus)
        name = name or os.path.basename(str(argv[0]))
        log_path = self.lab.new_file(f"{self.index}-{name}.log")
        process = Process(self, command, log_path, env=environment, **more)
        self.lab.processes.append(process)
        return process

    def python(self, script, *arguments):
        """The argv of one of the tests' own programs."""
        return [PYTHON, "-u", os.path.join(ROOT, "tests", "netns", "programs", script), *arguments]

    # The broker and its counters

    def start_broker(self, *options):
        """A broker that stays, so that counts outlive the programs. Ready when this returns."""
        ready, says_ready = os.pipe()
        with open(ready, encoding="utf-8") as answer:
            try:
                self.broker = self.popen(
                    [BROKER, "-i", self.iface, "--stay", *options, "--ready-fd", says_ready],
                    pass_fds=[says_ready])
            finally:
                os.close(says_ready)
            line = answer.readline().strip()
        if line != "ok":
            raise LabError(f"underpassd: {line or 'ended without a word'}\n{self.broker.describe()}")
        return self.broker

    def forget_neighbours(self, *which):
        """Where one is asked for again at once, ip(8) gives up after ten rounds; it has been deleted then."""
        self.run(["ip", "neighbour", "flush", "dev", self.iface, *which], check=False)

    def stat(self):
        """`underpass stat --json`, or None when no broker runs."""
        done = self.run([UNDERPASS, "stat", "-i", self.iface, "--json"], check=False)
        return json.loads(done.out) if done.status == 0 else None

    def steer(self):
        """The counters of the XDP program, or None when no broker runs."""
        if not is_built():
            return None
        stat = self.stat()
        return stat and stat["steer"]

    def client(self, process):
        """The counters of a bypassed program that runs, or None."""
        clients = (self.stat() or {"clients": []})["clients"]
        return next((one["counters"] for one in clients if one["pid"] == process.pid), None)

    def sockets(self):
        """`underpass ss --json`."""
        done = self.run([UNDERPASS, "ss", "-i", self.iface, "--json"], check=False)
        return json.loads(done.out)["sockets"] if done.status == 0 else []

    def established(self, port):
        """How many bypassed connections have it on one side."""
        return len([one for one in self.sockets()
                    if port in (one["local_port"], one["peer_port"]) and one["state"] == "ESTAB"])

    def kernel_counters(self):
        """/proc/net/snmp, netstat and snmp6: {"Tcp": {"InSegs": number, ...}, "TcpExt": ..., "Udp6": ...}."""
        lines = self.run(["cat", "/proc/net/snmp", "/proc/net/netstat"]).out.splitlines()
        tables = {}
        for names, values in zip(lines[::2], lines[1::2]):
            kind, names = names.split(": ", 1)
            tables[kind] = dict(zip(names.split(), map(int, values.split(": ", 1)[1].split())))
        for line in self.run(["cat", "/proc/net/snmp6"]).out.splitlines():
            name, value = line.split()
            kind = re.match(r"(\w+?6)", name).group(1)
            tables.setdefault(kind, {})[name.removeprefix(kind)] = int(value)
        return tables

    def xdp_program_id(self):
        """The id of the XDP program on the interface, or None."""
        link = json.loads(sh("ip", "-n", self.namespace, "-j", "-details", "link", "show", self.iface))
        return link[0].get("xdp", {}).get("prog", {}).get("id")

    # Waiting for programs

    def kernel_ports(self, protocol):
        """The local ports of listening TCP, or of all UDP sockets of the kernel."""
        wanted = {"tcp": "0A", "udp": "07"}[protocol]
        ports = set()
        for line in self.run(["cat", f"/proc/net/{protocol}", f"/proc/net/{protocol}6"]).out.splitlines():
            fields = line.split()
            if len(fields) > 3 and fields[3] == wanted:
                ports.add(int(fields[1].rpartition(":")[2], 16))
        return ports

    def bypassed_ports(self, protocol):
        """The same of the bypassed sockets."""
        return {one["local_port"] for one in self.sockets()
                if one["netid"] == protocol and (protocol == "udp" or one["state"] == "LISTEN")}

    def wait_for_port(self, port, process=None, bypass=False, protocol="tcp", limit_s=LIMIT_S):
        """Until a socket listens on (UDP: is bound to) the port; on the stack too if `bypass`."""
        def listens():
            if process and not process.alive():
                raise LabError(f"ended before it listened on port {port}: {process.describe()}")
            return port in self.kernel_ports(protocol) and (
                not bypass or port in self.bypassed_ports(protocol))
        try:
            wait_until(listens, f"{protocol} port {port} of {self.address}", limit_s)
        except LabError as error:
            raise LabError(f"{error}\n{process.describe() if process else ''}") from None


class Lab:
    """Two hosts; see the top of this file. `names` makes a lasting lab of that name (scripts/lab)."""

    def __init__(self, queues=1, static_neighbours=False, names=None, network=None):
        if os.geteuid() != 0:
            raise LabError("network namespaces need root")
        watch_signals()
        self.directory = tempfile.mkdtemp(prefix="up-lab-")
        # Programs that give up root read their files here.
        os.chmod(self.directory, 0o755)
        self.processes = []
        self.next_port = 20000
        self.files = 0
        network = os.getpid() % 250 + 1 if network is None else network
        unique = os.urandom(3).hex()
        names = names or [f"{PREFIX}-{os.getpid()}-{unique}-{side}" for side in "ab"]
        self.hosts = [Host(self, index, name, f"10.77.{network}.{index + 1}")
                      for index, name in enumerate(names)]
        made.append(self)
        try:
            remove_orphans()
            self.make(queues)
            if static_neighbours:
                self.set_static_neighbours()
        except BaseException:
            self.remove()
            raise

    def make(self, queues):
        for host in self.hosts:
            sh("ip", "netns", "add", host.namespace)
            sh("ip", "-n", host.namespace, "link", "set", "lo", "up")
        self.make_link(queues)
        for host in self.hosts:
            # Addresses are used at once, not when it is sure that nobody else has them.
            host.run(["sh", "-c", f"echo 0 >/proc/sys/net/ipv6/conf/{host.iface}/accept_dad"])
            sh("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", host.iface)
            sh("ip", "-n", host.namespace, "address", "add", f"{host.address6}/64", "dev", host.iface)
            sh("ip", "-n", host.namespace, "link", "set", host.iface, "up")

    def make_link(self, queues):
        """Gives each host its `iface`; another kind of lab has other ones."""
        a, b = self.hosts
        count = ["numtxqueues", str(queues), "numrxqueues", str(queues)]
        # So that no address that is made of them is another one of the lab (second_of() in names.h).
        first, second = (f"02:75:70:{os.urandom(2).hex(':')}:{host.index + 1:02x}" for host in self.hosts)
        sh("ip", "-n", a.namespace, "link", "add", a.iface, "address", first, *count, "type", "veth",
           "peer", b.iface, "address", second, *count, "netns", b.namespace)

    def set_static_neighbours(self):
        for host in self.hosts:
            link = json.loads(sh("ip", "-n", host.peer.namespace, "-j", "link", "show", host.iface))
            sh("ip", "-n", host.namespace, "neighbour", "replace", host.peer.address,
               "lladdr", link[0]["address"], "dev", host.iface, "nud", "permanent")

    def host(self, index):
        return self.hosts[index]

    def new_port(self):
        """A port that no earlier program of this lab had."""
        self.next_port += 1
        return self.next_port

    def new_file(self, name):
        self.files += 1
        return os.path.join(self.directory, f"{self.files:03}-{name}")

    def write(self, name, data):
        """A file of that content; its path."""
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
        os.chmod(path, 0o644)
        return path

    @contextlib.contextmanager
    def traffic(self):
        """Yields what passes each host's two paths while the block runs; read it after the block."""
        measured = [Traffic(host) for host in self.hosts]
        yield measured
        for one in measured:
            one.finish()

    def logs(self):
        """What the background programs said, for a failed test."""
        return "\n".join(f"=== host {one.host.index}: {one.describe()}" for one in self.processes)

    def forget(self, process):
        """A program that ended as it should needs no place in logs()."""
        if process in self.processes and not process.alive():
            self.processes.remove(process)

    def keep(self):
        """Leaves the two hosts behind when we end; remove_namespace() takes them away."""
        made.remove(self)
        shutil.rmtree(self.directory, ignore_errors=True)

    def remove(self):
        if self not in made:
            return
        made.remove(self)
        for process in self.processes:
            process.kill()
        for host in self.hosts:
            remove_namespace(host.namespace)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


# The labs that are to be removed at exit.
made = []


def remove_all():
    for lab in list(made):
        lab.remove()


def watch_signals():
    """Lets SIGTERM and SIGHUP end the program as SIGINT does: by an exception, through the cleanups."""
    if threading.current_thread() is not threading.main_thread():
        return

    def leave(number, _):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, leave)


atexit.register(remove_all)
