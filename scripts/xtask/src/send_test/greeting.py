# SPDX-License-Identifier: MIT OR Apache-2.0
"""Prints what a mail server on loopback greets with. usage: greeting.py PORT"""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10) as server:
    print(server.makefile(encoding="ascii", errors="replace").readline(512), end="")
    server.sendall(b"QUIT\r\n")
