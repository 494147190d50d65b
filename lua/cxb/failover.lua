-- The providers of one stage of a call (stt, llm, tts): the configured one and those that take over
-- from it, in order. One that took over stays for the rest of the call.
local M = {}
M.__index = M

---@class cxb.failover.options
---@field stage "stt"|"llm"|"tts"
---@field config table of the stage (core spec §4), with `fallback`
---@field on_error fun(stage: string, provider: string, code?: string, message?: string)
---@field on_switch fun(stage: string, from: string, to: string)

---@param o cxb.failover.options
function M.new(o)
  local choices = { o.config }
  for _, fallback in ipairs(o.config.fallback or {}) do
    choices[#choices + 1] = fallback
  end
  return setmetatable({
    stage = o.stage, choices = choices, at = 1, choice = choices[1], on_error = o.on_error,
    on_switch = o.on_switch,
  }, M)
end

---Notes that the provider in use failed.
function M:failed(code, message)
  self.on_error(self.stage, self.choice.provider, code, message)
end

---@return boolean whether another provider is there to take over
function M:has_next()
  return self.at < #self.choices
end

---Goes on with the next provider.
---@return boolean false when none is left
function M:advance()
  if not self:has_next() then
    return false
  end
  local from = self.choice.provider
  self.at = self.at + 1
  self.choice = self.choices[self.at]
  self.on_switch(self.stage, from, self.choice.provider)
  return true
end

---(waits) Calls attempt(choice) until one answers; after a failure the next provider is tried, or
---the same one when again(code, tries) says so.
---@param attempt fun(choice: table): any, string?, string? "cancelled" ends it
---@param again? fun(code: string?, tries: integer): boolean tries: failures of this provider so far
---@return any value, string? code, string? message
function M:run(attempt, again)
  local tries = 0
  while true do
    local value, code, message = attempt(self.choice)
    if value ~= nil or code == "cancelled" then
      return value, code, message
    end
    tries = tries + 1
    self:failed(code, message)
    if not (again and again(code, tries)) then
      if not self:advance() then
        return nil, code, message
      end
      tries = 0
    end
  end
end

---(waits) What open() answers, or nil, "timeout" after `ms`; what comes later is closed again.
---@param ms number
---@param open fun(): table?, string?, string?
function M.within(ms, open)
  local result, late
  local task = cxb.task.spawn("open", function()
    local value, code, message = open()
    result = { value, code, message }
    if late and value then
      value:close()
    end
  end)
  local _, code, trace = task:wait(ms)
  if result then
    return unpack(result, 1, 3)
  end
  late = true -- in time or not: nobody waits for it any more
  if code == "timeout" then
    return nil, "timeout", ("no connection after %d ms"):format(ms)
  end
  return nil, code or "error", trace
end

return M
