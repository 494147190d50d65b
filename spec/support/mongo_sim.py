# A server that speaks MongoDB's wire (OP_MSG) as the primary of a replica set and answers as told:
#   mongo_sim.py PORT ANSWERS   ANSWERS: JSON {command: reply, or "close"}; else {"ok": 1}
# Prints each command it gets, but for the driver's own, as one line of JSON, with its connection.
import json
import socketserver
import struct
import sys

OP_MSG, HEADER = 2013, struct.Struct("<iiii")
PORT, ANSWERS = int(sys.argv[1]), json.loads(sys.argv[2])
NAME = "127.0.0.1:%d" % PORT
HELLO = {
    "ok": 1.0, "isWritablePrimary": True, "ismaster": True, "setName": "rs", "hosts": [NAME],
    "me": NAME, "setVersion": 1, "maxBsonObjectSize": 16777216, "maxMessageSizeBytes": 48000000,
    "maxWriteBatchSize": 100000, "minWireVersion": 0, "maxWireVersion": 17, "readOnly": False,
    "logicalSessionTimeoutMinutes": 30,
}


def encode(doc):
    out = b""
    pairs = doc.items() if isinstance(doc, dict) else ((str(i), v) for i, v in enumerate(doc))
    for key, value in pairs:
        name = key.encode() + b"\0"
        if isinstance(value, bool):
            out += b"\x08" + name + (b"\1" if value else b"\0")
        elif isinstance(value, int):
            out += b"\x10" + name + struct.pack("<i", value)
        elif isinstance(value, float):
            out += b"\x01" + name + struct.pack("<d", value)
        elif isinstance(value, str):
            text = value.encode() + b"\0"
            out += b"\x02" + name + struct.pack("<i", len(text)) + text
        else:
            out += (b"\x03" if isinstance(value, dict) else b"\x04") + name + encode(value)
    return struct.pack("<i", len(out) + 5) + out + b"\0"


def decode(data, at=0):
    doc, end = {}, at + struct.unpack_from("<i", data, at)[0] - 1
    at += 4
    while at < end:
        kind, stop = data[at], data.index(0, at + 1)
        key, at = data[at + 1:stop].decode(), stop + 1
        if kind in (3, 4):
            value, size = decode(data, at), struct.unpack_from("<i", data, at)[0]
            value = value if kind == 3 else list(value.values())
        elif kind == 2:
            size = 4 + struct.unpack_from("<i", data, at)[0]
            value = data[at + 4:at + size - 1].decode()
        elif kind == 5:
            size = 5 + struct.unpack_from("<i", data, at)[0]
            value = data[at + 5:at + size].hex()
        elif kind == 8:
            value, size = bool(data[at]), 1
        elif kind == 10:
            value, size = None, 0
        else:
            form, size = {1: ("<d", 8), 7: ("<12s", 12), 9: ("<q", 8), 16: ("<i", 4),
                          17: ("<q", 8), 18: ("<q", 8)}[kind]
            value = struct.unpack_from(form, data, at)[0]
            value = value.hex() if isinstance(value, bytes) else value
        doc[key], at = value, at + size
    return doc


class Client(socketserver.BaseRequestHandler):
    def read(self, size):
        data = b""
        while len(data) < size:
            piece = self.request.recv(size - len(data))
            if not piece:
                raise ConnectionError
            data += piece
        return data

    def answer(self, request, doc):
        body = b"\0\0\0\0\0" + encode(doc)
        self.request.sendall(HEADER.pack(16 + len(body), 0, request, OP_MSG) + body)

    def hello_of_old(self, request):
        body = struct.pack("<iqii", 8, 0, 0, 1) + encode(HELLO)
        self.request.sendall(HEADER.pack(16 + len(body), 0, request, 1) + body)

    def handle(self):
        while True:
            try:
                size, request, _, code = HEADER.unpack(self.read(16))
                data = self.read(size - 16)
            except ConnectionError:
                return
            if code != OP_MSG:
                self.hello_of_old(request)
                continue
            command = decode(data, 5)
            name = next(iter(command))
            if name in ("hello", "ismaster", "isMaster", "endSessions"):
                self.answer(request, HELLO)
                continue
            command["connection"] = self.client_address[1]
            sys.stdout.write(json.dumps(command) + "\n")
            sys.stdout.flush()
            reply = ANSWERS.get(name, {"ok": 1})
            if reply == "close":
                return
            self.answer(request, reply)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


with Server(("127.0.0.1", PORT), Client) as server:
    print(json.dumps({"listening": PORT}), flush=True)
    server.serve_forever()
