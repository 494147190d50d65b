// One test call: microphone → socket → loudspeaker, by the browser protocol of the call worker.
const RATES = [16000, 24000, 48000];

// An audio context at a rate the worker takes: the device's own if possible.
function makeContext() {
  const own = new AudioContext({ latencyHint: "interactive" });
  if (RATES.includes(own.sampleRate)) return own;
  own.close();
  return new AudioContext({ latencyHint: "interactive", sampleRate: 48000 });
}

// Asks for the microphone; rejects with an Error whose message a person can act on.
async function openMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("This address may not use the microphone: open the page over HTTPS or on "
      + "127.0.0.1.");
  }
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
    });
  } catch (error) {
    if (error.name === "NotAllowedError") {
      throw new Error("The microphone was refused. Allow it for this page (the icon beside the "
        + "address), then call again.", { cause: error });
    }
    if (error.name === "NotFoundError") {
      throw new Error("No microphone was found. Plug one in, then call again.", { cause: error });
    }
    throw new Error(`The microphone cannot be opened: ${error.message}`, { cause: error });
  }
}

// Events: "message" (detail: what the worker said), "level" {side, level}, "closed" {opened}.
export class Call extends EventTarget {
  // Opens microphone and loudspeaker; `connect` then opens the socket. Needs a user's gesture.
  static async prepare() {
    const call = new Call();
    call.stream = await openMicrophone();
    try {
      call.context = makeContext();
      await Promise.all(["capture-worklet.js", "playback-worklet.js"].map(
        (name) => call.context.audioWorklet.addModule(new URL(name, import.meta.url))));
      await call.context.resume();
      call.wire();
    } catch (error) {
      call.release();
      throw error;
    }
    return call;
  }

  wire() {
    const { context } = this;
    this.capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    this.playback = new AudioWorkletNode(context, "playback", {
      numberOfInputs: 0, outputChannelCount: [2],
    });
    this.source = context.createMediaStreamSource(this.stream);
    this.source.connect(this.capture);
    this.playback.connect(context.destination);
    this.capture.port.onmessage = ({ data }) => {
      this.tell("level", { side: "in", level: data.level });
      if (this.talking) this.socket.send(data.pcm);
    };
    this.playback.port.onmessage = ({ data }) => this.played(data);
    this.stream.getAudioTracks()[0].addEventListener("ended",
      () => this.tell("message", { type: "event", event: { type: "microphone_lost" } }));
  }

  connect(wsUrl, ticket) {
    const socket = new WebSocket(`${wsUrl}?ticket=${encodeURIComponent(ticket)}`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      this.opened = true;
      this.send({ type: "start", rate: this.context.sampleRate, variables: {} });
    };
    socket.onmessage = ({ data }) => {
      if (typeof data !== "string") {
        this.playback.port.postMessage({ type: "audio", pcm: data }, [data]);
      } else {
        this.take(JSON.parse(data));
      }
    };
    socket.onclose = ({ code, reason }) => {
      this.talking = false;
      this.drained().then(() => {
        this.release();
        this.tell("closed", { opened: Boolean(this.opened), code, reason });
      });
    };
  }

  take(message) {
    if (message.type === "ready") {
      this.talking = true;
    } else if (message.type === "mark" || message.type === "clear") {
      this.playback.port.postMessage(message);
      return;
    }
    this.tell("message", message);
  }

  // What left the ring is heard one output latency later: marks are answered then, and of what was
  // cut that much less was heard.
  played(data) {
    const latency = (this.context.outputLatency || this.context.baseLatency || 0) * 1000;
    if (data.type === "level") {
      this.tell("level", { side: "out", level: data.level });
    } else if (data.type === "cleared") {
      this.send({ type: "clear", played_ms: Math.max(0, Math.round(data.played_ms - latency)) });
    } else {
      setTimeout(() => this.send({ type: "mark", name: data.name, played_ms: data.played_ms }),
        latency);
    }
  }

  // The last words are still in the ring when the worker has closed the socket.
  drained() {
    return new Promise((resolve) => {
      this.playback.port.addEventListener("message", ({ data }) => {
        if (data.type === "level" && data.queued === 0) resolve();
      });
      setTimeout(resolve, 1500);
    });
  }

  send(message) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  say(text) { this.send({ type: "text", text }); }

  press(digit) { this.send({ type: "dtmf", digit }); }

  mute(muted) { this.capture.port.postMessage({ muted }); }

  // The worker answers with the end of the call and closes; without an answer we close.
  hangUp() {
    this.send({ type: "stop" });
    const { socket } = this;
    setTimeout(() => socket?.close(), 3000);
  }

  release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.context && this.context.state !== "closed") this.context.close();
  }

  tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
