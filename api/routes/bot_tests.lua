-- Where a bot takes calls, and test calls with it (api.md §5.4).
local bots = require("services.bots")
local calls = require("services.calls")
local dialout = require("services.fleet.dialout")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local pipeline = require("services.web.pipeline")
local tickets = require("services.identity.tickets")

-- The front that serves this page also carries call sockets; without one, the public URL does.
local function own_base(ctx)
  local origin, public = pipeline.origin(ctx), ctx.app.settings.CXB_PUBLIC_URL
  local base = origin.scheme .. "://" .. origin.host
  if not origin.proxied and public then
    base = public:gsub("/+$", "")
  end
  return fleet.socket_base(base)
end

-- (waits) Where a browser finds a worker: at the host with the most room. A host of this machine,
-- and a fleet nobody told the API of, are behind the front that serves us.
local function socket_base(ctx)
  local hosts, err = fleet.hosts(ctx.app)
  if not hosts then
    return nil, err
  elseif not hosts[1] then
    return own_base(ctx)
  end
  local best, room = nil, 0
  for _, host in ipairs(hosts) do
    local free = host.draining and 0 or host.available - host.reservations
    if free > room then
      best, room = host, free
    end
  end
  if not best then
    return nil, errors.new(503, "no_capacity", "No host has a free slot.",
      { headers = { ["retry-after"] = "1" } })
  end
  local host = best.base_url:match("^https?://([^/]+)")
  local is_here = host:match("^127%.") or host:match("^localhost")
  return is_here and own_base(ctx) or fleet.socket_base(best.base_url)
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

local function begin(ctx, bot)
  local session_id = cxb.crypto.uuid7()
  local call, err = calls.begin_test(ctx.app.store, session_id, bot, ctx.body)
  if not call then
    return nil, errors.of_store(err)
  end
  return session_id
end

local kinds = {}

function kinds.browser(ctx, bot)
  local base, err = socket_base(ctx)
  local session_id
  if base then
    session_id, err = begin(ctx, bot)
  end
  if not session_id then
    return nil, err
  end
  local ticket, expires_at = tickets.test_call(ctx.app, bot._id, session_id)
  return { body = {
    ws_url = ("%s/browser/%s"):format(base, bot._id), ticket = ticket,
    session_id = session_id, expires_at = expires_at,
  } }
end

-- A call that never came to be is no call in progress.
local function give_up(app, session_id)
  app.store:update("calls", session_id, { set = { status = "failed", disconnected_by = "error",
    completed_at = cxb.time.now() } }, { expect = { status = "in_progress" } })
end

function kinds.phone(ctx, bot)
  if not ctx.body.to_number then
    return nil, errors.invalid({ { path = "to_number", rule = "required",
      message = "is required" } })
  end
  local session_id, err = begin(ctx, bot)
  if not session_id then
    return nil, err
  end
  local answer
  answer, err = dialout.dial(ctx, {
    bot_id = bot._id, to_number = ctx.body.to_number, from_number = ctx.body.from_number,
    purpose = "test",
    event = { _campaign_session_id = session_id, _skip_post_push = true },
  })
  if not answer then
    give_up(ctx.app, session_id)
    return nil, err
  end
  return { body = { status = answer.status, call_id = answer.call_id,
    room_name = answer.room_name, session_id = session_id } }
end

local function test_call(ctx)
  local bot, err = active_bot(ctx)
  if not bot then
    return nil, err
  end
  ctx.audit = { target = { type = "bot", id = bot._id, name = bot.name } }
  return kinds[ctx.body.kind](ctx, bot)
end

local function wss_url(ctx)
  local bot, err = documents.get(ctx, "bots", ctx.params.id, "bot")
  if not bot then
    return nil, err
  end
  local base = fleet.first_base(ctx.app)
  base = base and fleet.socket_base(base) or "wss://localhost"
  return { body = { ws_url = ("%s/ws/%s"):format(base, bot._id),
    exotel_url = ("%s/exotel/%s"):format(base, bot._id) } }
end

local any_values = { type = "object", additionalProperties = { type = "any" } }

local number = { type = "string", minLength = 3, maxLength = 32 }

return {
  {
    verb = "GET", path = "/api/v1/bots/{id}/wss-url", guard = "admin",
    summary = "Where carriers reach this bot.",
    output = { type = "object", properties = { ws_url = { type = "string" },
      exotel_url = { type = "string" } } },
    handler = wss_url,
  },
  {
    verb = "POST", path = "/api/v1/bots/{id}/test-call", guard = "admin",
    summary = "A test call from a browser or to a phone.", audit = "bot.test_call", limit = "test",
    deadline_ms = dialout.DEADLINE_MS, idempotent = true,
    output = { type = "object", properties = {
      ws_url = { type = "string" }, ticket = { type = "string" }, session_id = { type = "string" },
      expires_at = { type = "integer", format = "time" }, status = { type = "string" },
      call_id = { type = "string" }, room_name = { type = "string" },
    } },
    errors = { "no_capacity", "number_on_dnc", "number_not_allowed", "outside_active_hours",
      "livekit_not_configured" },
    input = {
      type = "object",
      required = { "kind" },
      properties = {
        kind = { type = "string", enum = { "browser", "phone" } },
        to_number = number, from_number = number,
        variables = any_values, mock_crm = any_values, use_draft = { type = "boolean" },
      },
    },
    example = { kind = "browser", variables = { name = "Asha" } },
    handler = test_call,
  },
}
