-- What a flow may ask of its call (docs/flows.md describes each).
return {
  methods = {
    say = true, play = true, listen = true, ask = true, dtmf = true, llm = true, tool = true,
    transfer = true, handoff = true, voicemail = true, hangup = true, intent = true, event = true,
    set = true, record = true, every = true,
  },
}
