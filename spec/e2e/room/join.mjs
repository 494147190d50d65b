// Somebody who is in a LiveKit room until he is killed: node join.mjs URL TOKEN
import { Room } from '@livekit/rtc-node'

const room = new Room()
await room.connect(process.argv[2], process.argv[3], { autoSubscribe: false, dynacast: false })
console.log('joined')
setInterval(() => {}, 1000)
