#!/usr/bin/env python3
"""A language model's server for tests: the wires of the chat completions API and of Gemini over a
real socket, with answers, delays and faults as a test asks for them.

    llm_sim.py [--port N] [--tls CERT_AND_KEY.pem] [--ttft-ms 375] [--token-ms 10] [--script FILE]

Prints its port, then serves until it is stopped:
    POST …/chat/completions             OpenAI, streamed or whole
    POST …:streamGenerateContent        Gemini (API key or bearer), POST …/cachedContents beside it
    POST /token                         an OAuth token for a service account's assertion
    POST /_script {answers, rules, ttft_ms, token_ms, hold}    what to answer (also --script FILE);
                                        while `hold` is true nothing is
    GET  /_seen                         the requests so far

`answers` are given in turn, each once. When there are none, the first of `rules` whose `match` is in
the last message, and whose `match_any` is in any, answers; when none does, "You said: …". An answer:
    {"text": "…", "tool_calls": [{"name": "…", "arguments": {…}}], "usage": {…}, "finish": "stop",
     "ttft_ms": 375, "token_ms": 10, "fault": "…"}
Faults: empty (a stream without words) · nothing (200 and no event at all) · cut (the connection
breaks in the middle) · malformed (an event that is no JSON) · slow (no first token for 60 s) ·
stall (half the answer, then silence) · a number (that HTTP status).
"""
import argparse
import asyncio
import json
import re
import ssl
import sys
import time


class Gone(Exception):
    """The client has left."""


class Sim:
    def __init__(self, args):
        self.ttft_ms, self.token_ms = args.ttft_ms, args.token_ms
        self.answers, self.rules, self.seen, self.caches, self.hold = [], [], [], {}, False
        self.connections = self.ids = 0
        if args.script:
            with open(args.script) as f:
                self.configure(json.load(f))

    def configure(self, script):
        self.answers = list(script.get("answers", self.answers))
        self.rules = script.get("rules", self.rules)
        self.ttft_ms = script.get("ttft_ms", self.ttft_ms)
        self.token_ms = script.get("token_ms", self.token_ms)
        self.hold = script.get("hold", self.hold)
        for name in script.get("drop_caches", []):
            self.caches.pop(name, None)

    def next_id(self, kind):
        self.ids += 1
        return "%s_%d" % (kind, self.ids)

    def choose(self, texts):
        if self.answers:
            return self.answers.pop(0)
        said, everything = texts[-1] if texts else "", "\n".join(texts)
        for rule in self.rules:
            if rule.get("match", "") in said and rule.get("match_any", "") in everything:
                return rule
        return {"text": "You said: %s" % said}


def words_of(text):
    """A text as a model's tokens come: words with the blank before them."""
    return re.findall(r"\s*\S+", text) or ([text] if text else [])


