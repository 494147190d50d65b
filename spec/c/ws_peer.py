"""Independent WebSocket peers for test_ws.c: python3-websockets, and raw sockets for what a library
refuses to send. `ws_peer.py CASE ADDRESS`; exit code 0 when the case went as it should."""
import asyncio
import base64
import fcntl
from http import HTTPStatus
import os
import random
import socket
import ssl
import struct
import sys
import termios
import time

import websockets

LIMIT = 65536  # what test_ws.c serves with
PATIENCE = 60  # s; a busy machine is slow, and the server has its own idea of how long is too long


def check(what, ok):
    if not ok:
        print("failed:", what, file=sys.stderr)
        sys.exit(1)


# ---- clients of our server -------------------------------------------------------------------

async def echo(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", compression=None) as ws:
        for size in (0, 1, 125, 126, 127, 1000, 65535, 65536):
            data = os.urandom(size)
            await ws.send(data)
            check(f"binary {size}", await ws.recv() == data)
            text = "".join(random.choice("aä€😀z") for _ in range(size // 4))
            await ws.send(text)
            check(f"text {size}", await ws.recv() == text)


async def fragments(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", compression=None) as ws:
        await ws.send(iter(["€"[0:1], "uro ", "", "und mehr"]))
        check("text of fragments", await ws.recv() == "€uro und mehr")
        await ws.send([b"x" * 30000, b"y" * 30000, b"z"])
        check("binary of fragments", await ws.recv() == b"x" * 30000 + b"y" * 30000 + b"z")
        await asyncio.wait_for(await ws.ping(b"payload"), PATIENCE)


async def offers_deflate(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", subprotocols=["other", "v1"]) as ws:
        check("no extension", ws.extensions == [])
        check("subprotocol", ws.subprotocol == "v1")
        await ws.close(4001, "done with it")


async def closed_by_server(port):
    async with websockets.connect(f"ws://127.0.0.1:{port}/echo", compression=None) as ws:
        await ws.send("close me")
        try:
            await ws.recv()
            check("closed", False)
        except websockets.ConnectionClosed as e:
            check(f"code {e.code} {e.reason}", e.code == 4002 and e.reason == "as you wish")


# ---- raw clients -----------------------------------------------------------------------------

def upgrade(port, early=b""):
    s = socket.create_connection(("127.0.0.1", int(port)), timeout=PATIENCE)
    key = base64.b64encode(os.urandom(16)).decode()
    s.sendall(f"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode() + early)
    head = b""
    while b"\r\n\r\n" not in head:
        head += s.recv(1)
    check("101", head.startswith(b"HTTP/1.1 101"))
    return s


def frame(opcode, data=b"", fin=True, masked=True, rsv=0, length=None):
    n = len(data) if length is None else length
    first = bytes([(0x80 if fin else 0) | rsv | opcode])
    bit = 0x80 if masked else 0
    if n < 126:
        first += bytes([bit | n])
    elif n < 65536:
        first += bytes([bit | 126]) + struct.pack("!H", n)
    else:
        first += bytes([bit | 127]) + struct.pack("!Q", n)
    if not masked:
        return first + data
    mask = os.urandom(4)
    return first + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(data))


def read_exactly(s, n):
    data = b""
    while len(data) < n:
        piece = s.recv(n - len(data))
        check("connection still there", piece)
        data += piece
    return data


def read_frame(s):
    a, b = read_exactly(s, 2)
    check("server frames are not masked", not b & 0x80)
    n = b & 0x7F
    if n == 126:
        n = struct.unpack("!H", read_exactly(s, 2))[0]
    elif n == 127:
        n = struct.unpack("!Q", read_exactly(s, 8))[0]
    return a & 0x0F, read_exactly(s, n)


def expect_close(s, code):
    opcode, data = read_frame(s)
    check(f"close frame, got {opcode} {data[:2].hex()}", opcode == 8)
    check(f"code {struct.unpack('!H', data[:2])[0]} should be {code}",
          struct.unpack("!H", data[:2])[0] == code)
    while s.recv(65536):
        pass


BAD = {
    "unmasked": (1002, [frame(1, b"hi", masked=False)]),
    "unmasked_later": (1002, [frame(2, b"ok"), frame(2, b"hi", masked=False)]),
    "reserved_bits": (1002, [frame(1, b"hi", rsv=0x40)]),
    "unknown_opcode": (1002, [frame(3, b"hi")]),
    "lone_continuation": (1002, [frame(0, b"hi")]),
    "text_inside_text": (1002, [frame(1, b"a", fin=False), frame(1, b"b")]),
    "long_ping": (1002, [frame(9, b"x" * 126)]),
    "fragmented_ping": (1002, [frame(9, b"x", fin=False)]),
    "close_of_one_byte": (1002, [frame(8, b"x")]),
    "close_with_bad_code": (1002, [frame(8, struct.pack("!H", 1005))]),
    "invalid_utf8": (1007, [frame(1, b"ok \xc3\x28")]),
    "surrogate": (1007, [frame(1, b"\xed\xa0\x80")]),
    "overlong": (1007, [frame(1, b"\xc0\xaf")]),
    "cut_utf8": (1007, [frame(1, b"\xe2\x82")]),
    "utf8_over_fragments": (1007, [frame(1, b"\xe2\x82", fin=False), frame(0, b"x")]),
    "too_big": (1009, [frame(2, b"", length=LIMIT + 1)]),
    "too_big_text": (1009, [frame(1, b"x" * (LIMIT + 1))]),
    "too_big_by_fragments": (1009, [frame(2, b"x" * 40000, fin=False), frame(0, b"x" * 40000)]),
    "absurd_length": (1009, [frame(2, b"", length=2**62)]),
    "negative_length": (1002, [frame(2, b"", length=2**63 + 5)]),
}


def bad(port, name):
    code, frames = BAD[name]
    s = upgrade(port)
    for f in frames:
        s.sendall(f)
    opcode = 2
    if name == "unmasked_later":
        opcode, data = read_frame(s)
        check("the good one was echoed", opcode == 2 and data == b"ok")
    expect_close(s, code)


def bad_all(port):
    for name in BAD:
        bad(port, name)


def early(port):
    """Frames in the same packet as the request."""
    s = upgrade(port, frame(1, b"in one packet") + frame(1, b"and another"))
    check("first", read_frame(s) == (1, b"in one packet"))
    check("second", read_frame(s) == (1, b"and another"))
    s.sendall(frame(8, struct.pack("!H", 1000)))
    check("close echoed", read_frame(s) == (8, struct.pack("!H", 1000)))
    check("end of file", s.recv(1) == b"")


def trickle(port):
    """Byte by byte."""
    s = upgrade(port)
    for byte in frame(1, "grün".encode()) + frame(9, b"p") + frame(1, b"") :
        s.sendall(bytes([byte]))
    check("text", read_frame(s) == (1, "grün".encode()))
    check("pong", read_frame(s) == (10, b"p"))
    check("empty", read_frame(s) == (1, b""))
    s.close()


def silent(port):
    """Asks to be closed, then neither answers nor goes away; the server must be rid of it."""
    s = upgrade(port)
    s.sendall(frame(1, b"close me"))
    check("close frame", read_frame(s)[0] == 8)
    check("end of file", s.recv(1) == b"")


def wait_until_full(s):
    """Until what waits in the socket grows no more."""
    waiting, same = -1, 0
    while same < 5:
        now = struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"1234"))[0]
        waiting, same = now, same + 1 if now == waiting and now > 0 else 0
        time.sleep(0.02)


def not_reading(port):
    """Lets the server fill the socket, then reads all of it."""
    s = upgrade(port)
    s.sendall(frame(1, b"flood"))
    wait_until_full(s)
    total = 0
    while True:
        opcode, data = read_frame(s)
        if opcode == 1 and data == b"drained":
            break
        total += len(data)
    check(f"flood complete: {total}", total >= 4 * 65536)
    s.close()


def never_reads(port):
    """Reads nothing until the server can write no more; then there is an end, not ever more."""
    s = upgrade(port)
    s.sendall(frame(1, b"deluge"))
    wait_until_full(s)
    try:
        while s.recv(1 << 20):
            pass
    except ConnectionResetError:
        pass


def gone(port):
    s = upgrade(port)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def fuzz(port):
    rng = random.Random(7)
    for _ in range(300):
        s = upgrade(port)
        for _ in range(20):
            try:
                if rng.random() < 0.3:
                    s.sendall(rng.randbytes(rng.randrange(1, 400)))
                else:
                    s.sendall(frame(rng.choice([0, 1, 2, 8, 9, 10]), rng.randbytes(rng.randrange(300)),
                                    fin=rng.random() < 0.7))
            except OSError:
                break
        s.close()


# ---- servers for our client --------------------------------------------------------------------

async def serve(address):
    """Announces its port on stdout; echoes; some paths behave in other ways."""
    async def handler(ws, path):
        if path == "/headers":
            await ws.send(ws.request_headers.get("X-Key", "") + "|" + ws.request_headers["Host"])
        if path == "/close":
            await ws.close(4003, "server is done")
            return
        if path == "/badutf8":
            ws.transport.write(b"\x81\x02\xc3\x28")
        if path == "/big":
            await ws.send(b"x" * (LIMIT + 1))
        if path == "/bigfragments":
            await ws.send([b"x" * 40000, b"y" * 40000])
        if path == "/fragments":
            await ws.send(["in ", "three ", "pieces"])
        if path == "/audio":
            for n in range(20):
                await ws.send(list('{"audio":"AAECAw==","n":%d}' % n))
        if path == "/vanish":
            ws.transport.abort()
            return
        if path == "/deaf":
            ws.transport.pause_reading()
            await asyncio.sleep(30)
        try:
            async for message in ws:
                await ws.send(message)
        except websockets.ConnectionClosed:
            pass

    async def process_request(path, headers):
        if path == "/401":
            return HTTPStatus(401), [], b"who are you"
        if path == "/503":
            return HTTPStatus(503), [("Retry-After", "1")], b"{}"
        if path == "/redirect":
            return HTTPStatus(302), [("Location", "ws://127.0.0.1:1/")], b""
        if path == "/stall":
            await asyncio.sleep(30)
        return None

    options = dict(compression=None, process_request=process_request, max_size=None,
                   subprotocols=["v1"], ping_interval=None)
    if address.startswith("unix:"):
        server = await websockets.unix_serve(handler, address[5:], **options)
        print("ready", flush=True)
    else:
        tls = None
        if address.startswith("tls:"):
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(address[4:])
        server = await websockets.serve(handler, "127.0.0.1", 0, ssl=tls, **options)
        print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


def main():
    name, address = sys.argv[1], sys.argv[2]
    case = globals()[name]
    if asyncio.iscoroutinefunction(case):
        asyncio.run(case(address))
    else:
        case(address)


main()
