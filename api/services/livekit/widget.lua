-- A visitor of a website talks to a bot (api.md §5.14): a worker is in the room before the visitor
-- gets the token to join it.
local bots = require("services.bots")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local livekit = require("cxb.livekit")
local vault = require("services.identity.vault")

local M = {}

local DISPATCH_MS, TOKEN_S = 10000, 600

local function key_of(app, bot)
  local key = bot.widget_api_key
  return key and vault.is_sealed(key) and vault.open(app, key) or key
end

local function origin_allowed(bot, origin)
  local list = bot.widget_allowed_origins or {}
  for _, allowed in ipairs(list) do
    if allowed:gsub("/+$", "") == origin then
      return true
    end
  end
  return list[1] == nil
end

local function find_bot(ctx)
  local app, body = ctx.app, ctx.body
  local bot, err = bots.active(app.store, body.bot_id)
  if not bot then
    return nil, err.code == "unavailable" and errors.of_store(err) or errors.not_found("bot")
  end
  local key = key_of(app, bot)
  if not key or not cxb.crypto.equal(body.api_key, key) then
    return nil, errors.new(401, "unauthenticated", "The widget key is wrong.")
  elseif not origin_allowed(bot, ctx.req.headers.origin) then
    return nil, errors.new(403, "origin_not_allowed", "This website may not use the bot.")
  end
  return bot
end

local function hex(n)
  return cxb.crypto.hex(cxb.crypto.random(n / 2))
end

---(waits)
---@return {server_url: string, participant_token: string}? answer, api.error? err
function M.token(ctx)
  local app = ctx.app
  local bot, err = find_bot(ctx)
  if not bot then
    return nil, err
  elseif not livekit.configured(app.settings) then
    return nil, errors.new(503, "livekit_unavailable", "LiveKit not configured")
  end
  local room, identity = ("widget-%s-%s"):format(bot._id, hex(12)), "widget-user-" .. hex(8)
  local answer
  answer, err = fleet.start(app, {
    purpose = "widget", path = "/livekit/widget", timeout_ms = DISPATCH_MS,
    request_id = ctx.request_id,
    body = { bot_id = bot._id, room_name = room, caller_id = identity },
  })
  if not answer or answer.status >= 300 then
    cxb.log.warn("no worker took a visitor", { status = answer and answer.status,
      error = err and err.message or answer.answer.error })
    return nil, errors.new(503, "dispatch_failed", err and err.message
      or "No worker can take the call now.", { headers = { ["retry-after"] = "1" } })
  end
  return {
    server_url = app.settings.LIVEKIT_URL,
    participant_token = livekit.token(app.settings, { identity = identity, room = room,
      name = "Website Visitor", seconds = TOKEN_S }),
  }
end

return M
