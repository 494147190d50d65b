// The microphone: 20 ms frames of 16-bit samples at the context's rate, and how loud they are.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.size = Math.round(sampleRate / 50);
    this.frame = new Int16Array(this.size);
    this.filled = 0;
    this.sum = 0;
    this.muted = false;
    this.port.onmessage = ({ data }) => { this.muted = data.muted; };
  }

  process([input]) {
    const channel = input[0];
    if (!channel) return true;
    for (let i = 0; i < channel.length; i++) {
      const value = this.muted ? 0 : Math.max(-1, Math.min(1, channel[i]));
      this.frame[this.filled++] = Math.round(value < 0 ? value * 32768 : value * 32767);
      this.sum += value * value;
      if (this.filled === this.size) this.send();
    }
    return true;
  }

  send() {
    const { buffer } = this.frame;
    this.port.postMessage({ pcm: buffer, level: Math.sqrt(this.sum / this.size) }, [buffer]);
    this.frame = new Int16Array(this.size);
    this.filled = 0;
    this.sum = 0;
  }
}

registerProcessor("capture", Capture);
