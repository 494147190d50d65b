"""Deepgram, Deepgram Flux and Soniox."""
import asyncio
import json
import re
import time

from hearing import Hearing
from net import Channel

MODELS = {"deepgram": re.compile(r"nova-[23].*|enhanced|base"), "flux": re.compile(r"flux-general-(en|multi)")}
DEEPGRAM_QUERY = {"model", "language", "encoding", "sample_rate", "channels", "interim_results", "punctuate",
                  "smart_format", "endpointing", "vad_events", "utterance_end_ms", "keyterm", "numerals",
                  "profanity_filter", "diarize"}
FLUX_QUERY = {"model", "encoding", "sample_rate", "eot_threshold", "eager_eot_threshold", "eot_timeout_ms",
              "keyterm", "language_hint"}
SONIOX_CONFIG = {"model", "audio_format", "sample_rate", "num_channels", "enable_endpoint_detection",
                 "language_hints", "language_hints_strict", "context", "enable_speaker_diarization",
                 "enable_language_identification", "client_reference_id"}


class Stream:
    """One connection of a caller. A subclass says what its provider says."""
    provider = ""

    def __init__(self, world, request):
        self.world, self.request = world, request
        self.entry = world.connection(self.provider)
        self.entry["query"] = request.query_string
        self.tasks = set()

    def wrong(self, text):
        self.world.violation(self.provider, text)

    def later(self, ms, function, *args):
        async def run():
            await asyncio.sleep(ms / 1000)
            function(*args)
        task = asyncio.ensure_future(run())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def send(self, **message):
        if not self.silent:
            self.channel.send("{not json" if self.garbage else json.dumps(message))
            self.garbage = False

    async def run(self, idle_s):
        world, fault = self.world, self.world.fault
        self.channel = Channel(self.request)
        self.silent = fault(self.provider, "silent") is not None
        self.garbage = fault(self.provider, "garbage") is not None
        cut = fault(self.provider, "cut")
        world.open.setdefault(self.provider, set()).add(self.channel)
        if cut:
            self.later(cut["after_ms"], self.channel.abort)
        began, audio_at = time.monotonic(), None
        try:
            await self.opened()
            while True:
                data = await self.channel.receive(idle_s)
                if data is None:
                    break
                if isinstance(data, bytes):
                    if audio_at is None:
                        audio_at = time.monotonic()
                        self.entry["first_ms"] = int((audio_at - began) * 1000)
                    if time.monotonic() - audio_at < 0.2:  # what was repeated comes at once
                        self.entry["burst_bytes"] = self.entry.get("burst_bytes", 0) + len(data)
                    self.audio(data)
                else:
                    self.entry["messages"].append(data)
                    self.message(data)
        except asyncio.TimeoutError:
            self.entry["idle"] = True
            self.channel.close(1011, "NET-0001: no audio, no message")
        finally:
            self.entry["code"] = self.channel.code
            world.open[self.provider].discard(self.channel)
            for task in self.tasks:
                task.cancel()

    async def opened(self):
        pass

    def audio(self, data):
        if len(data) % 2:
            self.wrong("half a sample in %d bytes" % len(data))
        for event in self.hearing.feed(data):
            getattr(self, event[0])(event[1])

    def message(self, text):
        try:
            message = json.loads(text)
            handler = getattr(self, "on_" + message["type"].lower(), None)
        except (ValueError, KeyError, TypeError):
            message, handler = None, None
        if not handler or (set(message) - self.control_fields):
            return self.wrong("message %s" % text[:200])
        handler(message)

    control_fields = {"type"}

    def begin(self, at_ms):
        pass


def check_query(world, provider, request, allowed, model):
    """What is wrong with the query; it would be a 400."""
    query = {name: values[-1] for name, values in request.query.items()}
    problems = ["unknown query field " + name for name in sorted(set(query) - allowed)]
    if query.get("encoding") != "linear16":
        problems.append("encoding=%s" % query.get("encoding"))
    if query.get("sample_rate") not in ("8000", "16000", "24000", "48000"):
        problems.append("sample_rate=%s" % query.get("sample_rate"))
    if not MODELS[model].fullmatch(query.get("model", "")):
        problems.append("model=%s" % query.get("model"))
    for problem in problems:
        world.violation(provider, problem)
    if problems:
        request.respond(400, json.dumps({"err_code": "Bad Request", "err_msg": problems[0]}), "application/json")
    return None if problems else query


