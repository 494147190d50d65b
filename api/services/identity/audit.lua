-- Who did what (api.md §5.20): one row a state-changing request of a person or a key, append only.
-- A route names its action (`audit = "bot.update"`; false: not worth a row, like a heartbeat); its
-- handler may say more in ctx.audit = {target = {type, id, name}, changes = audit.changes(a, b)},
-- and that this request only goes on with one that was told, or repeats it (skip = true).
local changes = require("services.identity.audit_changes")

local M = {}

M.changes = changes.between

local changing = { POST = true, PUT = true, PATCH = true, DELETE = true }
-- Refusals worth a row: somebody tried what is not allowed to them.
local telling = { [401] = true, [403] = true, [429] = true }

local function action_of(route)
  if route.audit ~= nil then
    return route.audit or nil
  end
  return changing[route.verb] and ("%s.%s"):format(route.group or "api", route.verb:lower()) or nil
end

local people = { user = true, key = true, ticket = true }

local function actor_of(ctx)
  local principal = ctx.principal or {}
  local kind = principal.by_kind or principal.kind
  local known = (kind == "user" or kind == "key") and principal.id ~= nil
  return {
    type = principal.id == "operator" and "operator" or known and kind or "anyone",
    id = known and principal.id or nil, name = known and principal.name or nil, ip = ctx.client,
  }
end

-- The object a route's path names.
local function target_of(ctx)
  local told = ctx.audit and ctx.audit.target
  if told then
    return told
  end
  local name = ctx.route.path:match("{([%w_]+)}")
  return { type = ctx.route.group, id = name and ctx.params[name] or nil }
end

-- Whether this request is one that the audit tells of.
local function is_told(ctx, err)
  local principal = ctx.principal
  if not principal or principal.kind == "core" or principal.kind == "near" then
    return false
  elseif not people[principal.kind] and not ctx.audit then
    return false
  end
  return not err or telling[err.status] or false
end

---(waits) Writes the row of an answered request, if it has one.
---@param answer? table|string
---@param err? table the refusal
function M.record(ctx, answer, err)
  local route = ctx.route
  local action = action_of(route)
  if not action or not ctx.app.store or not is_told(ctx, err) then
    return
  end
  local more = ctx.audit or {}
  if more.skip then
    return
  end
  local row, failed = ctx.app.store:insert("audit_log", {
    at = cxb.time.now(), actor = actor_of(ctx), action = action, target = target_of(ctx),
    request_id = ctx.request_id, result = err and err.code or "ok",
    changes = more.changes or changes.asked(not err and answer and ctx.body or nil),
  })
  if not row then
    cxb.log.error("audit row lost", { route = route.name, action = action,
      error = failed.message })
  end
end

return M
