"""HTTP/1.1 and WebSockets on one port: plain requests by hand, upgrades by the websockets library's
protocol state machine."""
import asyncio
import urllib.parse

from websockets.connection import State
from websockets.frames import Opcode
from websockets.server import ServerConnection


class Request:
    def __init__(self, reader, writer, head, body):
        lines = head.decode("latin-1").split("\r\n")
        self.method, target, _ = lines[0].split(" ", 2)
        self.headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if colon:
                self.headers[name.strip().lower()] = value.strip()
        self.path, _, self.query_string = target.partition("?")
        self.path = urllib.parse.unquote(self.path)
        self.query = urllib.parse.parse_qs(self.query_string, keep_blank_values=True)
        self.upgrade = self.headers.get("upgrade", "").lower() == "websocket"
        self.reader, self.writer, self.head, self.body = reader, writer, head, body
        self.keep = self.headers.get("connection", "").lower() != "close"

    def respond(self, status, text, kind):
        data = text.encode()
        self.writer.write(("HTTP/1.1 %d Scripted\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
                           % (status, kind, len(data))).encode() + (b"" if self.method == "HEAD" else data))

    def begin(self, status, kind):
        self.writer.write(("HTTP/1.1 %d OK\r\nContent-Type: %s\r\nTransfer-Encoding: chunked\r\n\r\n"
                           % (status, kind)).encode())

    async def piece(self, data):
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))
        await self.writer.drain()

    def finish(self):
        self.writer.write(b"0\r\n\r\n")

    def abort(self):
        self.keep = False
        self.writer.transport.abort()


class Channel:
    """A WebSocket that was accepted. receive() gives str, bytes, or None when it is closed."""

    def __init__(self, request):
        self.reader, self.writer = request.reader, request.writer
        self.ws = ServerConnection(max_size=1 << 22)
        self.ws.receive_data(request.head + b"\r\n\r\n")
        self.ws.send_response(self.ws.accept(self.ws.events_received()[0]))
        self.inbox, self.code = [], None
        self.flush()

    def flush(self):
        for data in self.ws.data_to_send():
            if data and not self.writer.transport.is_closing():
                self.writer.write(data)

    async def receive(self, timeout=None):
        """asyncio.TimeoutError when nothing comes in `timeout` seconds."""
        while not self.inbox:
            if self.ws.state is State.CLOSED or self.writer.transport.is_closing():
                return None
            data = await asyncio.wait_for(self.reader.read(65536), timeout)
            if data:
                self.ws.receive_data(data)
            else:
                self.ws.receive_eof()
                self.writer.close()
            for frame in self.ws.events_received():
                if frame.opcode is Opcode.TEXT:
                    self.inbox.append(frame.data.decode())
                elif frame.opcode is Opcode.BINARY:
                    self.inbox.append(bytes(frame.data))
                elif frame.opcode is Opcode.CLOSE:
                    self.code = self.ws.close_code
                    self.flush()
                    self.writer.close()
            self.flush()
        return self.inbox.pop(0)

    def send(self, text):
        if self.ws.state is State.OPEN:
            self.ws.send_text(text.encode())
            self.flush()

    def close(self, code, reason=""):
        if self.ws.state is State.OPEN:
            self.ws.send_close(code, reason)
            self.flush()

    def abort(self):
        self.writer.transport.abort()


async def connection(reader, writer, handle):
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            head = head[:-4]
            request = Request(reader, writer, head, b"")
            request.body = await reader.readexactly(int(request.headers.get("content-length", 0)))
            await handle(request)
            if request.upgrade or not request.keep:
                break
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
        pass
    finally:
        writer.close()
