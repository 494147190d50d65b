-- Bots as far as they are read, and the browser test call (api.md §5.4).
local bots = require("services.bots")
local calls = require("services.calls")
local errors = require("services.errors")
local json = require("cxb.json")
local lists = require("services.lists")
local pipeline = require("services.pipeline")
local tickets = require("services.tickets")
local times = require("cxb.times")

local bot_params = { type = "object", properties = { id = { type = "string", format = "id" } } }

-- The front that serves this page also carries call sockets; without one, the public URL does.
local function socket_base(ctx)
  local origin, public = pipeline.origin(ctx), ctx.app.settings.CXB_PUBLIC_URL
  local base = origin.scheme .. "://" .. origin.host
  if not origin.proxied and public then
    base = public:gsub("/+$", "")
  end
  return (base:gsub("^http", "ws"))
end

local function test_call(ctx)
  local bot, err = bots.active(ctx.app.store, ctx.params.id)
  if not bot then
    if err.code == "not_found" then
      return nil, errors.not_found("bot")
    end
    return nil, err.code == "invalid" and errors.invalid(err.fields) or errors.of_store(err)
  end
  local session_id = cxb.crypto.uuid7()
  local call
  call, err = calls.begin_test(ctx.app.store, session_id, bot, ctx.body)
  if not call then
    return nil, errors.of_store(err)
  end
  local ticket, expires_at = tickets.test_call(ctx.app, bot._id, session_id)
  return { body = {
    ws_url = ("%s/browser/%s"):format(socket_base(ctx), bot._id), ticket = ticket,
    session_id = session_id, expires_at = times.format(expires_at),
  } }
end

local function shown(bot)
  return {
    id = bot._id, v = bot.v, name = bot.name, description = bot.description, flow = bot.flow,
    is_active = bot.is_active, timezone = bot.timezone,
  }
end

return {
  {
    verb = "GET", path = "/api/v1/bots", guard = "admin",
    summary = "Bots by name.",
    output = lists.answer({ type = "object", additionalProperties = true }),
    query = {
      type = "object",
      properties = {
        limit = { type = "integer", minimum = 1, maximum = 200, default = 50 },
        after = { type = "string", maxLength = 2048 },
      },
    },
    handler = function(ctx)
      local found, next_or_err = bots.list(ctx.app.store, ctx.query)
      if not found then
        return nil, errors.of_store(next_or_err)
      end
      for i, bot in ipairs(found) do
        found[i] = shown(bot)
      end
      return { body = { items = json.array(found), next = next_or_err or json.null } }
    end,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/test-call", guard = "admin", params = bot_params,
    summary = "A test call from a browser.",
    output = { type = "object", additionalProperties = true },
    input = {
      type = "object",
      required = { "kind" },
      properties = {
        kind = { type = "string", enum = { "browser" } },
        variables = { type = "object", additionalProperties = { type = "any" } },
        mock_crm = { type = "object", additionalProperties = { type = "any" } },
      },
    },
    handler = test_call,
  },
}
