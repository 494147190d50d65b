"""The far end of each wire, from its description only: what it says first (hello), how it says audio,
keys and goodbye, and what it makes of the bot's messages (take, take_binary). A message is a
dictionary (JSON), text or bytes; None: nothing to say."""
import asyncio
import base64
import json
import uuid
import warnings

warnings.simplefilter("ignore", DeprecationWarning)
import audioop  # noqa: E402  (Debian 12's Python has it)

FRAME_MS = 20


def encode(msg):
    """A dictionary as JSON; text and bytes as they are."""
    return json.dumps(msg) if isinstance(msg, dict) else msg


def decode(text):
    """JSON where it is JSON, else the text."""
    return json.loads(text) if text.startswith("{") else text


class Cxb:
    def __init__(self, call):
        self.call, self.rate, self.last_chunk = call, call.args.rate or 8000, 0

    def hello(self):
        a = self.call.args
        yield {"event": "connected", "callerId": a.caller, "did": a.did, "callDirection": a.direction,
               "streamId": a.stream_id, **a.extra}
        yield {"event": "start", "streamId": a.stream_id, "mediaFormat": {
            "encoding": "LINEAR16", "sampleRate": self.rate, "channels": 1}}
        if a.answer_after:
            yield a.answer_after
        yield {"event": "answer"}

    def media(self, pcm):
        return json.dumps({"event": "media", "payload": base64.b64encode(pcm).decode()})

    def dtmf(self, digit):
        return {"event": "dtmf", "digit": digit}

    def bye(self):
        return {"event": "hangup-call", "disconnectedBy": "customer"}

    def take(self, msg):
        event = msg.get("event")
        if event == "reverse-media":
            if msg.get("chunk") != self.last_chunk + 1:
                self.call.chunk_gaps += 1
            self.last_chunk = msg.get("chunk", 0)
            self.call.bot_audio(base64.b64decode(msg["payload"], validate=True))
        elif event == "reverse-media-stop":
            self.call.clear(event)
        else:
            self.call.note(event, msg)
            if event == "reverse-hangup-call" and not self.call.args.no_goodbye:
                self.call.reply({"event": "hangup-call", "disconnectedBy": "bot"})
            if event == "reverse-call-transfer" and self.call.args.transfer != "silent":
                self.call.reply({"event": "call-transfer-status", "status": self.call.args.transfer,
                                 "reason": "as asked"})

    def played(self, mark, played_ms, cleared):
        pass

    def cleared(self, played_ms):
        pass


class Twilio:
    def __init__(self, call):
        self.call, self.rate, self.seq = call, 8000, 0

    def hello(self):
        a = self.call.args
        yield {"event": "connected", "protocol": "Call", "version": "1.0.0"}
        self.seq = 1
        yield {"event": "start", "sequenceNumber": "1", "streamSid": a.stream_id, "start": {
            "accountSid": "AC" + "0" * 32, "streamSid": a.stream_id,
            "callSid": a.call_id or "CA" + "0" * 32,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"from": a.caller, "to": a.did, "direction": a.direction, **a.extra}}}

    def media(self, pcm):
        self.seq += 1
        return json.dumps({
            "event": "media", "sequenceNumber": str(self.seq), "streamSid": self.call.args.stream_id,
            "media": {"track": "inbound", "chunk": str(self.seq - 1),
                      "timestamp": str((self.seq - 2) * FRAME_MS),
                      "payload": base64.b64encode(audioop.lin2ulaw(pcm, 2)).decode()}})

    def dtmf(self, digit):
        return {"event": "dtmf", "streamSid": self.call.args.stream_id, "sequenceNumber": "5",
                "dtmf": {"track": "inbound_track", "digit": digit}}

    def bye(self):
        return {"event": "stop", "sequenceNumber": str(self.seq + 1),
                "streamSid": self.call.args.stream_id, "stop": {"callSid": "CA" + "0" * 32}}

    def take(self, msg):
        event = msg.get("event")
        if msg.get("streamSid") != self.call.args.stream_id:
            self.call.note("wrong_stream", msg)
        if event == "media":
            ulaw = base64.b64decode(msg["media"]["payload"], validate=True)
            self.call.bot_audio(audioop.ulaw2lin(ulaw, 2))
        elif event == "mark":
            self.call.mark(msg["mark"]["name"])
        elif event == "clear":
            self.call.clear(event)
        else:
            self.call.note(event, msg)

    def played(self, mark, played_ms, cleared):
        self.call.reply({"event": "mark", "streamSid": self.call.args.stream_id,
                         "sequenceNumber": "9", "mark": {"name": mark}})

    def cleared(self, played_ms):
        pass