def authorised(world, provider, request, expected):
    if request.headers.get("authorization") == expected:
        return True
    if not request.headers.get("authorization", "").startswith(expected.split()[0] + " "):
        world.violation(provider, "Authorization is not '%s …'" % expected.split()[0])
    request.respond(401, '{"err_code":"INVALID_AUTH","err_msg":"Invalid credentials."}', "application/json")
    return False


class Deepgram(Stream):
    provider = "deepgram"

    async def opened(self):
        query = self.query
        pause = query.get("endpointing", "10")
        self.hearing = Hearing(self.world, int(query["sample_rate"]), self.entry,
                               1 << 30 if pause == "false" else int(pause))

    def results(self, text, final, finalize=False, speech_final=False, upto_ms=None):
        words, upto = text.split(), (self.hearing.ms if upto_ms is None else upto_ms) / 1000
        self.send(type="Results", channel_index=[0, 1], duration=min(1.0, upto), start=max(0.0, upto - 1.0),
                  is_final=final, speech_final=speech_final, from_finalize=finalize,
                  channel={"alternatives": [{"transcript": text, "confidence": 0.98 if text else 0.0,
                                             "words": [{"word": w, "confidence": 0.98} for w in words]}]},
                  metadata={"request_id": "r"})

    def begin(self, at_ms):
        if self.query.get("vad_events") == "true":
            self.send(type="SpeechStarted", channel=[0, 1], timestamp=at_ms / 1000)

    def words(self, text):
        if self.query.get("interim_results") == "true":
            self.results(text, False)

    def end(self, at_ms):
        self.later(self.world.stt_ms, self.over, self.hearing.take(), self.hearing.ms)
        if self.query.get("utterance_end_ms"):
            self.later(max(int(self.query["utterance_end_ms"]), self.world.stt_ms + 1),
                       lambda: self.send(type="UtteranceEnd", channel=[0, 1], last_word_end=at_ms / 1000))

    def over(self, text, upto_ms):
        if text:
            self.results(text, True, speech_final=True, upto_ms=upto_ms)

    def on_finalize(self, _):
        self.later(self.world.stt_ms, self.results, self.hearing.take(), True, True)

    def on_keepalive(self, _):
        self.entry["keepalives"] = self.entry.get("keepalives", 0) + 1

    def on_closestream(self, _):
        self.entry["closed_well"] = True
        self.send(type="Metadata", request_id="r", duration=self.hearing.ms / 1000, channels=1)
        self.channel.close(1000)


async def deepgram(world, request):
    if not authorised(world, "deepgram", request, "Token " + world.key):
        return
    query = check_query(world, "deepgram", request, DEEPGRAM_QUERY, "deepgram")
    if query is None:
        return
    if query.get("channels") != "1" or not query.get("language"):
        world.violation("deepgram", "channels and language expected")
    stream = Deepgram(world, request)
    stream.query = query
    await stream.run(10)


class Flux(Stream):
    provider = "deepgram_flux"

    async def opened(self):
        query = self.query
        rate = int(query["sample_rate"])
        self.chunk = rate * 80 // 1000 * 2
        self.hearing = Hearing(self.world, rate, self.entry)
        self.turn = 0
        self.eager = "eager_eot_threshold" in query
        self.resumes = 0
        self.send(type="Connected", request_id="r", sequence_id=0)

    def audio(self, data):
        if len(data) != self.chunk:
            self.entry["odd_chunks"] = self.entry.get("odd_chunks", 0) + 1
            if self.entry["odd_chunks"] > 1:  # the last one of a connection may be shorter
                self.wrong("a chunk of %d bytes, not %d" % (len(data), self.chunk))
        super().audio(data)

    def info(self, event, text):
        message = dict(type="TurnInfo", request_id="r", event=event, turn_index=self.turn, transcript=text,
                       audio_window_start=0.0, audio_window_end=self.hearing.ms / 1000, end_of_turn_confidence=0.9,
                       words=[{"word": w, "confidence": 0.95} for w in text.split()])
        if self.query["model"].endswith("multi"):
            message["languages"] = ["hi", "en"]
        self.send(**message)

    def begin(self, at_ms):
        if self.resumes:
            self.resumes = 0
            self.info("TurnResumed", self.hearing.words())
        else:
            self.info("StartOfTurn", "")

    def words(self, text):
        self.info("Update", text)

    def end(self, at_ms):
        text = self.hearing.text
        if self.eager and not self.resumes:
            self.resumes = 1
            self.info("EagerEndOfTurn", text)
        self.later(self.world.stt_ms, self.over, self.hearing.ms)

    def over(self, at_ms):
        if not self.hearing.speaking and self.hearing.text:
            self.resumes = 0
            self.info("EndOfTurn", self.hearing.take())
            self.turn += 1

    def on_forceendturn(self, _):
        self.later(self.world.stt_ms, lambda: (self.info("EndOfTurn", self.hearing.take()),
                                               setattr(self, "turn", self.turn + 1)))

    def on_closestream(self, _):
        self.entry["closed_well"] = True
        self.channel.close(1000)


