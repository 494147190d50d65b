"""What the simulated recognisers hear: whether somebody speaks, by the energy of the audio, and which of
the scripted texts that is."""
import array
import math

STEP_MS, ONSET_STEPS, LOUD = 20, 3, 300


class Hearing:
    """feed() gives ("begin", at_ms), ("words", text) and ("end", at_ms) as the audio goes on."""

    def __init__(self, world, rate, entry, silence_ms=None):
        self.world, self.rate, self.entry = world, rate, entry
        self.silence_ms = silence_ms or world.silence_ms
        self.step = rate * STEP_MS // 1000 * 2
        self.rest = b""
        self.ms = 0            # of audio so far
        self.loud = self.quiet = 0
        self.speaking = False
        self.text, self.known, self.voiced_ms, self.last_ms = "", 0, 0, 0

    def words(self):
        """What is understood so far of the stretch under way."""
        return " ".join(self.text.split()[:self.known])

    def take(self):
        """The whole text of the stretch, which is then over."""
        text, self.text, self.known = self.text, "", 0
        if text:
            self.world.heard.append(text)
        return text

    def feed(self, data):
        self.entry["audio_ms"] = self.ms
        self.rest += data
        while len(self.rest) >= self.step:
            samples = array.array("h", self.rest[:self.step])
            self.rest = self.rest[self.step:]
            self.ms += STEP_MS
            rms = math.sqrt(sum(s * s for s in samples) / len(samples))
            yield from self.hear(rms > LOUD)
        self.entry["audio_ms"] = self.ms

    def hear(self, loud):
        self.loud, self.quiet = (self.loud + 1, 0) if loud else (0, self.quiet + STEP_MS)
        if loud:
            self.last_ms = self.ms
        if not self.speaking and self.loud >= ONSET_STEPS:
            self.speaking, self.voiced_ms = True, 0
            if not self.text:
                self.text, self.known = self.world.next_text(), 0
            yield "begin", self.ms - ONSET_STEPS * STEP_MS
        elif self.speaking and self.quiet >= self.silence_ms:
            self.speaking = False
            yield "end", self.last_ms
        elif self.speaking and loud:
            self.voiced_ms += STEP_MS
            count = len(self.text.split())
            known = min(count, self.voiced_ms // 250)
            if known > self.known:
                self.known = known
                yield "words", self.words()
