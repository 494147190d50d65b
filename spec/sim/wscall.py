#!/usr/bin/python3
"""An independent far end for every wire of the call worker: the CXB dialler, Exotel, Twilio, Telnyx,
Plivo, Vonage, Asterisk (WebSocket channel and AudioSocket), the audio fork and the browser's test
page (the wires are in wires.py). It paces 20 ms frames in real time, plays what the bot sends through
a playout queue of its own (so marks and clears are answered when a real far end would), speaks WAV
files in turn and prints one JSON line about the call.

  wscall.py --transport twilio --unix /run/cxb/1.sock --path /twilio/demo \
            --wav question.wav --dtmf 1234# --record-bot bot.wav --json

A turn (--wav, --dtmf, --text, --barge, --press) begins when the bot has spoken and then been silent for --gap
seconds; --barge S FILE and --press S KEYS begin when S seconds of the bot's next words were played. After the
last turn the bot is heard out and the call hung up. Exit status: 0 the call was carried, 1 it was not, 2 refused."""
import argparse
import asyncio
import json
import math
import operator
import random
import sys
import time
import uuid
import warnings
import wave

import websockets

sys.dont_write_bytecode = True
from wires import WIRES, Packets, encode, decode  # noqa: E402

warnings.simplefilter("ignore", DeprecationWarning)
import audioop  # noqa: E402  (Debian 12's Python has it)

FRAME_MS = 20
VOICE = 200  # RMS above which a bot's frame counts as voice


# ---- audio ---------------------------------------------------------------------------------------

