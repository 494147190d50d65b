// One person in a LiveKit room: {url, token} from its argument. Writes a JSON line for what happens:
// joined, each data message {topic, data}, left; ends with the room.
import { Room, RoomEvent, dispose } from '@livekit/rtc-node'

const { url, token } = JSON.parse(process.argv[2])
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const room = new Room()
room.on(RoomEvent.DataReceived, (payload, _participant, _kind, topic) => {
  say({ topic, data: JSON.parse(Buffer.from(payload).toString()) })
})
room.on(RoomEvent.Disconnected, async () => {
  say({ left: true })
  await dispose()
  process.exit(0)
})
await room.connect(url, token, { autoSubscribe: true, dynacast: false })
say({ joined: room.name })
setTimeout(() => process.exit(3), 150000)