class Exotel:
    """Large chunks both ways: 100 ms a message to the bot, the bot's in multiples of 320 bytes."""

    def __init__(self, call):
        self.call, self.rate, self.chunk = call, call.args.rate or 8000, 0
        self.waiting = b""

    def hello(self):
        a = self.call.args
        yield {"event": "connected"}
        yield {"event": "start", "sequence_number": "1", "stream_sid": a.stream_id, "start": {
            "stream_sid": a.stream_id, "call_sid": "c" * 32, "account_sid": "exo", "from": a.caller,
            "to": a.did, "custom_parameters": a.extra, "media_format": {
                "encoding": "base64", "sample_rate": str(self.rate), "bit_rate": "128kbps"}}}

    def media(self, pcm):
        self.waiting += pcm
        if len(self.waiting) < self.rate // 10 * 2:
            return None
        payload, self.waiting = base64.b64encode(self.waiting).decode(), b""
        self.chunk += 1
        return json.dumps({"event": "media", "sequence_number": self.chunk + 1,
                           "stream_sid": self.call.args.stream_id,
                           "media": {"chunk": self.chunk, "timestamp": str(self.chunk * 100),
                                     "payload": payload}})

    def dtmf(self, digit):
        return {"event": "dtmf", "stream_sid": self.call.args.stream_id,
                "dtmf": {"digit": digit, "duration": "100"}}

    def bye(self):
        return {"event": "stop", "stream_sid": self.call.args.stream_id,
                "stop": {"reason": "callended"}}

    def take(self, msg):
        event = msg.get("event")
        if msg.get("stream_sid") != self.call.args.stream_id:
            self.call.note("wrong_stream", msg)
        if event == "media":
            pcm = base64.b64decode(msg["media"]["payload"], validate=True)
            if len(pcm) < 3200 or len(pcm) % 320:
                self.call.note("bad_chunk", {"bytes": len(pcm)})
            self.call.bot_audio(pcm)
        elif event == "mark":
            self.call.mark(msg["mark"]["name"])
        elif event == "clear":
            self.call.clear(event)
        else:
            self.call.note(event, msg)

    def played(self, mark, played_ms, cleared):
        self.call.reply({"event": "mark", "stream_sid": self.call.args.stream_id,
                         "mark": {"name": mark}})

    def cleared(self, played_ms):
        pass


class Telnyx:
    """G.711 or big-endian L16; --swap sends every second pair of messages the wrong way round."""

    def __init__(self, call):
        self.call, self.codec = call, call.args.codec or "PCMU"
        self.rate = call.args.rate or 8000
        self.chunk, self.held = 0, None

    def hello(self):
        a = self.call.args
        yield {"event": "connected", "version": "1.0.0"}
        yield {"event": "start", "sequence_number": "1", "stream_id": a.stream_id, "start": {
            "user_id": "u", "call_control_id": a.call_id or "v2:call", "call_session_id": "s",
            "from": a.caller, "to": a.did, "client_state": "aGk=", "custom_parameters": a.extra,
            "media_format": {"encoding": self.codec, "sample_rate": self.rate, "channels": 1}}}

    def media(self, pcm):
        self.chunk += 1
        payload = {"PCMU": lambda p: audioop.lin2ulaw(p, 2), "PCMA": lambda p: audioop.lin2alaw(p, 2),
                   "L16": lambda p: audioop.byteswap(p, 2)}[self.codec](pcm)
        text = json.dumps({"event": "media", "sequence_number": str(self.chunk + 1),
                           "stream_id": self.call.args.stream_id, "media": {
                               "track": "inbound", "chunk": str(self.chunk),
                               "timestamp": str(self.chunk * FRAME_MS),
                               "payload": base64.b64encode(payload).decode()}})
        if self.call.args.swap and self.chunk % 4 == 1:
            self.held = text
            return None
        if self.held:
            self.call.replies.append(text)
            text, self.held = self.held, None
        return text

    def dtmf(self, digit):
        return {"event": "dtmf", "stream_id": self.call.args.stream_id, "dtmf": {"digit": digit}}

    def bye(self):
        return {"event": "stop", "stream_id": self.call.args.stream_id, "stop": {}}

    def take(self, msg):
        event = msg.get("event")
        if event == "media":
            data = base64.b64decode(msg["media"]["payload"], validate=True)
            self.call.bot_audio({"PCMU": lambda d: audioop.ulaw2lin(d, 2),
                                 "PCMA": lambda d: audioop.alaw2lin(d, 2),
                                 "L16": lambda d: audioop.byteswap(d, 2)}[self.codec](data))
        elif event == "mark":
            self.call.mark(msg["mark"]["name"])
        elif event == "clear":
            self.call.clear(event)
        else:
            self.call.note(event, msg)

    def played(self, mark, played_ms, cleared):
        self.call.reply({"event": "mark", "stream_id": self.call.args.stream_id,
                         "mark": {"name": mark}})

    def cleared(self, played_ms):
        pass


