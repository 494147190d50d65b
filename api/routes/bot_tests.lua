-- Where a bot takes calls, and test calls with it (api.md §5.4).
local bots = require("services.bots")
local calls = require("services.calls")
local errors = require("services.errors")
local pipeline = require("services.pipeline")
local tickets = require("services.tickets")

-- The front that serves this page also carries call sockets; without one, the public URL does.
local function socket_base(ctx)
  local origin, public = pipeline.origin(ctx), ctx.app.settings.CXB_PUBLIC_URL
  local base = origin.scheme .. "://" .. origin.host
  if not origin.proxied and public then
    base = public:gsub("/+$", "")
  end
  return (base:gsub("^http", "ws"))
end

local function active_bot(ctx)
  local bot, err = bots.active(ctx.app.store, ctx.params.id)
  if bot then
    return bot
  elseif err.code == "not_found" then
    return nil, errors.not_found("bot")
  end
  return nil, err.code == "invalid" and errors.invalid(err.fields) or errors.of_store(err)
end

local function browser_call(ctx, bot)
  local session_id = cxb.crypto.uuid7()
  local call, err = calls.begin_test(ctx.app.store, session_id, bot, ctx.body)
  if not call then
    return nil, errors.of_store(err)
  end
  local ticket, expires_at = tickets.test_call(ctx.app, bot._id, session_id)
  return { body = {
    ws_url = ("%s/browser/%s"):format(socket_base(ctx), bot._id), ticket = ticket,
    session_id = session_id, expires_at = expires_at,
  } }
end

local function test_call(ctx)
  local bot, err = active_bot(ctx)
  if not bot then
    return nil, err
  end
  ctx.audit = { target = { type = "bot", id = bot._id, name = bot.name } }
  return browser_call(ctx, bot)
end

local any_values = { type = "object", additionalProperties = { type = "any" } }

return {
  {
    verb = "POST", path = "/api/v1/bots/{id}/test-call", guard = "admin",
    summary = "A test call from a browser.", audit = "bot.test_call", limit = "test",
    idempotent = true,
    output = { type = "object", properties = {
      ws_url = { type = "string" }, ticket = { type = "string" }, session_id = { type = "string" },
      expires_at = { type = "integer", format = "time" },
    } },
    input = {
      type = "object",
      required = { "kind" },
      properties = {
        kind = { type = "string", enum = { "browser" } },
        variables = any_values, mock_crm = any_values, use_draft = { type = "boolean" },
      },
    },
    example = { kind = "browser", variables = { name = "Asha" } },
    handler = test_call,
  },
}
