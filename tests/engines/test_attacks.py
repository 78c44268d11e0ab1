"""Attacks from inside a task at level confined: each is tried for real, and those that succeed without confinement show it."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakewright.engines.processes import Limits, read_result

from .conftest import Tasks, eventually

TRY = """
import os, sys, socket, errno
def attack():
{body}
try:
    answer = attack()
except OSError as error:
    print("REFUSED", errno.errorcode.get(error.errno))
else:
    print("DONE", answer)
"""


def attempt_at(body: str) -> str:
    return TRY.format(body="\n".join("    " + line for line in body.strip().splitlines()))


def refused(
    tasks: Tasks, body: str, *, errors: tuple[str, ...] = ("EACCES", "EPERM", "EXDEV"), **options: object
) -> bool:
    """A refusal is one for want of permission: an attack that failed because its target was not there proves nothing."""
    ran = tasks.run(attempt_at(body), **options)
    word, _, answer = ran.out.strip().partition(" ")
    assert word == "DONE" or (word == "REFUSED" and answer in errors), ran
    return word == "REFUSED"


@pytest.fixture
def victim(confined: Tasks) -> Iterator[dict[str, str]]:
    """Another task, running, with a secret in a file and in its environment."""
    spec = confined.start(
        """
        import os, time
        open("secret.txt", "w").write("s3cr3t")
        print("pid", os.getpid(), flush=True)
        time.sleep(60)
        """,
        env={"DATABRICKS_TOKEN": "victims-token"},
    )
    pid = confined.says(spec.attempt, "pid")
    yield {
        "pid": pid,
        "workdir": str(spec.workdir),
        "dir": str(confined.launcher.output(spec.attempt).stdout_path.parent),
    }
    confined.launcher.kill(spec.attempt)
    confined.outcome(spec.attempt)


@pytest.fixture(scope="session")
def database(home: Path) -> Path:
    path = home / "lakewright.db"
    path.write_text("the platform's own database")
    return path


@pytest.fixture(scope="session")
def listener() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept_all, args=(server,), daemon=True).start()
        yield server.getsockname()[1]


def _accept_all(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


# --- files


def test_another_tasks_file_cannot_be_read(confined: Tasks, victim: dict[str, str]) -> None:
    assert refused(confined, f"return open('{victim['workdir']}/secret.txt').read()")


def test_another_tasks_folder_cannot_be_listed(confined: Tasks, victim: dict[str, str]) -> None:
    assert refused(confined, f"return os.listdir('{victim['workdir']}')")


def test_another_tasks_output_cannot_be_read(confined: Tasks, victim: dict[str, str]) -> None:
    assert refused(confined, f"return open('{victim['dir']}/stdout').read()")


def test_the_attempts_cannot_be_listed(confined: Tasks, home: Path) -> None:
    assert refused(confined, f"return os.listdir('{home}/attempts')")


def test_the_platforms_database_cannot_be_read(confined: Tasks, database: Path) -> None:
    assert refused(confined, f"return open('{database}').read()")


def test_the_platforms_database_cannot_be_removed(confined: Tasks, database: Path) -> None:
    assert refused(confined, f"return os.unlink('{database}')")
    assert database.exists()


@pytest.mark.parametrize("path", ["/etc/passwd", "/etc/shadow", "/root/.bashrc", "/var/log", "/home", "/dev/mem"])
def test_the_machines_files_cannot_be_read(confined: Tasks, path: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"no {path} here")
    assert refused(
        confined, f"return os.listdir('{path}') if os.path.isdir('{path}') else open('{path}', 'rb').read(1)"
    )


@pytest.mark.parametrize("path", ["/tmp/planted", "/usr/local/lib/planted.py", "{prefix}/planted.pth"])
def test_nothing_can_be_written_outside(confined: Tasks, path: str) -> None:
    import sys

    assert refused(confined, f"return open('{path.format(prefix=sys.prefix)}', 'w')")


def test_a_link_does_not_lead_out(confined: Tasks, database: Path) -> None:
    assert refused(confined, f"os.symlink('{database}', 'link')\nreturn open('link').read()")


def test_a_hard_link_does_not_lead_out(confined: Tasks, database: Path) -> None:
    assert refused(confined, f"os.link('{database}', 'link')\nreturn open('link').read()")


def test_a_file_cannot_be_moved_out(confined: Tasks, home: Path) -> None:
    assert refused(confined, f"open('x', 'w').close()\nreturn os.rename('x', '{home}/x')")


def test_an_exit_cannot_be_forged(confined: Tasks) -> None:
    ran = confined.run(attempt_at("return open(os.environ['LAKEWRIGHT_RESULT'] + '/../exit', 'w')"))
    assert ran.out.startswith("REFUSED EACCES")
    assert ran.exit.reason == "exited"


def test_a_link_left_as_result_is_not_followed(confined: Tasks, database: Path) -> None:
    ran = confined.run(attempt_at(f"return os.symlink('{database}', os.environ['LAKEWRIGHT_RESULT'] + '/result.json')"))
    assert ran.out.startswith("DONE")
    assert read_result(confined.launcher.output(ran.attempt), "result.json", 100) is None


def test_its_own_files_are_its_own(confined: Tasks) -> None:
    ran = confined.run(
        """
        import os, tempfile
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("mine"); file.flush()
            print(oct(os.stat(file.name).st_mode & 0o777), oct(os.stat(os.path.dirname(file.name)).st_mode & 0o777))
            print(open(file.name).read(), file.name.startswith(os.getcwd()))
        """
    )
    assert ran.out == "0o600 0o700\nmine True\n", ran


def test_a_folder_of_code_that_holds_the_attempts_is_not_opened() -> None:
    from lakewright.engines.local.task import holds

    assert holds(Path("/srv/project"), Path("/srv/project/.lakewright/attempts/a"))
    assert not holds(Path("/srv/project/src"), Path("/srv/project/.lakewright/attempts/a"))


# --- processes


def test_the_servers_environment_is_not_inherited(confined: Tasks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAKEWRIGHT_ADMIN_TOKEN", "admins")
    ran = confined.run(
        "import os; print('LAKEWRIGHT_ADMIN_TOKEN' in os.environ, os.environ['OWN'])", env={"OWN": "given"}
    )
    assert ran.out == "False given\n"


@pytest.mark.parametrize("entry", ["environ", "mem", "maps", "fd", "cwd/secret.txt", "root/etc/passwd"])
def test_another_process_cannot_be_looked_into(confined: Tasks, victim: dict[str, str], entry: str) -> None:
    for pid in (victim["pid"], str(os.getpid())):
        assert refused(
            confined, f"p = '/proc/{pid}/{entry}'\nreturn os.listdir(p) if p.endswith('fd') else open(p, 'rb').read(1)"
        )


@pytest.mark.parametrize("entry", ["environ", "mem", "cmdline"])
def test_the_supervisor_cannot_be_looked_into(confined: Tasks, entry: str) -> None:
    assert refused(confined, f"return open(f'/proc/{{os.getppid()}}/{entry}', 'rb').read(1)")


def test_the_processes_of_the_machine_cannot_be_listed(confined: Tasks) -> None:
    assert refused(confined, "return os.listdir('/proc')")


def test_another_task_cannot_be_signalled(confined: Tasks, victim: dict[str, str]) -> None:
    assert refused(confined, f"return os.kill({victim['pid']}, 0)")


def test_neither_supervisor_nor_server_can_be_signalled(confined: Tasks) -> None:
    assert refused(confined, "return os.kill(os.getppid(), 9)")
    assert refused(confined, f"return os.kill({os.getpid()}, 0)")


def test_killing_everything_kills_only_itself(confined: Tasks, victim: dict[str, str]) -> None:
    ran = confined.run("import os; os.kill(-1, 9)")
    assert ran.exit.reason == "exited"
    os.kill(int(victim["pid"]), 0)


def test_another_process_cannot_be_traced(confined: Tasks, victim: dict[str, str]) -> None:
    body = f"""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(16, {victim["pid"]}, None, None) != 0:
        raise OSError(ctypes.get_errno(), "")
    """
    assert refused(confined, body.replace("\n    ", "\n"))


def test_no_descriptor_is_inherited(confined: Tasks) -> None:
    ran = confined.run(
        "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:4], len(os.listdir('/proc/self/fd')) <= 6)"
    )
    assert ran.out == "[0, 1, 2, 3] True\n", ran


def test_what_an_earlier_task_was_given_is_not_in_memory(confined: Tasks) -> None:
    """All tasks of an environment are forks of one process, which therefore must never have held a secret."""
    marker = "dapi" + os.urandom(8).hex()
    assert (
        confined.run("import os; print(len(os.environ['TOKEN']))", env={"TOKEN": marker}, redact=(marker,)).out
        == "20\n"
    )
    half, rest = marker[:10], marker[10:]
    scan = """
    import sys
    half, rest = sys.argv[1:]
    found = 0
    with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as mem:
        for line in maps:
            span, mode, *_ = line.split()
            if mode.startswith("rw"):
                start, end = (int(x, 16) for x in span.split("-"))
                try:
                    mem.seek(start); data = mem.read(end - start)
                except OSError:
                    continue
                at = -1
                while (at := data.find(half.encode(), at + 1)) != -1:
                    found += data[at + 10:at + 10 + len(rest)] == rest.encode()
    print("found", found)
    """
    assert confined.run(scan, argv=("task.py", half, rest)).out == "found 0\n"
    assert confined.run(scan, argv=("task.py", half, rest), env={"TOKEN": marker}).out != "found 0\n"


# --- privileges


def test_a_task_has_no_capability(confined: Tasks) -> None:
    ran = confined.run(
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith(('CapEff', 'CapPrm', 'NoNewPrivs'))])"
    )
    assert ran.out == "['0000000000000000', '0000000000000000', '1']\n"


def test_executing_a_program_gives_none_back(confined: Tasks) -> None:
    ran = confined.run(
        "import subprocess; print(subprocess.run(['grep', 'CapEff', '/proc/cpuinfo', '/proc/self/status']).returncode)"
    )
    assert "CapEff:\t0000000000000000" in ran.out or "Permission denied" in ran.err


@pytest.mark.parametrize("flags", ["0x10000000", "0x00020000"])
def test_no_new_namespace(confined: Tasks, flags: str) -> None:
    assert refused(
        confined,
        f"import ctypes\nif ctypes.CDLL(None, use_errno=True).unshare({flags}):\n    raise OSError(ctypes.get_errno(), '')",
    )


def test_limits_cannot_be_raised(confined: Tasks) -> None:
    ran = confined.run(
        """
        import resource
        for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
            try:
                resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)); print("raised")
            except (ValueError, PermissionError): print("refused")
        """
    )
    assert ran.out == "refused\nrefused\n"


# --- network


def test_the_port_it_was_given_can_be_reached(confined: Tasks, listener: int) -> None:
    assert not refused(confined, f"return socket.create_connection(('127.0.0.1', {listener}))", ports=(listener,))


def test_the_port_it_was_given_to_listen_on_can_be_bound_and_no_other(confined: Tasks) -> None:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        given, taken = one.getsockname()[1], other.getsockname()[1]
    bind = "import socket; s = socket.socket(); s.bind(('127.0.0.1', {})); s.listen()"
    assert confined.run(bind.format(given), listen=(given,)).exit.code == 0
    assert "PermissionError" in confined.run(bind.format(taken), listen=(given,)).err


def test_other_ports_cannot_be_reached(confined: Tasks, listener: int) -> None:
    assert refused(confined, f"return socket.create_connection(('127.0.0.1', {listener}))", ports=(listener + 1,))


def test_fast_open_does_not_go_around_the_ports(confined: Tasks, listener: int) -> None:
    assert refused(confined, f"s = socket.socket()\nreturn s.sendto(b'x', 0x20000000, ('127.0.0.1', {listener}))")


@pytest.mark.parametrize("protocol", [132, 256, 262])
def test_other_protocols_do_not_go_around_the_ports(confined: Tasks, listener: int, protocol: int) -> None:
    assert refused(
        confined,
        f"s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, {protocol})\nreturn s.connect(('127.0.0.1', {listener}))",
    )


def test_a_task_cannot_listen(confined: Tasks) -> None:
    assert refused(confined, "return socket.create_server(('127.0.0.1', 0))")


def test_no_datagrams(confined: Tasks) -> None:
    assert refused(confined, "return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))")


def test_no_raw_sockets(confined: Tasks) -> None:
    assert refused(confined, "return socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)")


@pytest.mark.parametrize("abstract", [False, True])
def test_local_sockets_cannot_be_reached(confined: Tasks, tmp_path: Path, abstract: bool) -> None:
    name = f"\0lakewright-{os.getpid()}" if abstract else str(tmp_path / "docker.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        assert refused(confined, f"s = socket.socket(socket.AF_UNIX)\nreturn s.connect({name!r})")


def test_shared_memory_of_others_cannot_be_seen(confined: Tasks) -> None:
    path = Path(f"/dev/shm/lakewright-{os.getpid()}")
    path.write_text("shared by somebody else")
    try:
        ran = confined.run(attempt_at(f"return open('{path}').read()"))
    finally:
        path.unlink()
    assert ran.out.split() in (["REFUSED", "EACCES"], ["REFUSED", "ENOENT"])


def test_shared_memory_cannot_fill_the_machines(confined: Tasks) -> None:
    body = "f = open('/dev/shm/big', 'wb')\nfor _ in range(128): f.write(bytes(1 << 20)); f.flush()"
    assert refused(confined, body, limits=Limits(memory_mb=100), errors=("ENOSPC", "EACCES"))


def test_a_mount_cannot_be_taken_away(confined: Tasks) -> None:
    body = "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nif libc.umount2(b'/dev/shm', 2):\n    raise OSError(ctypes.get_errno(), '')"
    assert refused(confined, body)


# --- exhaustion


def test_a_core_is_never_dumped(confined: Tasks) -> None:
    ran = confined.run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert ran.exit.signal == 11
    workdir = confined.home / "work" / ran.attempt
    assert not [path for path in workdir.iterdir() if "core" in path.name]


def test_a_task_that_eats_memory_slowly_is_ended_with_its_reason(confined: Tasks) -> None:
    ran = confined.run(
        """
        import subprocess, sys, time
        code = "import time\\nheld = []\\nwhile True:\\n    held.append(bytearray(10 << 20)); time.sleep(0.05)"
        children = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
        time.sleep(60)
        """,
        limits=Limits(memory_mb=300, wall_seconds=50),
    )
    assert ran.exit.reason == "memory"
    assert 300 <= ran.exit.peak_memory_mb < 500


def test_a_task_that_asks_for_too_much_at_once_gets_a_memory_error(confined: Tasks) -> None:
    ran = confined.run("bytearray(2 << 30)", limits=Limits(memory_mb=300))
    assert (ran.exit.code, ran.err.splitlines()[-1]) == (1, "MemoryError")


def test_a_fork_bomb_is_bounded(confined: Tasks) -> None:
    ran = confined.run(
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        limits=Limits(processes=40, wall_seconds=30),
    )
    assert ran.exit.reason == "processes"


def test_a_file_cannot_fill_the_disk(confined: Tasks) -> None:
    body = "f = open('big', 'wb')\nfor _ in range(64): f.write(bytes(1 << 20)); f.flush()"
    assert refused(confined, body, limits=Limits(file_mb=10), errors=("EFBIG",))


def test_output_cannot_fill_the_disk(confined: Tasks) -> None:
    ran = confined.run("for n in range(700_000): print('0123456789', n)", limits=Limits(output_mb=1, wall_seconds=40))
    assert len(ran.out) < 3 << 20
    assert ran.out.startswith("[earlier output dropped]\n")
    assert ran.out.endswith("0123456789 699999\n")


def test_processor_time_is_bounded(confined: Tasks) -> None:
    ran = confined.run("while True: pass", limits=Limits(cpu_seconds=1, wall_seconds=30))
    assert ran.exit.signal == 24


def test_a_daemonised_grandchild_ends_with_its_task(confined: Tasks) -> None:
    ran = confined.run(
        """
        import os, time
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.write(write, str(os.getpid()).encode())
                for fd in range(4): os.close(fd)
                time.sleep(300)
            os._exit(0)
        print(os.read(read, 20).decode())
        """
    )
    assert ran.exit.code == 0
    assert not _alive(int(ran.out))


def _alive(pid: int) -> bool:
    from lakewright.engines.local import tree

    return tree.started(pid) is not None


# --- the same without confinement, so that a test above cannot pass for a wrong reason


@pytest.mark.parametrize(
    "body",
    [
        "return open('/etc/passwd').read(1)",
        "return os.listdir('/proc')",
        "return os.kill(os.getppid(), 0)",
        "return socket.create_server(('127.0.0.1', 0))",
        "return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
        "return os.listdir('/dev/shm')",
        "return open('/tmp/lakewright-planted', 'w').close() or os.unlink('/tmp/lakewright-planted')",
    ],
)
def test_without_confinement_the_attack_succeeds(open_tasks: Tasks, body: str) -> None:
    assert not refused(open_tasks, body)


def test_without_confinement_every_port_is_open(open_tasks: Tasks, listener: int) -> None:
    assert not refused(open_tasks, f"return socket.create_connection(('127.0.0.1', {listener}))")


def test_cooperative_tasks_are_told_apart(open_tasks: Tasks) -> None:
    from lakewright.engines.processes import Isolation, TooWeak

    assert open_tasks.launcher.isolation() is Isolation.COOPERATIVE
    with pytest.raises(TooWeak):
        open_tasks.start("print()", require=Isolation.CONFINED)
    assert eventually(lambda: not open_tasks.launcher.live(), "nothing to run")
