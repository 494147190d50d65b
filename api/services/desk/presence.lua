-- Who is at the desk (api.md §5.17). The cache holds what an agent chose and when its browser last
-- gave a sign of life; what a call makes of it (on_call, wrap_up, disconnected) is read from the
-- call, so it cannot disagree with it, and a lost cache loses no call.
local M = {}

local KEPT_MS = 86400000
local INDEX = "desk:agents"

local function record(id)
  return "desk:agent:" .. id
end

local function parse(id, list)
  local agent = { id = id }
  for i = 1, #list, 2 do
    agent[list[i]] = list[i + 1]
  end
  if not agent.at then
    return nil
  end
  local languages = {}
  for language in (agent.languages or ""):gmatch("[^,]+") do
    languages[#languages + 1] = language
  end
  agent.languages = languages
  agent.at, agent.since = tonumber(agent.at), tonumber(agent.since) or tonumber(agent.at)
  return agent
end

---(waits) What the cache knows of an agent; false when nothing.
---@return table|false|nil agent, table? err
function M.get(app, id)
  local list, err = app.cache:call("HGETALL", record(id))
  if not list then
    return nil, err
  end
  return parse(id, list) or false
end

---(waits) All agents of the last day, by id.
---@return table<string, table>? agents, table? err
function M.all(app)
  local list, err = app.cache:script("presence_all", { INDEX },
    { cxb.time.now() - KEPT_MS, app.cache.prefix .. record("") })
  if not list then
    return nil, err
  end
  local out = {}
  for i = 1, #list, 2 do
    out[list[i]] = parse(list[i], list[i + 1])
  end
  return out
end

---(waits) Notes fields of an agent.
---@param fields table<string, string|number>
---@return true?, table? err
function M.set(app, id, fields)
  local args = { cxb.time.now(), id, KEPT_MS }
  for name, value in pairs(fields) do
    args[#args + 1] = name
    args[#args + 1] = value
  end
  local ok, err = app.cache:script("presence_set", { INDEX, record(id) }, args)
  return ok and true, err
end

---(waits) A sign of life; `status`: what the agent chooses with it.
---@param user table {id, name, languages}
function M.beat(app, user, status)
  local now = cxb.time.now()
  local fields = { at = now, name = user.name, languages = table.concat(user.languages or {}, ",") }
  if status then
    fields.status, fields.since = status, now
  end
  return M.set(app, user.id, fields)
end

---(waits) The browser has gone.
function M.leave(app, id)
  return M.set(app, id, { at = 0, since = cxb.time.now() })
end

---(waits) Who was switched off or removed is not at the desk any more.
function M.dismiss(app, id)
  return M.get(app, id) and M.leave(app, id)
end

---Whether an agent's browser gave a sign of life lately.
---@return boolean
function M.is_here(agent, now, ttl_ms)
  return agent ~= nil and agent ~= false and now - agent.at < ttl_ms
end

local by_call = { assigned = "on_call", active = "on_call", wrap_up = "wrap_up" }

---The status of an agent as others see it.
---@param agent table|false|nil
---@param call? table the unfinished call it has
---@param ttl_ms number
---@return string
function M.status(agent, call, now, ttl_ms)
  local here = M.is_here(agent, now, ttl_ms)
  if call then
    if not here or M.is_out(call) then
      return "disconnected"
    end
    return by_call[call.state]
  end
  return here and agent.status or "offline"
end

---Since when it has been so.
---@param agent table|false|nil
---@param call? table the unfinished call it has
---@return integer? ms
function M.since(agent, call)
  return call and (call.wrap_up_at or call.assigned_at) or agent and agent.since or nil
end

local online = { available = true, busy = true, on_call = true, wrap_up = true }

---Whether the agent of a call that goes on is out of its room; wrap-up needs none.
---@return boolean
function M.is_out(call)
  return call.agent_out == true and call.state ~= "wrap_up"
end

---Whether an agent of this status is here and will take calls again.
---@return boolean
function M.is_online(status)
  return online[status] or false
end

return M
