-- What happens in one call, told while it happens to whoever asked: the API's live events and those
-- who listen in. Facts of the record and states of the conversation become events
-- {type=, t_ms=, data=}; the last one is "call_ended", and the hub is `over` from then on. Nobody
-- here can hold up the call: listeners must not wait.
local M = {}
M.__index = M

local as_event = {
  answer = function(d)
    return { type = "state", t_ms = d.t_ms, data = { value = "answered" } }
  end,
  turn = function(d)
    return { type = "transcript", t_ms = d.end_ms or d.start_ms,
      data = { turn = d.turn, role = d.role, text = d.text } }
  end,
  latency = function(d)
    return { type = "latency", data = d }
  end,
  intent = function(d)
    return { type = "intent", t_ms = d.t_ms, data = { name = d.name, turn = d.turn } }
  end,
  event = function(d)
    return d
  end,
}

---@param facts table cxb.record whose facts are told
function M.new(facts)
  local self = setmetatable({ listeners = {} }, M)
  facts.listener = function(kind, data)
    local make = as_event[kind]
    if make then
      self:tell(make(data))
    end
  end
  return self
end

---@param event {type: string, t_ms?: integer, data?: table}
function M:tell(event)
  self.over = self.over or event.type == "call_ended"
  for _, listener in ipairs(self.listeners) do
    listener(event)
  end
end

---@param listener fun(event: table)
---@return fun() leave
function M:listen(listener)
  local list = { listener }
  for i, other in ipairs(self.listeners) do
    list[i + 1] = other
  end
  self.listeners = list
  return function()
    local rest = {}
    for _, other in ipairs(self.listeners) do
      if other ~= listener then
        rest[#rest + 1] = other
      end
    end
    self.listeners = rest
  end
end

return M
