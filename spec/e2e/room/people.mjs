// People in one LiveKit room: a caller, an agent, a supervisor who listens, one who whispers. Reads
// {url, tokens: {caller, agent, listen, whisper, rude}} from its argument and writes what each of
// them heard as the last line: JSON.
import {
  AudioFrame, AudioSource, AudioStream, LocalAudioTrack, Room, RoomEvent, TrackKind,
  TrackPublishOptions, TrackSource, dispose,
} from '@livekit/rtc-node'
import {
  FfiRequest, ParticipantTrackPermission, SetTrackSubscriptionPermissionsRequest, livekitFfiRequest,
} from '@livekit/rtc-ffi-bindings'

const RATE = 48000
const { url, tokens, agent } = JSON.parse(process.argv[2])
const deadline = Date.now() + 100000

// Polls a condition until it holds; what it answered.
async function until(what, condition) {
  for (;;) {
    const value = await condition()
    if (value) return value
    if (Date.now() > deadline) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

// Somebody in the room: `heard` counts loud frames by who spoke.
class Person {
  constructor(name) {
    this.name = name
    this.room = new Room()
    this.heard = {}
    this.room.on(RoomEvent.TrackSubscribed, (track, _publication, participant) => {
      if (track.kind === TrackKind.KIND_AUDIO) void this.listen(track, participant.identity)
    })
  }

  async listen(track, identity) {
    for await (const frame of new AudioStream(track, { sampleRate: RATE, numChannels: 1 })) {
      let peak = 0
      for (const sample of frame.data) peak = Math.max(peak, Math.abs(sample))
      if (peak > 1000) this.heard[identity] = (this.heard[identity] ?? 0) + 1
    }
  }

  async join(token) {
    await this.room.connect(url, token, { autoSubscribe: true, dynacast: false })
    return this
  }

  // Only these identities may subscribe to what is published. (The library's own interface lacks it.)
  allow(identities) {
    const request = new FfiRequest({
      message: {
        case: 'setTrackSubscriptionPermissions',
        value: new SetTrackSubscriptionPermissionsRequest({
          localParticipantHandle: this.room.localParticipant.ffi_handle.handle,
          allParticipantsAllowed: false,
          permissions: identities.map((identity) => new ParticipantTrackPermission({
            participantIdentity: identity, allowAll: true, allowedTrackSids: [],
          })),
        }),
      },
    })
    livekitFfiRequest(request.toBinary())
  }

  async speak(hertz) {
    const source = new AudioSource(RATE, 1)
    const track = LocalAudioTrack.createAudioTrack('voice', source)
    const options = new TrackPublishOptions()
    options.source = TrackSource.SOURCE_MICROPHONE
    await this.room.localParticipant.publishTrack(track, options)
    this.speaking = true
    void (async () => {
      for (let n = 0; this.speaking; n += RATE / 100) {
        const data = new Int16Array(RATE / 100)
        for (let i = 0; i < data.length; i++) {
          data[i] = 12000 * Math.sin((2 * Math.PI * hertz * (n + i)) / RATE)
        }
        await source.captureFrame(new AudioFrame(data, RATE, 1, data.length))
      }
    })()
  }

  async leave() {
    this.speaking = false
    await this.room.disconnect()
  }
}

async function main() {
  const caller = await new Person('caller').join(tokens.caller)
  const human = await new Person('agent').join(tokens.agent)
  await caller.speak(440)
  await human.speak(660)
  const callerId = caller.room.localParticipant.identity
  await until('the conversation', () => caller.heard[agent] > 20 && human.heard[callerId] > 20)
  const report = {}

  // Listening: hears both, publishes nothing, is seen by nobody.
  const listener = await new Person('listener').join(tokens.listen)
  await until('the listener hears both', () =>
    listener.heard[agent] > 20 && listener.heard[callerId] > 20)
  const seen = (person) => [...person.room.remoteParticipants.keys()]
  report.listener_seen = [...seen(caller), ...seen(human)]
    .filter((identity) => identity === listener.room.localParticipant.identity).length
  report.listener_published = await Promise.race([
    listener.speak(500).then(() => true, () => false),
    new Promise((resolve) => setTimeout(() => resolve(false), 2500)),
  ])
  report.heard_of_listener = (caller.heard[listener.room.localParticipant.identity] ?? 0)
    + (human.heard[listener.room.localParticipant.identity] ?? 0)
  await listener.leave()

  // Whispering: the agent hears it, the caller never does.
  const whisperer = await new Person('whisperer').join(tokens.whisper)
  const whispererId = whisperer.room.localParticipant.identity
  whisperer.allow([agent])
  await whisperer.speak(880)
  await until('the agent hears the whisper', () => human.heard[whispererId] > 100)
  report.whisper = { agent: human.heard[whispererId], caller: caller.heard[whispererId] ?? 0 }
  await whisperer.leave()

  // A client that forgets the permissions is silenced for all but the agent.
  const rude = await new Person('rude').join(tokens.rude)
  const rudeId = rude.room.localParticipant.identity
  await rude.speak(990)
  await until('the agent hears the other whisper', () => human.heard[rudeId] > 50)
  // How much the caller hears of it while the agent hears a second of it; soon nothing.
  let more
  await until('the caller hears nothing of it', async () => {
    const before = { agent: human.heard[rudeId], caller: caller.heard[rudeId] ?? 0 }
    await until('a second for the agent', () => human.heard[rudeId] > before.agent + 100)
    more = (caller.heard[rudeId] ?? 0) - before.caller
    return more === 0
  })
  report.rude = { caller_more: more, caller_first: caller.heard[rudeId] ?? 0 }
  await rude.leave()
  await caller.leave()
  await human.leave()
  console.log(JSON.stringify(report))
}

main().then(
  async () => { await dispose(); process.exit(0) },
  (error) => { console.log(JSON.stringify({ failure: String(error?.stack ?? error) })); process.exit(1) },
)
