---@meta
-- The call as a flow sees it: what `return function(call) … end` gets. docs/flows.md says more.
-- Times given are seconds, times in answers milliseconds (`_ms`). (waits) marks what takes time; once
-- the caller has gone each of these returns {hangup=true} at once.

---@class cxb.call
---@field config table the call's configuration (core spec §4), defaults filled in
---@field settings table `flow_settings` of the bot
---@field vars table<string, any> call.*, crm.*, system.* and what set() stored
---@field meta {call_id: string, session_id: string, bot_id: string, caller_id?: string, did?: string, direction: "incoming"|"outgoing", transport: string, stream_id?: string}
local call = {}

---@alias cxb.barge nil|false|"words"|"vad"|"dtmf" what may interrupt: nil as configured, false nothing

---@class cxb.call.said
---@field heard_ms integer
---@field interrupted boolean
---@field by? "words"|"high_intent"|"vad"|"dtmf"|"text" what interrupted
---@field hangup? boolean
---@field failed? string why nothing (more) could be said

---(waits) Says text, sentence by sentence, until it was heard or interrupted. {{names}} are filled in.
---@param text string at most 2,000 characters
---@param opts? {barge?: cxb.barge}
---@return cxb.call.said
function call:say(text, opts) end

---(waits) Plays a WAV file: a path, or a name in lua/sounds. `text` goes to the transcript.
---@param file string
---@param opts? {barge?: cxb.barge, text?: string}
---@return cxb.call.said
function call:play(file, opts) end

---Speaks words into the queue while the phone still rings: say() of the same words plays them at once.
---@param text string
function call:prepare(text) end

---@class cxb.call.listening
---@field timeout? number of silence before {silence=true}, 8
---@field dtmf? false|{max?: integer, terminators?: string, timeout?: number} how keys end; timeout: between them
---@field complete? fun(text: string): boolean these words need no more waiting
---@field digits? boolean digits are asked for: people pause between them
---@field hints? string[] words likely to come
---@field ahead? boolean the language model may think before the turn is over for sure

---@class cxb.call.heard
---@field text? string
---@field confidence? number
---@field dtmf? string
---@field terminator? string the key that ended them
---@field silence? boolean nothing was said or keyed
---@field unclear? boolean there was voice, but no words were understood
---@field hangup? boolean

---(waits) A turn of speech, keys, or silence.
---@param opts? cxb.call.listening
---@return cxb.call.heard
function call:listen(opts) end

---(waits) Says and listens; opts are those of both. `said` is the answer of say().
---@param text string
---@param opts? table
---@return cxb.call.heard
function call:ask(text, opts) end

---(waits) Keys only.
---@param opts? {max?: integer, terminators?: string, timeout?: number, wait?: number} wait: before the first, 8
---@return cxb.call.heard
function call:dtmf(opts) end

---What was said until now is no answer to what comes.
function call:forget_speech() end

---@class cxb.call.answered : cxb.call.said
---@field text string what was heard of the answer
---@field ended? "end_call"|"transfer"|"voicemail" a tool ended the call
---@field new_turn? boolean the caller spoke before the answer began: listen() has the words

---(waits) The language model answers, aloud, with the bot's tools.
---@param opts? {text?: string, instruction?: string, barge?: cxb.barge, temperature?: number, max_tokens?: integer}
---@return cxb.call.answered
function call:llm(opts) end

---The model begins to think about words that may be all: llm() of the same words speaks what is there.
---@param text string
function call:think_ahead(text) end

---The caller goes on after all.
function call:think_no_further() end

---(waits) Runs one of the bot's own tools.
---@param name string
---@param args? table
---@return {text: string, value: any, status: string|integer, ms: integer, error?: string, hangup?: boolean}
function call:tool(name, args) end

---(waits) Hands the caller to a transfer target. After a success the call is over for the flow.
---@param target? string id or label; nil: the default one
---@param reason? string
---@return {ok: boolean, reason?: string, hangup?: boolean}
function call:transfer(target, reason) end

---(waits) Puts the caller into the queue of the Agent Desk and holds them until an agent is there.
---@param opts? {queue?: string, reason?: string, priority?: integer, language?: string, target?: string}
---@return {ok: boolean, reason?: string, hangup?: boolean}
function call:handoff(opts) end

---(waits) Leaves `voicemail_message` after the beep or a second of silence (10 s at most) and hangs up.
---@return {hangup: true}
function call:voicemail() end

---Ends the call. Idempotent.
---@param reason? string "no_response" makes it RNR when the caller never spoke
---@return {hangup: true}
function call:hangup(reason) end

---Remembers a value: call.vars[key].
---@param key string
function call:set(key, value) end

---Notes what the caller wants, for the result.
---@param name string
---@param data? table
---@param confidence? number
function call:intent(name, data, confidence) end

---Notes that something happened, for the result.
---@param kind string
---@param data? table
function call:event(kind, data) end

---Silence is written to the recording meanwhile.
---@param what "pause"|"resume"
function call:record(what) end

---Runs fn every so many seconds, in a task of its own, until the call ends.
---@param seconds number
---@param fn fun()
function call:every(seconds, fn) end

---Text with its {{names}} filled in; unknown ones are left out.
---@param text string
---@return string
function call:render(text) end

---@return integer milliseconds of the media clock: the times of a result
function call:t_ms() end
