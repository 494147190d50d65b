"""ElevenLabs, OpenAI speech and Sarvam."""
import array
import asyncio
import base64
import functools
import json
import math
import re
import time

from net import Channel

PIECE_MS = 100


@functools.lru_cache(maxsize=4096)
def tone(hz, rate, first, last):
    """Samples first … last - 1 of a sentence."""
    return array.array("h", (int(8000 * math.sin(2 * math.pi * hz * i / rate)) for i in range(first, last))).tobytes()


class Voice:
    """Sentences of one connection or request."""

    def __init__(self, world, provider, rate):
        self.world, self.provider, self.rate = world, provider, rate
        take = world.fault
        self.silent = take(provider, "silent") is not None
        self.garbage = take(provider, "garbage") is not None
        self.slow = take(provider, "slow") or {"ms": 0}
        self.cut = take(provider, "cut")
        self.stall = take(provider, "stall") is not None

    async def speak(self, text, send):
        """Calls send(pcm, from_ms) for each piece. False: it must say no more; None: it must break off."""
        if self.silent:
            return False
        world = self.world
        hz = 400 + 50 * (len(world.said) % 16)
        ms = max(1, len(text.split())) * world.word_ms
        entry = {"provider": self.provider, "text": text, "hz": hz, "ms": ms, "rate": self.rate, "sent_ms": 0,
                 "asked_ms": int(time.monotonic() * 1000)}
        world.said.append(entry)
        await asyncio.sleep((world.tts_ms + self.slow["ms"]) / 1000)
        samples, began = self.rate * ms // 1000, time.monotonic()
        step = self.rate * PIECE_MS // 1000
        for at in range(0, samples, step):
            if self.cut and (time.monotonic() - began) * 1000 >= self.cut["after_ms"]:
                return None
            if self.stall and at > step:
                return False
            await send(tone(hz, self.rate, at, min(at + step, samples)), at * 1000 // self.rate)
            entry["sent_ms"] += PIECE_MS
            await asyncio.sleep(PIECE_MS / 1000 / 10)  # ten times as fast as it is spoken
        return True


class Socket:
    """What the two WebSockets share: messages come in while audio goes out."""

    def __init__(self, world, request, provider):
        self.world, self.provider = world, provider
        self.entry = world.connection(provider)
        self.entry["query"] = request.query_string
        self.channel = Channel(request)
        self.task = None
        world.open.setdefault(provider, set()).add(self.channel)

    def wrong(self, text):
        self.world.violation(self.provider, text)

    def send(self, message):
        self.channel.send("{not json" if self.voice.garbage else json.dumps(message))

    async def run(self, idle_s):
        try:
            while True:
                text = await self.channel.receive(idle_s)
                if text is None:
                    break
                if not isinstance(text, str):
                    self.wrong("a binary message")
                    continue
                self.entry["messages"].append(text)
                try:
                    self.message(json.loads(text))
                except (ValueError, KeyError, TypeError, AttributeError):
                    self.wrong("message %s" % text[:200])
        except asyncio.TimeoutError:
            self.entry["idle"] = True
            self.channel.close(1008, "input timeout exceeded")
        finally:
            self.entry["code"] = self.channel.code
            self.world.open[self.provider].discard(self.channel)
            if self.task:
                self.task.cancel()

    def start(self, text):
        self.task = asyncio.ensure_future(self.speak(text))


def keyed(world, provider, request, header):
    if request.headers.get(header) == world.key:
        return True
    if header not in request.headers:
        world.violation(provider, "no header " + header)
    return False


def pcm_rate(world, provider, request):
    output = request.query.get("output_format", [""])[0]
    if output not in ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000"):
        world.violation(provider, "output_format=%s" % output)
        return 8000
    return int(output[4:])


ELEVEN_QUERY = {"model_id", "output_format", "language_code", "inactivity_timeout", "enable_logging",
                "apply_text_normalization"}


def eleven_query(world, request):
    for name in sorted(set(request.query) - ELEVEN_QUERY):
        world.violation("elevenlabs", "unknown query field " + name)
    if not request.query.get("model_id", [""])[0].startswith("eleven_"):
        world.violation("elevenlabs", "model_id expected")


def eleven_settings(world, settings):
    if not isinstance(settings, dict) or not 0.7 <= settings.get("speed", 1) <= 1.2:
        world.violation("elevenlabs", "voice_settings %s" % json.dumps(settings))


class ElevenLabs(Socket):
    text = None  # None: not begun

    def message(self, message):
        extra = set(message) - {"text", "flush", "voice_settings", "generation_config"}
        if extra or not isinstance(message["text"], str):
            self.wrong("message fields %s" % sorted(extra))
        if self.text is None:
            if message["text"] != " ":
                self.wrong("the first text is not a blank")
            eleven_settings(self.world, message.get("voice_settings"))
            self.text = ""
        elif message["text"] == "":
            if not self.task:
                self.start(self.text.strip())
            self.ended = True
        else:
            if not message["text"].endswith(" "):
                self.wrong("a text that does not end with a blank")
            self.text += message["text"]
            if message.get("flush") and not self.task:
                self.start(self.text.strip())

    ended = False

    async def speak(self, text):
        letters, done = list(text), 0
        total_ms = max(1, len(text.split())) * self.world.word_ms
        each = total_ms / max(1, len(letters))

        async def send(pcm, from_ms):
            nonlocal done
            upto = min(len(letters), int((from_ms + PIECE_MS) / each) + 1)
            timed = {"chars": letters[done:upto],
                     "charStartTimesMs": [int(i * each - from_ms) for i in range(done, upto)],
                     "charDurationsMs": [int(each)] * (upto - done)}
            done = upto
            self.send({"audio": base64.b64encode(pcm).decode(), "isFinal": None, "alignment": timed,
                       "normalizedAlignment": timed})

        result = await self.voice.speak(text, send)
        if result is None:
            return self.channel.abort()
        while result and not self.ended:  # it is the end of the text that makes an answer final
            await asyncio.sleep(0.005)
        if result:
            self.send({"audio": None, "isFinal": True, "alignment": None, "normalizedAlignment": None})
            self.channel.close(1000)


async def elevenlabs(world, request):
    eleven_query(world, request)
    socket = ElevenLabs(world, request, "elevenlabs")
    socket.voice = Voice(world, "elevenlabs", pcm_rate(world, "elevenlabs", request))
    if not keyed(world, "elevenlabs", request, "xi-api-key"):
        # the connection is made, and what is wrong with the key is a message
        socket.channel.send(json.dumps({"message": "Invalid API key " + request.headers.get("xi-api-key", ""),
                                        "error": "invalid_api_key", "code": 1008}))
        socket.channel.close(1008, "Invalid API key")
    await socket.run(int(request.query.get("inactivity_timeout", ["20"])[0]))


class Sarvam(Socket):
    config = None

    def message(self, message):
        kind, data = message["type"], message.get("data", {})
        if kind == "ping":
            return
        if kind == "config":
            self.config = data
            for name in ("target_language_code", "speaker"):
                if not data.get(name):
                    self.wrong("config without " + name)
            check_sarvam(self.world, data)
            self.voice = Voice(self.world, "sarvam", data.get("speech_sample_rate", 22050))
            self.text = ""
        elif self.config is None:
            self.wrong("%s before config" % kind)
        elif kind == "text":
            if not 0 < len(data["text"]) <= 2500:
                self.wrong("a text of %d characters" % len(data["text"]))
            self.text += data["text"]
        elif kind == "flush":
            self.start(self.text)
            self.text = ""
        else:
            self.wrong("message type " + kind)

    async def speak(self, text):
        async def send(pcm, _):
            self.send({"type": "audio", "data": {"content_type": "audio/linear16", "request_id": "r",
                                                 "audio": base64.b64encode(pcm).decode()}})
        result = await self.voice.speak(text, send)
        if result is None:
            self.channel.abort()
        elif result:
            self.send({"type": "event", "data": {"event_type": "final", "timestamp": "now"}})


SARVAM_FIELDS = {"target_language_code", "speaker", "pitch", "pace", "loudness", "temperature", "speech_sample_rate",
                 "enable_preprocessing", "output_audio_codec", "min_buffer_size", "max_chunk_length"}


def check_sarvam(world, data):
    for name in sorted(set(data) - SARVAM_FIELDS):
        world.violation("sarvam", "field " + name)
    if data.get("output_audio_codec") != "linear16" or data.get("speech_sample_rate") not in (8000, 16000, 22050, 24000):
        world.violation("sarvam", "codec %s at %s" % (data.get("output_audio_codec"), data.get("speech_sample_rate")))
    if not 0.3 <= data.get("pace", 1) <= 3:
        world.violation("sarvam", "pace %s" % data.get("pace"))


async def sarvam(world, request):
    if not keyed(world, "sarvam", request, "api-subscription-key"):
        return request.respond(403, '{"error":{"message":"Invalid API key","code":"invalid_api_key_error"}}',
                               "application/json")
    if set(request.query) != {"model", "send_completion_event"} or not request.query["model"][0].startswith("bulbul:"):
        world.violation("sarvam", "query %s" % request.query_string)
    await Sarvam(world, request, "sarvam").run(60)


# ---- HTTP ----------------------------------------------------------------------------------------

async def stream(world, request, provider, text, rate):
    """The audio as the body of the answer."""
    entry = world.connection(provider + "_http")
    entry["messages"].append(request.body.decode())
    voice, begun = Voice(world, provider, rate), False

    async def send(pcm, _):
        nonlocal begun
        if not begun:
            begun = True
            request.begin(200, "audio/pcm")
        await request.piece(pcm)

    result = await voice.speak(text, send)
    if result is None:
        request.abort()
    elif result is False:
        await request.reader.read(1)  # until the client has had enough
    else:
        if voice.garbage:
            await request.piece(b"\x01")
        request.finish()


def json_body(world, provider, request, allowed):
    try:
        body = json.loads(request.body)
    except ValueError:
        body = {}
        world.violation(provider, "the body is no JSON")
    for name in sorted(set(body) - allowed):
        world.violation(provider, "body field " + name)
    if request.headers.get("content-type") != "application/json":
        world.violation(provider, "content-type %s" % request.headers.get("content-type"))
    return body


async def elevenlabs_http(world, request):
    eleven_query(world, request)
    if not keyed(world, "elevenlabs", request, "xi-api-key"):
        return request.respond(401, '{"detail":{"status":"invalid_api_key","message":"Invalid API key"}}',
                               "application/json")
    body = json_body(world, "elevenlabs", request, {"text", "model_id", "language_code", "voice_settings"})
    eleven_settings(world, body.get("voice_settings"))
    await stream(world, request, "elevenlabs", body.get("text", ""), pcm_rate(world, "elevenlabs", request))


async def openai(world, request):
    key = request.headers.get("authorization", "")
    if key != "Bearer " + world.key:
        if not key.startswith("Bearer "):
            world.violation("openai", "Authorization is not 'Bearer …'")
        return request.respond(401, json.dumps({"error": {"message": "Incorrect API key provided: " + key[7:],
                                                          "code": "invalid_api_key"}}), "application/json")
    body = json_body(world, "openai", request, {"model", "input", "voice", "response_format", "speed", "instructions"})
    if body.get("response_format") != "pcm" or not body.get("model") or not body.get("voice"):
        world.violation("openai", "body %s" % request.body.decode()[:200])
    if not 0.25 <= body.get("speed", 1) <= 4:
        world.violation("openai", "speed %s" % body.get("speed"))
    await stream(world, request, "openai", body.get("input", ""), 24000)


async def sarvam_http(world, request):
    if not keyed(world, "sarvam", request, "api-subscription-key"):
        return request.respond(403, '{"error":{"message":"Invalid API key"}}', "application/json")
    body = json_body(world, "sarvam", request, SARVAM_FIELDS | {"text", "model"})
    check_sarvam(world, {name: value for name, value in body.items() if name not in ("text", "model")})
    await stream(world, request, "sarvam", body.get("text", ""), body.get("speech_sample_rate", 22050))


ROUTES = [
    (re.compile("/v1/text-to-speech/[^/]+/stream-input"), True, "elevenlabs", elevenlabs),
    (re.compile("/v1/text-to-speech/[^/]+/stream"), False, "elevenlabs", elevenlabs_http),
    (re.compile("/v1/audio/speech"), False, "openai", openai),
    (re.compile("/text-to-speech/ws"), True, "sarvam", sarvam),
    (re.compile("/text-to-speech/stream"), False, "sarvam", sarvam_http),
]
