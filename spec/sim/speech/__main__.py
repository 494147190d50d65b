#!/usr/bin/python3
"""The paid speech providers, simulated on one port of 127.0.0.1: Deepgram (streaming and Flux), Soniox,
ElevenLabs, OpenAI speech, Sarvam. Each speaks its provider's protocol over a real socket and is strict
about it: a wrong header, query or message is answered as the provider would and kept as a violation.

  /usr/bin/python3 spec/sim/speech --port 9600 --key secret --stt-ms 350 --tts-ms 100 \\
      --say "when do you open" --say "thank you goodbye"

prints one line, the port, when it listens. A bot uses it by
  "stt":{"provider":"deepgram","api_key":"secret","url":"ws://127.0.0.1:9600"},
  "tts":{"provider":"elevenlabs","api_key":"secret","url":"http://127.0.0.1:9600"}

Speech to text hears when somebody speaks by the energy of the audio. Each stretch of speech (--silence
ms of quiet end it, Deepgram's own `endpointing` of 10 ms unless the query says otherwise) is the next of the --say texts, of which words become known as it goes on; the final
text comes --stt-ms after the stretch has ended or was asked for. The texts go round per connection of
one caller: --say counts over all connections, so that a reconnect goes on where the lost one was.

Text to speech answers --tts-ms after it was asked with a tone of --word ms a word, of a frequency of its
own for each sentence (400 Hz, 450, … 1,150, again), so that what is heard can be told apart.

What a test may ask of it, JSON over plain HTTP:
  GET  /_log      {"violations":[…],"connections":[{"provider","n","audio_ms","messages","first_ms"…}],
                   "said":[{"provider","text","hz","ms","rate","sent_ms","asked_ms"}],"heard":[…],
                   "warmed": how often /v1/models was asked, to have a connection}
  POST /_script   any of: "say":[…] (from its beginning again), "stt_ms", "tts_ms", "key", "faults":[…]
A fault is for the next connection or request of its provider, once:
  {"provider":"elevenlabs","do":"status","status":503}   refused with this status
  {"provider":"deepgram","do":"cut","after_ms":800}      the socket is dropped without a goodbye; for
                                                         text to speech counted from the first audio
  {"provider":…,"do":"silent"}      takes everything and never answers
  {"provider":…,"do":"stall"}       text to speech: begins, and says no more
  {"provider":…,"do":"garbage"}     answers with what is no JSON (HTTP: half a sample too much)
  {"provider":…,"do":"slow","ms":3000}    first byte so much later
"cut" may also be ordered for what is open now: POST /_cut {"provider":"deepgram"}; /_refuse
{"provider","status"} makes a provider refuse everything until {"provider","status":0}."""
import argparse
import asyncio
import json
import time

import net
import stt
import tts


class World:
    """What was scripted, and what has happened."""

    def __init__(self, options):
        self.key = options.key
        self.stt_ms, self.tts_ms = options.stt_ms, options.tts_ms
        self.silence_ms, self.word_ms = options.silence, options.word
        self.say, self.next_say = options.say, 0
        self.faults, self.refused, self.open = [], {}, {}
        self.violations, self.connections, self.said, self.heard, self.warmed = [], [], [], [], 0

    def violation(self, provider, text):
        self.violations.append("%s: %s" % (provider, text))

    def connection(self, provider):
        entry = {"provider": provider, "n": 1 + sum(c["provider"] == provider for c in self.connections),
                 "audio_ms": 0, "messages": []}
        self.connections.append(entry)
        return entry

    def fault(self, provider, *kinds):
        """The next fault scripted for this provider, of one of these kinds; it is used up."""
        for fault in self.faults:
            if fault["provider"] == provider and fault["do"] in kinds:
                self.faults.remove(fault)
                return fault
        return None

    def next_text(self):
        if not self.say:
            return "hello"
        text = self.say[self.next_say % len(self.say)]
        self.next_say += 1
        return text

    def log(self):
        return {"violations": self.violations, "connections": self.connections, "said": self.said,
                "heard": self.heard, "warmed": self.warmed}

    def script(self, change):
        for name, value in change.items():
            setattr(self, name, value)
        if "say" in change:
            self.next_say = 0


def control(world, request):
    body = json.loads(request.body or b"{}")
    if request.path == "/_log":
        answer = world.log()
    elif request.path == "/_script":
        answer = world.script(body)
    elif request.path == "/_cut":
        answer = {"at_ms": int(time.monotonic() * 1000)}
        for channel in list(world.open.get(body["provider"], ())):
            channel.abort()
    elif request.path == "/_refuse":
        world.refused[body["provider"]] = body["status"]
        answer = None
    else:
        return False
    request.respond(200, json.dumps(answer), "application/json")
    return True


async def serve(world, request):
    if control(world, request):
        return
    if request.path == "/v1/models":  # asked ahead, to have a connection
        world.warmed += 1
        return request.respond(200, '{"data":[]}', "application/json")
    provider, handler = None, None
    for table in (stt.ROUTES, tts.ROUTES):
        for pattern, upgrade, name, function in table:
            if pattern.fullmatch(request.path) and upgrade == request.upgrade:
                provider, handler = name, function
    if not handler:
        world.violation("?", "%s %s" % (request.method, request.path))
        return request.respond(404, '{"error":"not found"}', "application/json")
    fault = world.fault(provider, "status")
    status = world.refused.get(provider) or (fault and fault["status"])
    if status:
        quoted = {"detail": [{"type": "scripted", "input": (request.body or b"").decode()}]}
        return request.respond(status, json.dumps(quoted), "application/json")
    await handler(world, request)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--key", default="secret")
    parser.add_argument("--say", action="append", default=[])
    parser.add_argument("--stt-ms", type=int, default=350)
    parser.add_argument("--tts-ms", type=int, default=100)
    parser.add_argument("--silence", type=int, default=300)
    parser.add_argument("--word", type=int, default=300)
    world = World(parser.parse_args())
    server = await asyncio.start_server(lambda r, w: net.connection(r, w, lambda q: serve(world, q)),
                                        "127.0.0.1", parser.parse_args().port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        pass
