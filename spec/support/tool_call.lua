-- A call as cxb.tools sees it: configuration, variables, settings; its events are kept.
local M = {}

---@param config table
---@param more? {vars?: table, settings?: table, meta?: table}
function M.new(config, more)
  more = more or {}
  local call = { config = config, vars = more.vars or {}, meta = more.meta or {}, events = {},
    session = { settings = more.settings or {} } }
  config.timezone = config.timezone or "UTC"
  config.tools = config.tools or {}
  function call:event(kind, data)
    self.events[#self.events + 1] = { type = kind, data = data }
  end
  return call
end

return M
