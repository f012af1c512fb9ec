# SPDX-License-Identifier: MIT OR Apache-2.0
"""A mail server on loopback that keeps what it gets in a Maildir.

usage: server.py alone|shared MAILDIR
       server.py probe

`alone`: in a network of its own, whose loopback is still down. The greeting
carries TOKEN from the environment. Says on one line, as JSON, where it listens
and which interfaces are up. `probe`: only tries whether it could be `alone`.
"""

import asyncio
import fcntl
import json
import os
import socket
import struct
import sys

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ = struct.Struct("16sH22x")


def flags(control, name):
    answer = fcntl.ioctl(control, SIOCGIFFLAGS, IFREQ.pack(name.encode(), 0))
    return IFREQ.unpack(answer)[1]


def interfaces(alone):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        if alone:
            up = IFREQ.pack(b"lo", flags(control, "lo") | IFF_UP)
            fcntl.ioctl(control, SIOCSIFFLAGS, up)
        names = [name for _, name in socket.if_nameindex()]
        return [name for name in names if flags(control, name) & IFF_UP]


async def serve(maildir, up):
    # Made here, since it needs to be there before the first mail is.
    handler = Mailbox(maildir)
    token = os.environ["TOKEN"]
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(handler, ident=token, hostname="localhost"), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    print(json.dumps({"pid": os.getpid(), "port": port, "up": up}), flush=True)
    await server.serve_forever()


def main():
    network = sys.argv[1]
    up = interfaces(network != "shared")
    if network != "probe":
        asyncio.run(serve(sys.argv[2], up))


main()