class Plivo:
    """A checkpoint is answered only when it was played."""

    def __init__(self, call):
        self.call, self.codec = call, call.args.codec or "audio/x-mulaw"
        self.rate, self.chunk = call.args.rate or 8000, 0

    def hello(self):
        a = self.call.args
        extra = {"from": a.caller, "to": a.did, "direction": a.direction, **a.extra}
        yield {"sequenceNumber": 0, "event": "start", "start": {
            "callId": a.call_id or "call", "streamId": a.stream_id, "accountId": "acc",
            "tracks": ["inbound"], "mediaFormat": {"encoding": self.codec, "sampleRate": self.rate}},
            "extra_headers": ";".join("%s=%s" % kv for kv in extra.items())}

    def media(self, pcm):
        self.chunk += 1
        data = audioop.lin2ulaw(pcm, 2) if self.codec == "audio/x-mulaw" else pcm
        return json.dumps({"sequenceNumber": self.chunk, "streamId": self.call.args.stream_id,
                           "event": "media", "media": {
                               "track": "inbound", "timestamp": str(self.chunk * FRAME_MS),
                               "chunk": self.chunk, "payload": base64.b64encode(data).decode()},
                           "extra_headers": ""})

    def dtmf(self, digit):
        return {"event": "dtmf", "streamId": self.call.args.stream_id,
                "dtmf": {"track": "inbound", "digit": digit}}

    def bye(self):
        return None  # the socket closes

    def take(self, msg):
        event = msg.get("event")
        if event == "playAudio":
            media = msg["media"]
            if media["contentType"] != self.codec or int(media["sampleRate"]) != self.rate:
                self.call.note("wrong_codec", media)
            data = base64.b64decode(media["payload"], validate=True)
            self.call.bot_audio(audioop.ulaw2lin(data, 2) if self.codec == "audio/x-mulaw" else data)
        elif event == "checkpoint":
            self.call.mark(msg["name"])
        elif event == "clearAudio":
            self.call.clear(event)
            self.call.reply({"event": "clearedAudio", "streamId": self.call.args.stream_id})
        else:
            self.call.note(event, msg)

    def played(self, mark, played_ms, cleared):
        if not cleared:
            self.call.reply({"event": "playedStream", "streamId": self.call.args.stream_id,
                             "name": mark})

    def cleared(self, played_ms):
        pass


class Vonage:
    def __init__(self, call):
        self.call, self.rate = call, call.args.rate or 16000

    def hello(self):
        a = self.call.args
        yield {"event": "websocket:connected", "content-type": "audio/l16;rate=%d" % self.rate,
               "uuid": a.stream_id, "from": a.caller, "to": a.did, "direction": a.direction, **a.extra}

    def media(self, pcm):
        return pcm

    def dtmf(self, digit):
        return {"event": "websocket:dtmf", "digit": digit, "duration": 260}

    def bye(self):
        return None

    def take_binary(self, data):
        if len(data) != self.rate // 50 * 2:
            self.call.note("bad_frame", {"bytes": len(data)})
        self.call.bot_audio(data)

    def take(self, msg):
        action = msg.get("action")
        if action == "notify":
            self.call.mark(msg["payload"]["mark"])
        elif action == "clear":
            self.call.clear(action)
            self.call.reply({"event": "websocket:cleared"})
        else:
            self.call.note(action, msg)

    def played(self, mark, played_ms, cleared):
        if not cleared:
            self.call.reply({"event": "websocket:notify", "payload": {"mark": mark}})

    def cleared(self, played_ms):
        pass