def tokens(value):
    return max(1, len(json.dumps(value)) // 4)


class Connection:
    """One client: requests one after another, as long as it keeps the connection."""

    def __init__(self, sim, reader, writer):
        self.sim, self.reader, self.writer = sim, reader, writer
        sim.connections += 1
        self.id = sim.connections

    async def serve(self):
        try:
            while True:
                head = await self.reader.readuntil(b"\r\n\r\n")
                if not await self.answer(head.decode("latin-1")):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, Gone):
            pass
        finally:
            self.writer.close()

    async def answer(self, head):
        lines = head.split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {n.lower(): v.strip() for n, v in (l.split(":", 1) for l in lines[1:] if ":" in l)}
        raw = await self.reader.readexactly(int(headers.get("content-length", 0)))
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw.decode("utf-8", "replace")
        bare = path.split("?", 1)[0]
        if bare == "/_seen":
            return await self.reply(200, self.sim.seen)
        if bare == "/_script":
            self.sim.configure(body)
            return await self.reply(200, {})
        record = {"method": method, "path": path, "headers": headers, "body": body,
                  "connection": self.id, "at_ms": round(time.monotonic() * 1000), "left": False}
        self.sim.seen.append(record)
        if method == "HEAD":
            return await self.reply(200, None)
        if bare == "/token":
            return await self.reply(200, {"access_token": "token-%d" % len(self.sim.seen),
                                          "expires_in": 3600, "token_type": "Bearer"})
        if bare.endswith("/cachedContents") or "/cachedContents/" in bare:
            return await self.cached(method, bare, body)
        try:
            if bare.endswith("/chat/completions"):
                return await OpenAI(self, record, body).run()
            if bare.endswith(":streamGenerateContent"):
                return await Gemini(self, record, body).run()
        except Gone:
            record["left"] = True
            raise
        return await self.reply(404, {"error": {"code": "not_found"}})

    async def cached(self, method, path, body):
        """Gemini's cachedContents: created, renewed, deleted."""
        caches = self.sim.caches
        if method == "POST":
            name = "cachedContents/" + self.sim.next_id("c")
            caches[name] = body
            return await self.reply(200, {"name": name, "model": body.get("model"),
                                          "usageMetadata": {"totalTokenCount": tokens(body)}})
        name = path[path.index("cachedContents/"):]
        if name not in caches:
            return await self.reply(403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
        if method == "DELETE":
            del caches[name]
        return await self.reply(200, {"name": name})

    async def reply(self, status, value):
        body = b"" if value is None else json.dumps(value).encode()
        self.writer.write(("HTTP/1.1 %d X\r\nContent-Type: application/json\r\n"
                           "Content-Length: %d\r\n\r\n" % (status, len(body))).encode() + body)
        await self.writer.drain()
        return True

    # -- streamed answers
    async def begin(self):
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                          b"Transfer-Encoding: chunked\r\n\r\n")
        await self.writer.drain()

    async def event(self, text):
        piece = ("data: %s\n\n" % text).encode()
        self.writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        await self.writer.drain()

    async def end(self):
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()
        return True

    async def pause(self, ms):
        """Time passes; the client may leave meanwhile."""
        until = time.monotonic() + ms / 1000
        while True:
            if self.reader.at_eof() or self.writer.is_closing():
                raise Gone()
            left = until - time.monotonic()
            if left <= 0:
                return
            await asyncio.sleep(min(left, 0.02))


