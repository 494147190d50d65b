-- A menu, by key or by word: what was asked for is said, or the caller is put through.
-- Settings: greeting, entries = {{key, name, words, say | transfer}, …}.
local intent = require("cxb.intent")

local default_entries = {
  { key = "1", name = "hours", words = { "opening hours", "hours", "open", "close" },
    say = "We are open from nine in the morning to six in the evening." },
  { key = "2", name = "billing", words = { "bill", "billing", "invoice", "payment" },
    transfer = "billing" },
  { key = "0", name = "operator", words = { "operator", "agent", "person", "help" },
    transfer = "operator" },
}

local function menu_of(entries)
  local parts = {}
  for i, entry in ipairs(entries) do
    parts[i] = ("for %s, press %s"):format(entry.name, entry.key)
  end
  local menu = table.concat(parts, "; ")
  return menu:sub(1, 1):upper() .. menu:sub(2) .. ". Or say what you need."
end

local function chosen(entries, matcher, heard)
  local name = heard.text and intent.match(matcher, heard.text)
  for _, entry in ipairs(entries) do
    if entry.key == heard.dtmf or entry.name == name then
      return entry
    end
  end
end

-- True when the caller is with somebody else.
local function serve(call, entry)
  call:intent(entry.name)
  if entry.say then
    call:say(entry.say)
    return false
  end
  local done = call:transfer(entry.transfer, "menu: " .. entry.name)
  if not done.ok and not done.hangup then
    call:say("I am sorry, nobody is free there just now.")
  end
  return done.ok or done.hangup
end

return function(call)
  local entries = call.settings.entries or default_entries
  local words = {}
  for _, entry in ipairs(entries) do
    words[entry.name] = entry.words
  end
  local matcher, menu = intent.compile(words), menu_of(entries)
  local question = (call.settings.greeting or "Welcome.") .. " " .. menu
  for _ = 1, 3 do
    local heard = call:ask(question, { dtmf = { max = 1 }, timeout = 8 })
    if heard.hangup then
      return
    end
    local entry = chosen(entries, matcher, heard)
    if entry and serve(call, entry) then
      return
    end
    question = entry and "Anything else? " .. menu or "Sorry, I did not get that. " .. menu
  end
  call:say("Thank you for calling. Goodbye.")
end
