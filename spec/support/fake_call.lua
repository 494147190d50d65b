-- A call for flow specs: the caller's answers are a list, what the bot said is collected.
local M = {}
M.__index = M

---@param answers table[] what ask and listen return in turn; then {hangup=true}
---@param o? {settings?: table, transfer?: table}
function M.new(answers, o)
  o = o or {}
  return setmetatable({
    answers = answers, at = 0, said = {}, vars = {}, intents = {}, events = {},
    settings = o.settings or {}, config = { opening_message = "" },
    transfer_answer = o.transfer or { ok = false, reason = "unsupported" },
  }, M)
end

function M:say(text)
  self.said[#self.said + 1] = text
  return { heard_ms = 1000, interrupted = false }
end

function M:listen()
  self.at = self.at + 1
  return self.answers[self.at] or { hangup = true }
end

function M:ask(text, opts)
  self:say(text)
  self.asked_with = opts
  return self:listen()
end

function M:intent(name, data)
  self.intents[#self.intents + 1] = { name, data }
end

function M:event(name)
  self.events[#self.events + 1] = name
end

function M:set(key, value)
  self.vars[key] = value
end

function M:transfer(target, reason)
  self.transferred = { target, reason }
  return self.transfer_answer
end

function M:hangup(reason)
  self.hung_up = reason or "flow"
  return { hangup = true }
end

return M