RANGES = {"eot_threshold": (0.5, 1.0), "eager_eot_threshold": (0.3, 0.9), "eot_timeout_ms": (500, 60000)}


async def flux(world, request):
    if not authorised(world, "deepgram_flux", request, "Token " + world.key):
        return
    query = check_query(world, "deepgram_flux", request, FLUX_QUERY, "flux")
    if query is None:
        return
    for name, (least, most) in RANGES.items():
        if name in query and not least <= float(query[name]) <= most:
            world.violation("deepgram_flux", "%s=%s" % (name, query[name]))
    stream = Flux(world, request)
    stream.query = query
    await stream.run(10)


class Soniox(Stream):
    provider = "soniox"
    control_fields = {"type", "trailing_silence_ms"}

    async def opened(self):
        text = await self.channel.receive(10)
        try:
            config = json.loads(text)
        except (TypeError, ValueError):
            config = {}
        self.entry["config"] = config
        for name in sorted(set(config) - SONIOX_CONFIG):
            self.wrong("configuration field " + name)
        for name, value in {"audio_format": "pcm_s16le", "num_channels": 1}.items():
            if config.get(name) != value:
                self.wrong("%s=%s" % (name, config.get(name)))
        if not str(config.get("model", "")).startswith("stt-rt"):
            self.wrong("model=%s" % config.get("model"))
        self.endpoints = config.get("enable_endpoint_detection") is True
        self.hearing = Hearing(self.world, int(config.get("sample_rate", 16000)), self.entry)

    def tokens(self, final, rest, mark=None):
        def some(text, is_final):
            return [{"text": (" " if i else "") + w, "is_final": is_final, "confidence": 0.97, "language": "en"}
                    for i, w in enumerate(text.split())]
        tokens = some(final, True) + some(rest, False)
        if mark:
            tokens.append({"text": mark, "is_final": True})
        self.send(tokens=tokens, final_audio_proc_ms=self.hearing.ms, total_audio_proc_ms=self.hearing.ms)

    def words(self, text):
        self.tokens("", text)

    def end(self, at_ms):
        if self.endpoints:
            self.later(self.world.stt_ms, self.over, "<end>")

    def over(self, mark):
        if mark == "<fin>" or (not self.hearing.speaking and self.hearing.text):
            self.tokens(self.hearing.take(), "", mark)

    def on_finalize(self, _):
        if self.endpoints:
            self.wrong("finalize although endpoints are detected")
        self.later(self.world.stt_ms, self.over, "<fin>")

    def on_keepalive(self, _):
        self.entry["keepalives"] = self.entry.get("keepalives", 0) + 1

    def message(self, text):
        if text == "":
            self.entry["closed_well"] = True
            self.send(tokens=[], finished=True)
            return self.channel.close(1000)
        super().message(text)


async def soniox(world, request):
    if authorised(world, "soniox", request, "Bearer " + world.key):
        await Soniox(world, request).run(20)


ROUTES = [
    (re.compile("/v1/listen"), True, "deepgram", deepgram),
    (re.compile("/v2/listen"), True, "deepgram_flux", flux),
    (re.compile("/transcribe-websocket"), True, "soniox", soniox),
]