def resample(pcm, src, dst):
    """Windowed-sinc polyphase conversion of PCM16 bytes, pure Python."""
    if src == dst:
        return pcm
    common = math.gcd(src, dst)
    up, down = dst // common, src // common
    cut = min(1.0, dst / src) * 0.94
    half = int(math.ceil(12 / cut))
    samples = memoryview(pcm).cast("h").tolist()
    padded = [0] * half + samples + [0] * (half + 1)
    phases = []
    for phase in range(up):
        taps = []
        for k in range(-half + 1, half + 1):
            x = k - phase / up
            sinc = cut if x == 0 else math.sin(math.pi * cut * x) / (math.pi * x)
            taps.append(sinc * (0.5 + 0.5 * math.cos(math.pi * max(-1, min(1, x / half)))))
        phases.append(taps)
    out = bytearray()
    for i in range(len(samples) * up // down):
        at, phase = divmod(i * down, up)
        window = padded[at + 1:at + 1 + 2 * half]
        value = int(sum(map(operator.mul, window, phases[phase])))
        out += max(-32768, min(32767, value)).to_bytes(2, "little", signed=True)
    return bytes(out)


def load(path, rate):
    """PCM16 mono at `rate` of a WAV file, or of a headerless 16 kHz .raw file."""
    if path.endswith(".raw"):
        with open(path, "rb") as f:
            return resample(f.read(), 16000, rate)
    with wave.open(path, "rb") as w:
        pcm, src, width = w.readframes(w.getnframes()), w.getframerate(), w.getsampwidth()
        if width == 1:
            pcm = audioop.bias(pcm, 1, -128)
        if width != 2:
            pcm = audioop.lin2lin(pcm, width, 2)
        if w.getnchannels() == 2:
            pcm = audioop.tomono(pcm, 2, 0.5, 0.5)
    return resample(pcm, src, rate)


def voiced_end_ms(pcm, rate):
    """Where the last voiced frame of a clip ends."""
    size = rate // 50 * 2
    floor = max(VOICE, audioop.max(pcm, 2) // 50) if pcm else VOICE
    end = 0
    for i in range(0, len(pcm) - size + 1, size):
        if audioop.rms(pcm[i:i + size], 2) > floor:
            end = i // size + 1
    return end * FRAME_MS


def tones(digits, rate, on_ms=100, off_ms=100):
    rows, cols = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    out = bytearray()
    for digit in digits:
        row, col = divmod("123A456B789C*0#D".index(digit.upper()), 4)
        for i in range(rate * on_ms // 1000):
            t = 2 * math.pi * i / rate
            value = int(6000 * (math.sin(rows[row] * t) + math.sin(cols[col] * t)))
            out += value.to_bytes(2, "little", signed=True)
        out += bytes(rate * off_ms // 1000 * 2)
    return bytes(out)


def pitch(pcm, rate):
    """Hz of a tone, by the zero crossings of the frames that are full of it; None without one."""
    size, crossings, seconds = rate // 50 * 2, 0, 0.0
    starts = range(0, len(pcm) - size + 1, size)
    loud = [audioop.rms(pcm[at:at + size], 2) for at in starts]
    full = max(VOICE * 5, max(loud, default=0) * 0.9)
    for at, rms in zip(starts, loud):
        if rms >= full:
            crossings += audioop.cross(pcm[max(0, at - 2):at + size], 2)  # with the step into it
            seconds += FRAME_MS / 1000
    return round(crossings / 2 / seconds) if seconds > 0.1 else None


def percentile(values, p):
    if not values:
        return None
    values = sorted(values)
    return round(values[min(len(values) - 1, int(len(values) * p / 100))], 2)


# ---- the call ------------------------------------------------------------------------------------

class Call:
    def __init__(self, args):
        self.args = args
        self.wire = WIRES[args.transport](self)
        self.size = self.wire.rate // 50 * 2
        self.queue = []            # what the far end has yet to play: frames (bytes), marks (str)
                                   # and what is to be done then (functions)
        self.hang_up_asked = False
        self.partial = b""
        self.recording = bytearray()
        self.began = None          # monotonic, when the first media left
        self.log, self.turns, self.replies = [], [], []
        self.arrivals = []         # ms of each bot frame
        self.bot_bytes = self.clears = self.marks = self.chunk_gaps = 0
        self.sent_ms = 0           # of the caller's audio
        self.behind_ms = 0         # at most, by its own clock: somebody kept it waiting
        self.played_ms = 0         # since the last mark
        self.dry = 0               # frames the queue ran dry in the middle of speech
        self.lead_ms = 0           # how much audio came ahead of its time, at most (wires that count it)
        self.voice_at = None       # ms of the last voiced frame that was played
        self.voice_began = None    # ms of the beginning of the bot's current words
        self.voice_ms = 0          # of them played
        self.first_voice = None
        self.todo = list(args.turns)
        self.speaking = b""
        self.finished = asyncio.Event()
        self.status, self.closed_by, self.failure = None, None, None
        self.noise = b""

    def ms(self):
        return 0 if self.began is None else (time.monotonic() - self.began) * 1000

    def note(self, event, msg):
        self.log.append({"t_ms": round(self.ms()), "event": event,
                         **{("data" if k == "event" else k): v for k, v in msg.items()
                            if k != "type" and v is not event}})

    def reply(self, msg):
        self.replies.append(encode(msg))

    # -- what the wire found in a message
    def bot_audio(self, pcm):
        self.arrivals.append(self.ms())
        self.bot_bytes += len(pcm)
        self.partial += pcm
        while len(self.partial) >= self.size:
            self.queue.append(self.partial[:self.size])
            self.partial = self.partial[self.size:]

    def mark(self, name):
        self.marks += 1
        if self.queue:
            self.queue.append(name)
        else:
            self.answer_mark(name, False)

    def answer_mark(self, name, cleared):
        if not self.args.deaf:
            self.wire.played(name, self.played_ms, cleared)
        self.played_ms = 0

    def clear(self, event):
        self.clears += 1
        dropped = sum(1 for q in self.queue if isinstance(q, bytes))
        self.note(event, {"dropped_ms": dropped * FRAME_MS, "played_ms": self.played_ms})
        queue, self.queue, self.partial = self.queue, [], b""
        played = self.played_ms
        for q in queue:
            if isinstance(q, str):
                self.answer_mark(q, True)
        self.played_ms = 0
        if not self.args.deaf:
            self.wire.cleared(played)

    # -- one tick of the far end's sound card
    def play(self):
        now = self.ms()
        while self.queue and not isinstance(self.queue[0], bytes):
            item = self.queue.pop(0)
            self.answer_mark(item, False) if isinstance(item, str) else item()
        if hasattr(self.wire, "tick"):
            self.wire.tick()
        frame = self.queue.pop(0) if self.queue else None
        if frame is not None:
            self.played_ms += FRAME_MS
            self.voice_ms += FRAME_MS
            if audioop.rms(frame, 2) > VOICE:
                if self.first_voice is None:
                    self.first_voice = now
                if self.voice_began is None:
                    self.voice_began, self.voice_ms = now, FRAME_MS
                    for turn in reversed(self.turns):
                        if turn.get("response_ms") is None and turn.get("voiced_end_ms"):
                            turn["response_ms"] = round(now - turn["voiced_end_ms"])
                        break
                self.voice_at = now
        self.recording += frame if frame is not None else bytes(self.size)
        if frame is None and self.arrivals and now - self.arrivals[-1] < 100 and self.partial == b"":
            self.dry += 1

    def bot_silent(self):
        """Seconds since the bot's last words, None before it has spoken."""
        return None if self.voice_at is None else (self.ms() - self.voice_at) / 1000

    # -- what the caller does next
    def next_turn(self):
        if self.speaking or (not self.todo and self.args.until_cleared and not self.clears):
            return
        waiting = (self.ms() - (self.turns[-1]["ended_ms"] if self.turns else 0)) / 1000
        silent = self.bot_silent()
        patient = self.args.patience if self.turns else self.args.first_wait
        kind = self.todo[0][0] if self.todo else None
        if kind in ("barge", "press"):
            ready = self.voice_began is not None and self.voice_ms >= float(self.todo[0][1]) * 1000
        else:
            ready = silent is not None and silent >= self.args.gap
        quiet = silent is None or silent >= self.args.gap
        if not ready and not (quiet and waiting >= patient):
            return
        if not self.todo:
            if not self.args.wait_end:
                self.finished.set()
            elif waiting >= self.args.wait_end:
                self.finished.set()
            return
        self.begin_turn(*self.todo.pop(0))

    def begin_turn(self, kind, value, path=None):
        turn = {"kind": kind, "began_ms": round(self.ms()), "value": path or value}
        self.turns.append(turn)
        self.voice_at = self.voice_began = None
        if kind in ("wav", "barge"):
            pcm = self.args.clips[path or value]
            turn["voiced_end_ms"] = turn["began_ms"] + voiced_end_ms(pcm, self.wire.rate)
            self.speaking = pcm
        elif kind == "dtmf" and self.args.dtmf_tones:
            self.speaking = tones(value, self.wire.rate)
        elif kind in ("dtmf", "press"):
            for digit in path or value:
                self.reply(self.wire.dtmf(digit))
        elif kind == "text":
            self.reply({"type": "text", "text": value})
        turn["ended_ms"] = round(self.ms() + len(self.speaking) / self.size * FRAME_MS)
        turn.setdefault("voiced_end_ms", turn["ended_ms"])

    def caller_frame(self):
        frame, self.speaking = self.speaking[:self.size], self.speaking[self.size:]
        frame += bytes(self.size - len(frame))
        if self.noise:
            at = random.randrange(0, (len(self.noise) - self.size) // 2) * 2
            frame = audioop.add(frame, self.noise[at:at + self.size], 2)
        return frame

    def make_noise(self):
        """White noise `noise_db` below the speech of the clips."""
        pcm = b"".join(self.args.clips.values())
        loud = [r for r in (audioop.rms(pcm[i:i + self.size], 2)
                            for i in range(0, len(pcm), self.size)) if r > VOICE]
        if not loud:
            return
        level = math.sqrt(sum(r * r for r in loud) / len(loud)) / 10 ** (self.args.noise_db / 20)
        random.seed(7)
        self.noise = b"".join(
            max(-32768, min(32767, int(random.gauss(0, level)))).to_bytes(2, "little", signed=True)
            for _ in range(self.wire.rate * 2))

    # -- the socket
    async def receive(self, ws):
        try:
            async for message in ws:
                if isinstance(message, bytes):
                    getattr(self.wire, "take_binary", self.bot_audio)(message)
                else:
                    self.wire.take(decode(message))
                while self.replies:
                    await ws.send(self.replies.pop(0))
                if self.hang_up_asked and not self.args.no_goodbye:
                    self.closed_by = "bot"
                    await ws.close(1000)
        except (websockets.ConnectionClosed, ConnectionError):
            pass
        self.closed_by = self.closed_by or "bot"
        self.finished.set()

    async def speak(self, ws):
        self.began = time.monotonic()
        tick = 0
        while not self.finished.is_set():
            tick += 1
            due = self.began + tick * FRAME_MS / 1000
            await asyncio.sleep(max(0, due - time.monotonic()))
            self.behind_ms = max(self.behind_ms, round((time.monotonic() - due) * 1000))
            self.play()
            self.next_turn()
            media = [] if self.args.mute else [self.wire.media(self.caller_frame())]
            for message in [*self.replies, *media]:
                if message is not None:
                    await ws.send(message)
            self.sent_ms += FRAME_MS * len(media)
            self.replies.clear()
            if self.ms() > self.args.max_s * 1000:
                self.failure = "too_long"
                self.finished.set()

    async def hang_up(self, ws):
        self.closed_by = "caller"
        if self.args.vanish:
            ws.transport.abort()
            return
        bye = self.wire.bye()
        if bye is None:
            await ws.close(1000)
            return
        await ws.send(encode(bye))
        try:
            await asyncio.wait_for(ws.wait_closed(), 3)
        except asyncio.TimeoutError:
            await ws.close(1000)

    async def run(self):
        a = self.args
        if a.noise_db is not None:
            self.make_noise()
        headers = [tuple(h.split(": ", 1)) for h in a.header]
        options = dict(subprotocols=getattr(self.wire, "subprotocols", None), compression=None, max_size=None, ping_interval=None, extra_headers=headers,
                       open_timeout=10, close_timeout=2)
        if a.tcp:
            connecting = Packets.connect(a.tcp)
        elif a.unix:
            connecting = websockets.unix_connect(a.unix, "ws://localhost" + a.path, **options)
        else:
            connecting = websockets.connect(a.url, **options)
        try:
            ws = await connecting
        except websockets.InvalidStatusCode as e:
            self.status = e.status_code
            return
        self.status = 101
        if ws.subprotocol != getattr(self.wire, "subprotocols", [None])[0]:
            self.note("wrong_subprotocol", {"is": ws.subprotocol})
        for message in self.wire.hello():
            if isinstance(message, float):
                await asyncio.sleep(message)
            else:
                await ws.send(encode(message))
        receiving = asyncio.create_task(self.receive(ws))
        try:
            await self.speak(ws)
            if self.closed_by is None:
                await self.hang_up(ws)
        except (websockets.ConnectionClosed, ConnectionError):
            pass
        await asyncio.wait([receiving], timeout=3)
        self.close_code, self.close_reason = ws.close_code, ws.close_reason
        if self.lead_ms > 100 + self.behind_ms:  # what waited for us has not come too early
            self.note("bad_lead", {"ms": self.lead_ms})

    def report(self):
        gaps = [b - a for a, b in zip(self.arrivals, self.arrivals[1:])]
        bursts, late, first = 0, [], None
        for i, t in enumerate(self.arrivals):
            if first is None or t - self.arrivals[i - 1] > 300:
                first, count, bursts = t, 0, bursts + 1
            late.append(max(0.0, t - first - count * FRAME_MS))
            count += 1
        return {
            "ok": self.status == 101 and self.failure is None, "transport": self.args.transport,
            "stream_id": self.args.stream_id, "status": self.status, "error": self.failure,
            "close_code": getattr(self, "close_code", None),
            "close_reason": getattr(self, "close_reason", None), "closed_by": self.closed_by,
            "duration_ms": round(self.ms()), "turns": self.turns, "turns_left": len(self.todo),
            "first_bot_ms": None if self.first_voice is None else round(self.first_voice),
            "sent_ms": self.sent_ms, "behind_ms": self.behind_ms, "bot_frames": len(self.arrivals),
            "bot_ms": round(self.bot_bytes / 2 / self.wire.rate * 1000), "bursts": bursts,
            "gap_ms": {"p50": percentile([g for g in gaps if g < 300], 50),
                       "p99": percentile([g for g in gaps if g < 300], 99),
                       "max": percentile([g for g in gaps if g < 300], 100)},
            "late_ms": {"p99": percentile(late, 99), "max": percentile(late, 100)},
            "dry_frames": self.dry, "chunk_gaps": self.chunk_gaps, "clears": self.clears,
            "marks": self.marks, "bot_hz": pitch(bytes(self.recording), self.wire.rate),
            "events": self.log,
        }

    def save(self, path):
        with wave.open(path, "wb") as w:
            w.setnchannels(1)
            w.setsampwidth(2)
            w.setframerate(self.wire.rate)
            w.writeframes(bytes(self.recording))


class Turn(argparse.Action):
    """Turns keep the order in which they were given."""

    def __call__(self, parser, args, values, option=None):
        turns = getattr(args, "turns", None) or []
        kind = option.lstrip("-")
        args.turns = turns + [(kind, *values) if isinstance(values, list) else (kind, values)]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--transport", choices=list(WIRES), required=True)
    where = p.add_mutually_exclusive_group(required=True)
    where.add_argument("--url", help="ws://host:port/path")
    where.add_argument("--tcp", help="host:port (audiosocket)")
    where.add_argument("--unix", help="socket of a worker; with --path")
    p.add_argument("--path", default="/ws/demo")
    p.add_argument("--header", action="append", default=[], help='"Name: value"')
    p.set_defaults(turns=[])
    p.add_argument("--wav", action=Turn, help="speak this file (WAV, or 16 kHz .raw)")
    p.add_argument("--dtmf", action=Turn, help="press these keys")
    p.add_argument("--text", action=Turn, help="type this (browser)")
    p.add_argument("--barge", action=Turn, nargs=2, metavar=("S", "FILE"),
                   help="speak FILE S seconds into the bot's next words")
    p.add_argument("--press", action=Turn, nargs=2, metavar=("S", "KEYS"),
                   help="press KEYS S seconds into the bot's next words")
    p.add_argument("--dtmf-tones", action="store_true", help="keys as tones, not as events")
    p.add_argument("--gap", type=float, default=1.0, help="silence of the bot before a turn, s")
    p.add_argument("--first-wait", type=float, default=6, help="at most this long for the greeting, s")
    p.add_argument("--patience", type=float, default=15, help="at most this long for an answer, s")
    p.add_argument("--wait-end", type=float, default=0, help="let the bot hang up, at most this long, s")
    p.add_argument("--until-cleared", action="store_true", help="hang up only once the bot was cut short")
    p.add_argument("--max-s", type=float, default=120)
    p.add_argument("--noise-db", type=float, help="white noise under the speech at this ratio, dB")
    p.add_argument("--rate", type=int, help="Hz, where the wire leaves a choice")
    p.add_argument("--codec", help="as the wire spells it (telnyx, plivo, asterisk)")
    p.add_argument("--form", choices=["json", "plain"], default="json", help="of asterisk's control")
    p.add_argument("--xoff", type=float, default=0, help="asterisk: no audio for so long, s")
    p.add_argument("--stereo", action="store_true", help="audiofork: the caller on the left")
    p.add_argument("--swap", action="store_true", help="telnyx: messages change places")
    p.add_argument("--call-id", help="the carrier's id of the call (twilio, telnyx, plivo)")
    p.add_argument("--caller", default="+919876543210")
    p.add_argument("--did", default="+911234567890")
    p.add_argument("--direction", default="incoming")
    p.add_argument("--stream-id", default=None)
    p.add_argument("--extra", type=json.loads, default={}, help="JSON object: more connected fields")
    p.add_argument("--answer-after", type=float, default=0.0, help="ring this long (cxb), s")
    p.add_argument("--transfer", default="ok", help="cxb: ok, failed or silent")
    p.add_argument("--no-goodbye", action="store_true", help="cxb: do not confirm the bot's hang-up")
    p.add_argument("--deaf", action="store_true", help="never answer marks or clears")
    p.add_argument("--mute", action="store_true", help="send no audio at all")
    p.add_argument("--vanish", action="store_true", help="end without a goodbye: cut the socket")
    p.add_argument("--record-bot", metavar="WAV", help="what the far end played, on the call's clock")
    p.add_argument("--json", action="store_true", help="one JSON line instead of a few words")
    args = p.parse_args()
    prefix = {"twilio": "MZ", "audiosocket": ""}.get(args.transport, "sim-")
    args.stream_id = args.stream_id or prefix + (
        str(uuid.uuid4()) if args.transport == "audiosocket" else uuid.uuid4().hex)
    rate = WIRES[args.transport](argparse.Namespace(args=args)).rate
    args.clips = {t[-1]: load(t[-1], rate) for t in args.turns if t[0] in ("wav", "barge")}
    return args


def main():
    args = arguments()
    call = Call(args)
    try:
        asyncio.run(call.run())
    except (OSError, websockets.WebSocketException, asyncio.TimeoutError) as e:
        call.failure = "%s: %s" % (type(e).__name__, e)
    if args.record_bot and call.status == 101:
        call.save(args.record_bot)
    report = call.report()
    if args.json:
        print(json.dumps(report))
    else:
        print("status {status}, close {close_code}, {duration_ms} ms, bot {bot_ms} ms, "
              "first {first_bot_ms} ms, late p99 {late_ms[p99]} ms, dry {dry_frames}".format(**report))
    sys.exit(0 if report["ok"] else 2 if call.status and call.status != 101 else 1)


if __name__ == "__main__":
    main()
