"""Free TCP ports for servers that a test starts.

They lie below the kernel's ephemeral range (32768 and up), so that no outgoing connection takes a
port while its server is down for a restart.
"""
import os
import random
import socket

_random = random.Random(os.getpid() * 7919 ^ int.from_bytes(os.urandom(4), "little"))
_given = set()


def free_port(host="127.0.0.1"):
    for _ in range(1000):
        port = _random.randrange(15000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind((host, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError("no free port found")


def free_ports(n):
    return [free_port() for _ in range(n)]
