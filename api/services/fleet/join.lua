-- How a machine comes into the fleet, and how Prometheus finds those that are in it.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local json = require("cxb.json")
local pipeline = require("services.web.pipeline")
local url = require("cxb.url")

local M = {}

local TOKEN_MS = 3600 * 1000

-- Only this is kept of a token.
local function known_by(token)
  return cxb.crypto.hex(cxb.crypto.sha256(token))
end

---(waits) A token for one host, for an hour.
---@return {token: string, expires_at: number}? answer, api.error? err
function M.token(app)
  local token = cxb.crypto.base64url(cxb.crypto.random(24))
  local kept, err = app.cache:set("fleet:join:" .. known_by(token), "1", TOKEN_MS)
  if not kept then
    cxb.log.error("the join token cannot be kept", { error = err.message })
    return nil, errors.new(503, "cache_unavailable", "The cache cannot be reached.")
  end
  return { token = token, expires_at = cxb.time.now() + TOKEN_MS }
end

local loopback = { unix = true, ["127.0.0.1"] = true, ["::1"] = true }

---(waits) What a host needs, for its token.
---@return {secret: string, config_url: string, api_url: string}? answer, api.error? err
function M.redeem(ctx)
  local app = ctx.app
  if pipeline.origin(ctx).scheme ~= "https" and not loopback[ctx.client] then
    return nil, errors.new(403, "tls_required", "Joining needs TLS: the answer holds the secret.")
  end
  local known = fleet.step(app, "redeem", known_by(ctx.body.token))
  if not known or known[1] ~= "ok" then
    return nil, errors.new(403, "bad_join_token", "The token is unknown, used or too old.")
  end
  cxb.log.info("a host joins", { host = ctx.body.host_id, base_url = ctx.body.base_url })
  local api_url = pipeline.internal_base(ctx) .. "/api/v1"
  return { secret = app.secrets.core, config_url = api_url .. "/config", api_url = api_url }
end

local function target(base_url, job, path, labels)
  local parts = url.parse(base_url)
  local port = parts.port or (parts.scheme == "https" and 443 or 80)
  labels.job, labels.__scheme__, labels.__metrics_path__ = job, parts.scheme, path
  return { targets = json.array({ ("%s:%d"):format(parts.host, port) }), labels = labels }
end

---(waits) Targets as Prometheus' http_sd asks for them.
---@return table[]? targets, api.error? err
function M.targets(ctx)
  local hosts, err = fleet.hosts(ctx.app)
  if not hosts then
    return nil, err
  end
  local out, here = json.array(), pipeline.internal_base(ctx)
  for _, host in ipairs(hosts) do
    out[#out + 1] = target(host.base_url, "cxb-host", "/metrics",
      { host = host.id, version = host.info.version })
  end
  local name = url.parse(here).host
  out[#out + 1] = target(here, "cxb-api", "/metrics/api", { host = name, version = cxb.version })
  out[#out + 1] = target(here, "cxb-dialler", "/metrics/dialler",
    { host = name, version = cxb.version })
  return out
end

return M
