-- How a call leaves its agent, and what the agent notes of it.
local desk = require("services.desk")
local errors = require("services.web.errors")
local media = require("services.desk.media")
local people = require("services.desk.people")
local times = require("cxb.times")

local M = {}

local EXTENSION_MS, EXTENSIONS_MAX = 60000, 3

local function bad_target(message)
  return errors.new(422, "bad_target", message)
end

local function sip_uri(value)
  if value:match("^sips?:.+@.+") then
    return value
  elseif value:match("^tel:%+?%d+$") then
    return value
  elseif value:match("^%+[1-9]%d+$") and #value <= 16 then
    return "tel:" .. value
  end
end

-- (waits) Where to: a transfer target of the call's bot, or a number.
local function destination(ctx, call, body)
  if body.number then
    local uri = sip_uri(body.number)
    return uri, not uri and bad_target("number must be like +919876543210.") or nil
  elseif not body.target_id then
    return nil, bad_target("A SIP transfer needs target_id or number.")
  end
  local bot = call.bot_id and ctx.app.store:get("bots", call.bot_id)
  for _, target in ipairs(bot and bot.transfer_targets or {}) do
    if (target.id == body.target_id or target.label == body.target_id) and target.enabled ~= false
      and target.type ~= "agent_queue" then
      local uri = sip_uri(target.value or "")
      return uri, not uri and bad_target("The target has no SIP address or number.") or nil
    end
  end
  return nil, bad_target("The bot has no such transfer target.")
end

local function to_queue(ctx, id, body)
  return desk.step(ctx.app, id, "requeue", people.mine(ctx, function(call)
    return { transfer = { kind = "queue", note = body.note, by = ctx.principal.id,
      at = times.format(cxb.time.now()) },
      notes = body.note or call.notes }
  end))
end

---(waits) Sends the caller on; what cannot be done leaves the call with the agent.
---@param body {kind: "sip"|"queue", target_id?: string, number?: string, note?: string}
---@return table? call, api.error? err
function M.run(ctx, id, body)
  local call, err = people.own(ctx, id)
  if not call then
    return nil, err
  elseif call.state ~= "active" then
    return nil, errors.new(409, "invalid_state", ("The call is %s."):format(call.state))
  elseif body.kind == "queue" then
    return to_queue(ctx, id, body)
  end
  local uri, refused = destination(ctx, call, body)
  if not uri then
    return nil, refused
  end
  local ok, code = media.refer(ctx.app, call, uri)
  if not ok then
    return nil, errors.new(502, "upstream_failed", ("The transfer failed: %s."):format(code))
  end
  return desk.step(ctx.app, id, "transferred", people.mine(ctx, function()
    return { transfer = { kind = "sip", target_id = body.target_id, note = body.note,
      by = ctx.principal.id, at = times.format(cxb.time.now()) } }
  end))
end

---(waits) Keeps what the agent has written so far; `extend` gives it another minute.
---@return table? call, api.error? err
function M.wrap_up(ctx, id, body)
  return desk.change(ctx.app, id, function(call)
    if call.agent_id ~= ctx.principal.id then
      return nil, errors.not_found("call")
    elseif call.state ~= "wrap_up" and (call.state ~= "active" or body.extend) then
      return nil, errors.new(409, "invalid_state", ("The call is %s."):format(call.state))
    end
    local set = {}
    for _, name in ipairs({ "disposition", "sub_disposition", "notes" }) do
      if body[name] ~= nil then
        set[name] = body[name]
      end
    end
    if body.extend then
      local used = call.extensions or 0
      if used >= EXTENSIONS_MAX then
        return nil, errors.new(409, "extensions_used", ("It was extended %d times."):format(used))
      end
      set.extensions = used + 1
      set.wrap_up_more_ms = (used + 1) * EXTENSION_MS
    end
    return next(set) and { set = set } or nil
  end)
end

return M
