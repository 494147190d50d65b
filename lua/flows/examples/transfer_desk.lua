-- A receptionist: asks who is wanted and what it is about, puts the caller through, takes a message
-- when nobody answers. Settings: directory = {{name, target, also = {…}}, …}; targets are those of
-- the bot (transfer_targets).
local intent = require("cxb.intent")

local default_directory = {
  { name = "sales", target = "sales", also = { "buy", "order", "offer" } },
  { name = "support", target = "support", also = { "help", "broken", "technical", "problem" } },
  { name = "accounting", target = "accounting", also = { "invoice", "bill", "payment" } },
}

local function matcher_of(directory)
  local words = {}
  for _, entry in ipairs(directory) do
    words[entry.name] = { entry.name }
    for _, word in ipairs(entry.also or {}) do
      table.insert(words[entry.name], word)
    end
  end
  return intent.compile(words)
end

-- (waits) Who is wanted: an entry of the directory, nil when that was not understood.
local function ask_who(call, directory)
  local matcher, names = matcher_of(directory), {}
  for i, entry in ipairs(directory) do
    names[i] = entry.name
  end
  local question = "Good morning. Who would you like to talk to?"
  for _ = 1, 3 do
    local heard = call:ask(question, { hints = names })
    if heard.hangup then
      return nil
    end
    local name = heard.text and intent.match(matcher, heard.text)
    for _, entry in ipairs(directory) do
      if entry.name == name then
        return entry
      end
    end
    question = "I can put you through to " .. table.concat(names, ", ") .. ". Which one is it?"
  end
end

local function take_message(call, entry)
  local heard = call:ask(("I am sorry, nobody in %s answers. What may I tell them?")
    :format(entry.name), { timeout = 10 })
  if heard.text and heard.text ~= "" then
    call:set("message", heard.text)
    call:intent("message", { ["for"] = entry.name })
    call:say("Thank you, I will pass that on. Goodbye.", { barge = false })
  end
end

return function(call)
  local entry = ask_who(call, call.settings.directory or default_directory)
  if call.gone then
    return
  elseif not entry then
    return call:say("I am sorry, I do not know who that is. Please call again. Goodbye.")
  end
  local about = call:ask("And what is it about?", { timeout = 6 })
  if about.hangup then
    return
  end
  call:set("about", about.text)
  local done = call:transfer(entry.target, about.text or "not said")
  if not done.ok and not done.hangup then
    take_message(call, entry)
  end
end