class Asterisk:
    """The WebSocket channel; --form json or plain, --codec names the format."""
    subprotocols = ["media"]
    rates = {"ulaw": 8000, "alaw": 8000, "slin": 8000, "slin16": 16000, "slin24": 24000,
             "slin48": 48000}

    def __init__(self, call):
        self.call, self.format = call, call.args.codec or "ulaw"
        self.rate, self.json = self.rates[self.format], call.args.form == "json"
        self.width = 1 if self.format.endswith("law") else 2
        self.unit = self.rate // 50 * self.width
        self.xoff_at, self.xon, self.late = None, False, 0

    def event(self, name, **fields):
        if self.json:
            return {"event": name, **fields}
        bare = fields.pop("correlation_id", None)
        return " ".join([name, *["%s:%s" % kv for kv in fields.items()], *([bare] if bare else [])])

    def hello(self):
        a = self.call.args
        fields = {"connection_id": "media_1", "channel": "WebSocket/INCOMING/1",
                  "channel_id": a.stream_id, "format": self.format, "optimal_frame_size": self.unit,
                  "ptime": FRAME_MS}
        if self.json:
            fields["channel_variables"] = a.extra
        yield self.event("MEDIA_START", **fields)

    def media(self, pcm):
        return {"ulaw": lambda p: audioop.lin2ulaw(p, 2), "alaw": lambda p: audioop.lin2alaw(p, 2)}.get(
            self.format, lambda p: p)(pcm)

    def dtmf(self, digit):
        return self.event("DTMF_END", digit=digit, channel_id=self.call.args.stream_id)

    def bye(self):
        return None

    def take_binary(self, data):
        if len(data) % self.unit or len(data) > 65500:
            self.call.note("bad_frame", {"bytes": len(data)})
        self.call.bot_audio({"ulaw": lambda d: audioop.ulaw2lin(d, 2),
                             "alaw": lambda d: audioop.alaw2lin(d, 2)}.get(
                                 self.format, lambda d: d)(data))
        if self.call.args.xoff and self.xoff_at is None:
            self.xoff_at = self.call.ms()
            self.call.reply(self.event("MEDIA_XOFF", channel_id="1"))
        elif self.xoff_at is not None and not self.xon:
            self.late += 1
            if self.late == 25:  # half a second: more than was on its way
                self.call.note("bad_hold", {"frames": self.late})

    def tick(self):
        """Once a frame: takes audio again when the time of --xoff is over."""
        if self.xoff_at is not None and not self.xon and (
                self.call.ms() > self.xoff_at + self.call.args.xoff * 1000):
            self.xon = True
            self.call.reply(self.event("MEDIA_XON", channel_id="1"))

    def take(self, msg):
        if isinstance(msg, dict) != self.json:
            self.call.note("wrong_form", {"text": str(msg)})
            return
        name, mark = (msg.get("command"), msg.get("correlation_id")) if self.json else (
            msg.split(" ", 1) + [None])[:2]
        if name == "MARK_MEDIA":
            self.call.mark(mark)
        elif name == "FLUSH_MEDIA":
            self.call.clear(name)
        elif name == "HANGUP":
            self.call.note(name, {})
            self.call.hang_up_asked = True
        else:
            self.call.note(name, {})

    def played(self, mark, played_ms, cleared):
        if not cleared:
            self.call.reply(self.event("MEDIA_MARK_PROCESSED", correlation_id=mark))

    def cleared(self, played_ms):
        pass


class Audiosocket:
    """TCP: one byte of kind, two of length, the payload. Nothing may come ahead of its time."""
    kinds = {8000: 0x10, 12000: 0x11, 16000: 0x12, 24000: 0x13, 32000: 0x14, 44100: 0x15,
             48000: 0x16}

    def __init__(self, call):
        self.call, self.rate = call, call.args.rate or 8000
        self.kind = self.kinds[self.rate]

    def packet(self, kind, payload=b""):
        return bytes([kind]) + len(payload).to_bytes(2, "big") + payload

    def hello(self):
        yield self.packet(0x01, uuid.UUID(self.call.args.stream_id).bytes)

    def media(self, pcm):
        return self.packet(self.kind, pcm)

    def dtmf(self, digit):
        return self.packet(0x03, digit.encode())

    def bye(self):
        return self.packet(0x00)

    def take_binary(self, data):
        kind, payload = data[0], data[3:]
        if kind == self.kind:
            self.call.bot_audio(payload)
            call = self.call
            call.lead_ms = max(call.lead_ms, call.bot_bytes / 2 / self.rate * 1000
                               - (call.ms() - call.arrivals[0]))
        elif kind == 0x00:
            self.call.note("hangup", {})
            self.call.hang_up_asked = True
        else:
            self.call.note("wrong_kind", {"kind": kind})

    def played(self, mark, played_ms, cleared):
        pass

    def cleared(self, played_ms):
        pass


