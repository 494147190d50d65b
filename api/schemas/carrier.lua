-- A carrier and its numbers (api.md §5.13).
local M = {}

local function address_rule(value)
  local host, port = value:match("^([%w._-]+):?(%d*)$")
  if not host then
    host, port = value:match("^(%[[%x:.]+%]):?(%d*)$")
  end
  if not host or (port ~= "" and (tonumber(port) < 1 or tonumber(port) > 65535)) then
    return "must be host or host:port"
  end
end

-- Bits of an IP address; nil when it is none.
local function width_of(address)
  if address:find(":", 1, true) then
    return 128
  end
  local parts = { address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$") }
  for _, part in ipairs(parts) do
    if tonumber(part) > 255 then
      return nil
    end
  end
  return parts[1] and 32
end

-- An address or a range of them; not everybody.
local function allowed_rule(value)
  local base, bits = value:match("^([%x:.]+)$"), nil
  if not base then
    base, bits = value:match("^([%x:.]+)/(%d+)$")
  end
  local width = base and width_of(base)
  if not width or tonumber(bits or 0) > width then
    return "must be an IP address or a CIDR range"
  elseif tonumber(bits) == 0 or base == "0.0.0.0" or base == "::" then
    return "must not be everybody"
  end
end

local text = { type = "string", maxLength = 256 }
local secret = { type = "string", maxLength = 512, writeOnly = true }
local allowed = {
  type = "array", maxItems = 100, items = { type = "string", maxLength = 64, rule = allowed_rule },
}

---Credentials: stored sealed, never shown.
M.secrets = { "auth_password", "inbound_auth_password", "outbound_auth_password" }

local fields = {
  name = { type = "string", minLength = 1, maxLength = 80, example = "Example Telecom" },
  sip_address = { type = "string", minLength = 1, maxLength = 255, rule = address_rule,
    example = "sip.example.net:5060" },
  destination_country = { type = "string", minLength = 2, maxLength = 2, rule = function(value)
    return not value:match("^%u%u$") and "must be a country like IN" or nil
  end },
  transport = { type = "string", enum = { "auto", "tcp", "udp", "tls" }, default = "auto" },
  inbound_auth_mode = { type = "string", enum = { "credentials", "ip" }, default = "credentials" },
  inbound_allowed_addresses = allowed, allowed_addresses = allowed,
  auth_username = text, inbound_auth_username = text, outbound_auth_username = text,
  outbound_cps = { type = "number", minimum = 0.1, maximum = 100, default = 1 },
  outbound_burst = { type = "integer", minimum = 1, maximum = 1000, default = 1 },
  outbound_channels = { type = "integer", minimum = 1, maximum = 500, default = 30 },
}

M.create = { type = "object", title = "CarrierInput", required = { "name", "sip_address" },
  properties = {} }
for name, field in pairs(fields) do
  M.create.properties[name] = field
end
for _, name in ipairs(M.secrets) do
  M.create.properties[name] = secret
end

M.did_create = {
  type = "object", title = "DidInput", required = { "number" },
  properties = {
    number = { type = "string", format = "phone", example = "+912212345678" },
    label = { type = "string", maxLength = 120 },
    direction = { type = "string", enum = { "inbound", "outbound", "both" }, default = "both" },
    bot_id = { type = "string", format = "id" },
  },
}

local id = { type = "string", format = "id" }
local time = { type = "integer", format = "time" }

M.did = { type = "object", title = "Did", properties = { id = id } }
for name, field in pairs(M.did_create.properties) do
  M.did.properties[name] = field
end

M.carrier = {
  type = "object", title = "Carrier", properties = {
    id = id, v = { type = "integer" }, created_at = time, updated_at = time,
    dids = { type = "array", items = M.did },
    lk_sync_status = { type = "string", enum = { "synced", "error", "pending" } },
    lk_sync_error = { type = "string" }, lk_last_synced_at = time,
    lk_inbound_trunk_id = { type = "string" }, lk_outbound_trunk_id = { type = "string" },
    lk_dispatch_rule_id = { type = "string" },
  },
}
for name, field in pairs(fields) do
  M.carrier.properties[name] = field
end
for _, name in ipairs(M.secrets) do
  M.carrier.properties[name .. "_configured"] = { type = "boolean" }
end

return M
