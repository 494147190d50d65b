-- The fleet (api.md §5.12): hosts register, slots are reserved, operators look and drain.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local hosts = require("services.fleet.hosts")
local join = require("services.fleet.join")
local proxy = require("services.fleet.proxy")
local schemas = require("schemas.fleet")

local base = "/api/v1/fleet"
local id_params = { type = "object", properties = { id = { type = "string", format = "id" } } }

local function answered(body, err)
  return body and { body = body }, err
end

return {
  {
    verb = "POST", path = base .. "/register", guard = "secret",
    summary = "A host tells how it is, each second.",
    input = schemas.register, output = schemas.registered, errors = { "host_id_taken" },
    example = { host_id = "host-a", boot_id = "6f1c2a3b4d5e6f70", fleet_max = 16, fleet_calls = 3,
      base_url = "https://host-a.example.net", fleet_available = 13 },
    handler = function(ctx)
      return answered(hosts.register(ctx.app, ctx.body))
    end,
  },
  {
    verb = "DELETE", path = base .. "/register/{id}", guard = "secret", status = 204,
    summary = "A host leaves; no call is sent there any more.", params = schemas.host_params,
    handler = function(ctx)
      local done, err = hosts.leave(ctx.app, ctx.params.id)
      return done and {}, err
    end,
  },
  {
    verb = "POST", path = base .. "/reservations", guard = "secret",
    summary = "Reserves slots for calls; the same key gets the same answer.",
    input = schemas.reserve, output = schemas.reservations, errors = { "no_capacity" },
    example = { key = "0192f1c4-0000-7000-8000-000000000001", purpose = "attach" },
    handler = function(ctx)
      local list, err = fleet.reserve(ctx.app, ctx.body)
      return answered(list and { reservations = list }, err)
    end,
  },
  {
    verb = "POST", path = base .. "/reservations/{id}/renew", guard = "secret",
    summary = "Keeps a reservation longer.", params = id_params,
    input = schemas.renew, output = schemas.reservation, example = { ttl_ms = 30000 },
    handler = function(ctx)
      return answered(fleet.renew(ctx.app, ctx.params.id, ctx.body.ttl_ms))
    end,
  },
  {
    verb = "DELETE", path = base .. "/reservations/{id}", guard = "secret", status = 204,
    summary = "Gives a reservation back; harmless when there is none.",
    params = { type = "object", properties = { id = { type = "string" } } },
    handler = function(ctx)
      if not ctx.params.id:match("^[%w_-]+$") then
        return {} -- no reservation is called so
      end
      local done, err = fleet.release(ctx.app, ctx.params.id)
      return done and {}, err
    end,
  },
  {
    verb = "GET", path = base .. "/status", guard = { "secret", "admin" },
    summary = "Capacity of the fleet, host by host.", output = schemas.status,
    handler = function(ctx)
      return answered(hosts.status(ctx.app))
    end,
  },
  {
    verb = "POST", path = base .. "/hosts/{id}/drain", guard = "super",
    summary = "Asks a host to take no new calls, or takes that back.",
    params = schemas.host_params, audit = "fleet.drain",
    input = { type = "object", properties = { drain = { type = "boolean", default = true } } },
    output = { type = "object", properties = { host_id = schemas.host_id,
      drain = { type = "boolean" } } },
    example = { drain = true },
    handler = function(ctx)
      ctx.audit = { target = { type = "host", id = ctx.params.id },
        changes = { { path = "drain", to = ctx.body.drain } } }
      return answered(hosts.drain(ctx.app, ctx.params.id, ctx.body.drain))
    end,
  },
  {
    verb = "POST", path = base .. "/join-tokens", guard = "super", status = 201,
    summary = "A token with which one more host may join, once, within an hour.",
    audit = "fleet.join_token",
    output = { type = "object", properties = { token = { type = "string" },
      expires_at = { type = "integer", format = "time" } } },
    handler = function(ctx)
      return answered(join.token(ctx.app))
    end,
  },
  {
    verb = "POST", path = base .. "/join", guard = "open", limit = "sign_in",
    summary = "A host that has a token gets the secret and the addresses it needs.",
    input = {
      type = "object", required = { "token", "host_id", "base_url" },
      properties = { token = { type = "string", minLength = 1, maxLength = 128 },
        host_id = schemas.host_id, base_url = schemas.base_url },
    },
    output = { type = "object", properties = { secret = { type = "string" },
      config_url = { type = "string" }, api_url = { type = "string" } } },
    errors = { "bad_join_token", "tls_required" },
    handler = function(ctx)
      return answered(join.redeem(ctx))
    end,
  },
  {
    verb = "GET", path = base .. "/prometheus-sd", guard = "secret",
    summary = "Targets for Prometheus (http_sd).",
    output = { type = "array", items = { type = "object", properties = {
      targets = { type = "array", items = { type = "string" } },
      labels = { type = "object", additionalProperties = { type = "string" } },
    } } },
    handler = function(ctx)
      return answered(join.targets(ctx))
    end,
  },
  {
    verb = "GET", path = base .. "/hosts/{id}/outbox", guard = "admin",
    summary = "What a host has still to deliver.", params = schemas.host_params,
    query = { type = "object", properties = {
      state = { type = "string", enum = { "analysis", "ready", "sending", "dead" } },
      limit = { type = "integer", minimum = 1, maximum = 1000, default = 100 },
    } },
    output = { type = "object", properties = { items = { type = "array",
      items = { type = "object", additionalProperties = true } } } },
    handler = function(ctx)
      return proxy.get(ctx, "/outbox", { { "state", ctx.query.state },
        { "limit", ctx.query.limit } })
    end,
  },
  {
    verb = "POST", path = base .. "/hosts/{id}/outbox/{row}/replay", guard = "admin",
    summary = "A row of a host's outbox is tried now.", audit = "fleet.outbox_replay",
    params = { type = "object", properties = { id = schemas.host_id,
      row = { type = "string", format = "id" } } },
    output = { type = "object", properties = { status = { type = "string" } } },
    handler = function(ctx)
      ctx.audit = { target = { type = "outbox_row", id = ctx.params.row, name = ctx.params.id } }
      return proxy.post(ctx, fleet.path("/outbox/", ctx.params.row, "/replay"))
    end,
  },
  {
    verb = "GET", path = base .. "/hosts/{id}/logs", guard = "admin",
    summary = "Log lines of a host about one call.", params = schemas.host_params,
    query = { type = "object", properties = {
      id = { type = "string", format = "id" }, since = { type = "string", format = "time" },
      limit = { type = "integer", minimum = 1, maximum = 1000, default = 200 },
    } },
    output = { type = "object", properties = { items = { type = "array",
      items = { type = "object", additionalProperties = true } } } },
    handler = function(ctx)
      if not ctx.query.id then
        return nil, errors.new(400, "invalid_query", "Query: id is required.")
      end
      local since = ctx.query.since and cxb.time.iso(ctx.query.since)
      return proxy.get(ctx, "/logs", { { "id", ctx.query.id }, { "since", since },
        { "limit", ctx.query.limit } })
    end,
  },
}
