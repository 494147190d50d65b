// The bot's voice: a ring of samples and, at their places in it, the marks that are told when
// everything before them has been played. After running dry it waits for a little supply, so that
// an uneven network does not crackle.
const SUPPLY_MS = 40;
const RING_SECONDS = 120;
const LEVEL_EVERY = 10; // blocks

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    this.ring = new Int16Array(sampleRate * RING_SECONDS);
    this.read = 0; // samples ever played
    this.written = 0; // samples ever received
    this.since = 0; // where the utterance now played began: the last mark
    this.marks = []; // {name, at}
    this.dry = true;
    this.waited = 0;
    this.blocks = 0;
    this.peak = 0;
    this.port.onmessage = ({ data }) => this[data.type](data);
  }

  audio({ pcm }) {
    const samples = new Int16Array(pcm);
    const room = this.ring.length - (this.written - this.read);
    const taken = samples.subarray(0, Math.max(0, room));
    const at = this.written % this.ring.length;
    const first = taken.subarray(0, this.ring.length - at);
    this.ring.set(first, at);
    this.ring.set(taken.subarray(first.length), 0);
    this.written += taken.length;
  }

  mark({ name }) {
    this.marks.push({ name, at: this.written });
  }

  clear() {
    this.port.postMessage({ type: "cleared", played_ms: this.playedMs(this.read) });
    this.read = this.since = this.written;
    this.marks = [];
    this.dry = true;
  }

  playedMs(at) {
    return Math.round(((at - this.since) * 1000) / sampleRate);
  }

  // Enough to begin: the supply, the end of what comes (a mark), or patience.
  ready(blockSize) {
    const queued = this.written - this.read;
    if (queued === 0) {
      this.waited = 0;
      return false;
    }
    this.waited += blockSize;
    return queued >= (sampleRate * SUPPLY_MS) / 1000 || this.marks.length > 0
      || this.waited >= (sampleRate * SUPPLY_MS) / 500;
  }

  tellMarks() {
    while (this.marks.length && this.marks[0].at <= this.read) {
      const { name, at } = this.marks.shift();
      this.port.postMessage({ type: "played", name, played_ms: this.playedMs(at) });
      this.since = at;
    }
  }

  process(_, [output]) {
    const out = output[0];
    if (this.dry) this.dry = !this.ready(out.length);
    const n = this.dry ? 0 : Math.min(out.length, this.written - this.read);
    for (let i = 0; i < n; i++) {
      const value = this.ring[(this.read + i) % this.ring.length] / 32768;
      out[i] = value;
      if (Math.abs(value) > this.peak) this.peak = Math.abs(value);
    }
    this.read += n;
    if (n < out.length) this.dry = true;
    for (let c = 1; c < output.length; c++) output[c].set(out);
    this.tellMarks();
    if (++this.blocks % LEVEL_EVERY === 0) {
      const queued = this.written - this.read;
      this.port.postMessage({ type: "level", level: this.peak, queued });
      this.peak = 0;
    }
    return true;
  }
}

registerProcessor("playback", Playback);
