"""Free TCP ports for servers that a test starts.

They lie below the kernel's ephemeral range (32768 and up), so that no outgoing connection takes a
port while its server is down for a restart. A port belongs to this process until it ends: a lock on
a file of its number keeps tests that run at the same time from picking it before its server listens,
or while that is down.
"""
import fcntl
import os
import random
import socket
import tempfile

_random = random.Random(os.getpid() * 7919 ^ int.from_bytes(os.urandom(4), "little"))
_given = {}  # port -> the descriptor that holds its lock
_folder = os.path.join(tempfile.gettempdir(), f"telescope-test-ports-{os.getuid()}")


def _take(port):
    os.makedirs(_folder, mode=0o700, exist_ok=True)
    fd = os.open(os.path.join(_folder, str(port)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return False
    _given[port] = fd
    return True


def _is_free(host, port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host="127.0.0.1"):
    for _ in range(1000):
        port = _random.randrange(15000, 32000)
        if port not in _given and _take(port) and _is_free(host, port):
            return port
    raise RuntimeError("no free port found")


def free_ports(n):
    return [free_port() for _ in range(n)]
