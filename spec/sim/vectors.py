"""A store of vectors and the model that makes them, for the specs: Qdrant's REST (collections,
points, search, delete by filter) and an OpenAI-compatible /v1/embeddings. The model knows a few
synonyms: words of one family have one direction. Prints its port. While the file named by the
argument exists every request waits 5 s.

  GET /_seen -> requests so far, {method, path, key, authorization}
"""
import json
import math
import os
import sys
import time
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

stall = sys.argv[1]
families = [{"car", "automobile", "vehicle"}, {"doctor", "physician"}, {"cheap", "affordable"}]
collections, seen = {}, []


def vector(text, size):
    out = [0.0] * size
    for word in text.lower().replace(".", " ").replace("?", " ").split():
        family = next((n for n, words in enumerate(families) if word in words), None)
        place = zlib.crc32(word.encode()) if family is None else 7919 * (family + 1)
        out[place % size] += 1.0 if family is None else 3.0
    return out


def cosine(a, b):
    norm = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b)) / norm if norm else 0.0


def matches(payload, condition):
    match, value = condition["match"], payload.get(condition["key"])
    return value in match["any"] if "any" in match else value == match["value"]


def kept(points, conditions):
    return [p for p in points if all(matches(p["payload"], c) for c in conditions["must"])]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or "{}")

    def note(self):
        seen.append({"method": self.command, "path": self.path,
                     "key": self.headers.get("api-key"),
                     "authorization": self.headers.get("authorization")})
        if os.path.exists(stall):
            time.sleep(5)

    def do_GET(self):
        if self.path == "/_seen":
            return self.answer(200, seen)
        self.note()
        name = self.path.split("/")[2]
        if name not in collections:
            return self.answer(404, {"status": {"error": "Not found"}})
        self.answer(200, {"result": {"status": "green"}, "status": "ok"})

    def do_PUT(self):
        body = self.body()
        self.note()
        parts = self.path.split("?")[0].split("/")
        if len(parts) == 3:
            collections[parts[2]] = {"size": body["vectors"]["size"], "points": {}}
            return self.answer(200, {"result": True, "status": "ok"})
        collection = collections[parts[2]]
        for point in body["points"]:
            if len(point["vector"]) != collection["size"]:
                return self.answer(400, {"status": {"error": "Wrong vector size"}})
            collection["points"][point["id"]] = point
        self.answer(200, {"result": {"status": "completed"}, "status": "ok"})

    def do_POST(self):
        body = self.body()
        self.note()
        if self.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": n, "embedding": vector(t, body["dimensions"])}
                    for n, t in enumerate(body["input"])]
            return self.answer(200, {"object": "list", "data": data[::-1]})
        path = self.path.split("?")[0]
        collection = collections.get(path.split("/")[2])
        if not collection:
            return self.answer(404, {"status": {"error": "Not found"}})
        points = kept(collection["points"].values(), body["filter"])
        if path.endswith("/points/delete"):
            for point in points:
                del collection["points"][point["id"]]
            return self.answer(200, {"result": {"status": "completed"}, "status": "ok"})
        hits = sorted(((cosine(body["vector"], p["vector"]), p) for p in points),
                      key=lambda hit: -hit[0])[:body["limit"]]
        self.answer(200, {"status": "ok", "result": [
            {"id": p["id"], "version": 1, "score": score, "payload": p["payload"]}
            for score, p in hits]})


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