class Model:
    """What the two wires share: the order of an answer, its delays and its faults."""

    def __init__(self, connection, record, body):
        self.connection, self.sim, self.record, self.body = connection, connection.sim, record, body

    async def run(self):
        if self.cache_is_gone():
            return await self.connection.reply(
                403, {"error": {"code": 403, "status": "PERMISSION_DENIED"}})
        while self.sim.hold:
            await self.connection.pause(20)
        answer = self.plan = self.sim.choose(self.texts())
        fault = answer.get("fault")
        if isinstance(fault, int):
            await self.connection.pause(answer.get("ttft_ms", 0))
            return await self.connection.reply(fault, self.failure(fault))
        if not self.streams():
            return await self.connection.reply(200, self.whole())
        await self.connection.begin()
        if fault == "nothing":
            return await self.connection.end()
        await self.connection.pause(60000 if fault == "slow" else
                                    answer.get("ttft_ms", self.sim.ttft_ms))
        pieces = words_of(answer.get("text", "")) if fault != "empty" else []
        half = max(1, len(pieces) // 2)
        for i, piece in enumerate(pieces):
            if i == half and fault in ("cut", "stall", "malformed"):
                if not await self.break_off(fault):
                    return False
            await self.connection.event(json.dumps(self.piece(piece)))
            await self.connection.pause(answer.get("token_ms", self.sim.token_ms))
        if fault in ("cut", "malformed"):
            return await self.break_off(fault)
        if fault != "empty":
            for call in answer.get("tool_calls", []):
                for chunk in self.call_pieces(call):
                    await self.connection.event(json.dumps(chunk))
        for chunk in self.closing():
            await self.connection.event(chunk if isinstance(chunk, str) else json.dumps(chunk))
        return await self.connection.end()

    async def break_off(self, fault):
        if fault == "malformed":
            await self.connection.event("{this is no JSON")
            return True
        if fault == "stall":
            await self.connection.pause(60000)
        self.connection.writer.transport.abort()
        return False

    def usage(self):
        """[prompt, completion, cached] tokens."""
        given = self.plan.get("usage", {})
        return (given.get("prompt", tokens(self.body)),
                given.get("completion", len(words_of(self.plan.get("text", ""))) or 1),
                given.get("cached", 0))

    def cache_is_gone(self):
        return False


class OpenAI(Model):
    def texts(self):
        return [m["content"] for m in self.body.get("messages", []) if m.get("content")]

    def streams(self):
        return self.body.get("stream", False)

    def failure(self, status):
        return {"error": {"message": "a sentence that may quote the prompt", "type": "sim",
                          "code": "rate_limit_exceeded" if status == 429 else "server_error"}}

    def chunk(self, delta, finish=None):
        return {"id": "sim", "object": "chat.completion.chunk", "model": self.body.get("model"),
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}

    def piece(self, text):
        return self.chunk({"content": text})

    def call_pieces(self, call):
        index, text = self.calls_so_far(), json.dumps(call.get("arguments", {}))
        half = len(text) // 2
        yield self.chunk({"tool_calls": [{
            "index": index, "id": self.sim.next_id("call"), "type": "function",
            "function": {"name": call["name"], "arguments": ""}}]})
        for part in (text[:half], text[half:]):
            yield self.chunk({"tool_calls": [{"index": index, "function": {"arguments": part}}]})

    def calls_so_far(self):
        self.calls = getattr(self, "calls", -1) + 1
        return self.calls

    def usage_object(self):
        prompt, completion, cached = self.usage()
        return {"prompt_tokens": prompt, "completion_tokens": completion,
                "total_tokens": prompt + completion,
                "prompt_tokens_details": {"cached_tokens": cached}}

    def finish(self):
        return self.plan.get("finish") or ("tool_calls" if self.plan.get("tool_calls") else "stop")

    def closing(self):
        yield self.chunk({}, self.finish())
        if self.body.get("stream_options", {}).get("include_usage"):
            yield {"id": "sim", "object": "chat.completion.chunk", "choices": [],
                   "usage": self.usage_object()}
        yield "[DONE]"

    def whole(self):
        return {"id": "sim", "object": "chat.completion", "usage": self.usage_object(), "choices": [
            {"index": 0, "finish_reason": self.finish(),
             "message": {"role": "assistant", "content": self.plan.get("text", "")}}]}


class Gemini(Model):
    def texts(self):
        return [p["text"] for c in self.body.get("contents", []) for p in c["parts"] if "text" in p]

    def streams(self):
        return True

    def failure(self, status):
        return {"error": {"code": status, "message": "a sentence that may quote the prompt",
                          "status": "RESOURCE_EXHAUSTED" if status == 429 else "INTERNAL"}}

    def cache_is_gone(self):
        name = self.body.get("cachedContent")
        return name is not None and name not in self.sim.caches

    def chunk(self, parts, finish=None):
        candidate = {"content": {"role": "model", "parts": parts}, "index": 0}
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "modelVersion": "sim"}

    def piece(self, text):
        return self.chunk([{"text": text}])

    def call_pieces(self, call):
        yield self.chunk([{"functionCall": {"name": call["name"],
                                            "args": call.get("arguments", {})},
                           "thoughtSignature": self.sim.next_id("signature")}])

    def closing(self):
        prompt, completion, cached = self.usage()
        name = self.body.get("cachedContent")
        if name:
            cached = cached or tokens(self.sim.caches[name])
            prompt += cached
        finish = {"stop": "STOP", "length": "MAX_TOKENS"}.get(self.plan.get("finish", "stop"))
        last = self.chunk([], finish)
        last["usageMetadata"] = {"promptTokenCount": prompt, "candidatesTokenCount": completion,
                                 "cachedContentTokenCount": cached}
        yield last


async def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--tls")
    p.add_argument("--ttft-ms", type=float, default=375)
    p.add_argument("--token-ms", type=float, default=10)
    p.add_argument("--script")
    args = p.parse_args()
    sim = Sim(args)
    context = None
    if args.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.tls)

    async def client(reader, writer):
        await Connection(sim, reader, writer).serve()

    server = await asyncio.start_server(client, "127.0.0.1", args.port, ssl=context, limit=1 << 22)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