class Packets:
    """A TCP stream of packets behind the few functions of a WebSocket that a call uses."""
    subprotocol, close_reason = None, None

    def __init__(self, reader, writer):
        self.reader, self.writer, self.transport = reader, writer, writer.transport
        self.close_code = None

    @classmethod
    async def connect(cls, address):
        host, port = address.rsplit(":", 1)
        return cls(*await asyncio.open_connection(host, int(port)))

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def __aiter__(self):
        try:
            while True:
                head = await self.reader.readexactly(3)
                yield head + await self.reader.readexactly(int.from_bytes(head[1:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.close_code = 1000

    async def wait_closed(self):
        while self.close_code is None:
            await asyncio.sleep(0.01)

    async def close(self, code):
        self.close_code = code
        self.writer.close()


class Audiofork:
    """L16 as it is, or with ?play=json in the path the bot's as playAudio messages."""
    subprotocols = ["audio.drachtio.org"]

    def __init__(self, call):
        self.call, self.rate = call, call.args.rate or 8000
        self.json, self.unplayed = "play=json" in (call.args.path or ""), 0

    def hello(self):
        a = self.call.args
        yield {"callSid": a.stream_id, "from": a.caller, "to": a.did, "direction": a.direction,
               "sampleRate": self.rate, "mixType": "stereo" if a.stereo else "mono", **a.extra}

    def media(self, pcm):
        return audioop.tostereo(pcm, 2, 1, 0) if self.call.args.stereo else pcm

    def dtmf(self, digit):
        return {"event": "dtmf", "dtmf": digit, "duration": "1600"}

    def bye(self):
        return None

    def take_binary(self, data):
        if self.json:
            self.call.note("wrong_way", {"bytes": len(data)})
        self.call.bot_audio(data)

    def take(self, msg):
        kind, data = msg.get("type"), msg.get("data", {})
        if kind == "playAudio":
            pcm = base64.b64decode(data["audioContent"], validate=True)
            self.unplayed += 1
            if self.unplayed > 8 or len(pcm) < self.rate // 5 * 2 or data["sampleRate"] != self.rate:
                self.call.note("bad_chunk", {"bytes": len(pcm), "unplayed": self.unplayed})
            self.call.bot_audio(pcm)
            self.call.queue.append(self.done)
        elif kind == "mark":
            self.call.mark(data["name"])
        elif kind == "killAudio":
            self.unplayed = 0
            self.call.clear(kind)
        elif kind == "clearMarks":
            pass
        else:
            self.call.note(kind, data)
            self.call.hang_up_asked = kind == "disconnect" or (
                kind == "transfer" and self.call.args.transfer == "ok")

    def done(self):
        self.unplayed -= 1
        self.call.reply({"type": "playDone"})

    def played(self, mark, played_ms, cleared):
        self.call.reply({"type": "mark", "data": {
            "name": mark, "event": "cleared" if cleared else "playout"}})

    def cleared(self, played_ms):
        pass


class Browser:
    def __init__(self, call):
        self.call, self.rate = call, call.args.rate or 16000

    def hello(self):
        yield {"type": "start", "rate": self.rate, "variables": self.call.args.extra}

    def media(self, pcm):
        return pcm

    def dtmf(self, digit):
        return {"type": "dtmf", "digit": digit}

    def bye(self):
        return {"type": "stop"}

    def take(self, msg):
        kind = msg.get("type")
        if kind == "mark":
            self.call.mark(msg["name"])
        elif kind == "clear":
            self.call.clear(kind)
        else:
            self.call.note(kind, msg)

    def played(self, mark, played_ms, cleared):
        self.call.reply({"type": "mark", "name": mark, "played_ms": played_ms})

    def cleared(self, played_ms):
        self.call.reply({"type": "clear", "played_ms": played_ms})


WIRES = {"cxb": Cxb, "exotel": Exotel, "twilio": Twilio, "telnyx": Telnyx, "plivo": Plivo,
         "vonage": Vonage, "asterisk": Asterisk, "audiosocket": Audiosocket,
         "audiofork": Audiofork, "browser": Browser}
