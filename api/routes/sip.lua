-- Numbers and calls out (api.md §5.11).
local carriers = require("services.carriers")
local dialout = require("services.fleet.dialout")
local dids = require("services.carriers.dids")
local errors = require("services.web.errors")

local base = "/api/v1/sip"
local number = { type = "string", minLength = 3, maxLength = 32 }
local values = { type = "object", additionalProperties = { type = "any" } }
local id = { type = "string", format = "id" }

local function bad(path, rule, message)
  return nil, errors.invalid({ { path = path, rule = rule, message = message } })
end

-- What the caller knows of the call; flags beginning "_" steer the platform.
local function event_of(ctx)
  local body = ctx.body
  if body.connected_event and body.variables then
    return bad("variables", "alias", "is another name of connected_event: give one")
  end
  local event = body.connected_event or body.variables or {}
  for name in pairs(event) do
    if type(name) == "string" and name:sub(1, 1) == "_" and ctx.principal.kind == "key" then
      return bad((body.variables and "variables." or "connected_event.") .. name, "reserved",
        "begins with _, which is ours")
    end
  end
  return event
end

return {
  {
    verb = "GET", path = base .. "/lookup", guard = "secret",
    summary = "Which bot answers a number.",
    query = { type = "object", required = { "number" }, properties = { number = number } },
    output = { type = "object", properties = { bot_id = id, carrier_id = id, did_id = id } },
    handler = function(ctx)
      local entry, err = dids.find(ctx.app, dids.number(ctx.query.number))
      if not entry then
        return nil, err
      elseif not entry.bot_id or not dids.is_inbound(ctx.app, entry) then
        return nil, errors.not_found("number")
      end
      return { body = { bot_id = entry.bot_id, carrier_id = entry.owner_id,
        did_id = entry.did_id } }
    end,
  },
  {
    verb = "GET", path = base .. "/outbound-trunk", guard = "secret",
    summary = "The trunk for calls from a number; without one, the first there is.",
    query = { type = "object", properties = { from_number = number } },
    output = { type = "object", properties = {
      trunk_id = { type = "string" }, number = { type = "string" }, carrier_id = id,
      outbound_cps = { type = "number" }, outbound_burst = { type = "integer" },
      outbound_channels = { type = "integer" },
    } },
    handler = function(ctx)
      local wanted = ctx.query.from_number and dids.number(ctx.query.from_number)
      local carrier, did = carriers.outbound(ctx.app, wanted)
      if not carrier then
        return nil, did
      elseif not carrier.lk_outbound_trunk_id then
        return nil, errors.new(404, "not_found", "The carrier has no trunk at LiveKit yet.")
      end
      return { body = {
        trunk_id = carrier.lk_outbound_trunk_id, number = did.number, carrier_id = carrier._id,
        outbound_cps = carrier.outbound_cps, outbound_burst = carrier.outbound_burst,
        outbound_channels = carrier.outbound_channels,
      } }
    end,
  },
  {
    verb = "POST", path = base .. "/dialout", guard = "key", scope = "dialout", limit = "dialout",
    deadline_ms = dialout.DEADLINE_MS, idempotent = true, audit = "call.dialout",
    summary = "Calls somebody with a bot.",
    input = {
      type = "object", required = { "bot_id", "to_number" },
      properties = { bot_id = id, to_number = number, from_number = number,
        connected_event = values, variables = values },
    },
    output = { type = "object", properties = {
      status = { type = "string" }, call_id = { type = "string" },
      room_name = { type = "string" },
    } },
    errors = { "number_on_dnc", "number_not_allowed", "outside_active_hours", "rate_limited",
      "at_capacity", "fleet_unavailable", "livekit_not_configured", "upstream_failed" },
    example = { bot_id = "demo", to_number = "+919876543210", variables = { name = "Asha" } },
    handler = function(ctx)
      local event, err = event_of(ctx)
      if not event then
        return nil, err
      end
      local answer
      answer, err = dialout.dial(ctx, { bot_id = ctx.body.bot_id, to_number = ctx.body.to_number,
        from_number = ctx.body.from_number, event = event })
      if not answer then
        return nil, err
      end
      ctx.audit = { target = { type = "bot", id = ctx.body.bot_id } }
      return { body = answer }
    end,
  },
}
