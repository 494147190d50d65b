-- The assistant: a language model talks with the caller, as the bot's configuration says (prompt,
-- opening, tools, re-engagement). All of it is conversation; what a turn is, what interrupts and
-- what is heard is decided below (cxb.call).
local phrases = require("cxb.phrases")

local max_turns = 200
local silence_instruction = "The caller has said nothing for a while. Ask in one short sentence "
  .. "whether they are still there, in the language of the conversation."

-- What to do about a silent caller; true when the call is over.
local function re_engage(call, attempt)
  local rule = call.config.re_engagement
  if attempt > rule.max_attempts then
    if rule.final_message ~= "" then
      call:say(rule.final_message)
    end
    return call:hangup("no_response")
  end
  call:event("re_engagement", { attempt = attempt })
  local message = rule.messages[(attempt - 1) % math.max(1, #rule.messages) + 1]
  if message then
    call:say(message)
  elseif call:llm({ instruction = silence_instruction }).text == "" then
    call:say(phrases.of(call.config.tts.language).still_there)
  end
end

-- How long to wait for the caller; nil: as long as the session allows (max_silence_seconds).
local function patience(call, attempts)
  local rule = call.config.re_engagement
  if not rule or (attempts >= rule.max_attempts and not rule.hangup_after) then
    return 7200
  end
  return rule.after_seconds
end

-- The words of a turn as the language model gets them.
local function words_of(heard)
  return heard.dtmf and ("[dtmf:%s%s]"):format(heard.dtmf, heard.terminator or "") or heard.text
end

return function(call)
  local opening = call.config.opening_message
  if opening ~= "" then
    call:say(opening)
  end
  local attempts, turns = 0, 0
  while turns < max_turns do
    local heard = call:listen({ timeout = patience(call, attempts), ahead = true })
    if heard.hangup then
      return
    elseif heard.silence then
      attempts = attempts + 1
      if re_engage(call, attempts) then
        return
      end
    elseif not heard.unclear then
      attempts, turns = 0, turns + 1
      local said = call:llm({ text = words_of(heard) })
      if said.hangup or said.ended or said.failed then
        return
      end
    end
  end
  call:say(call.config.timeout_message, { barge = false })
end
