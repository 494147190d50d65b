-- Bodies of the fleet's routes (api.md §5.12). Hosts are machines of ours: what a newer one tells
-- beside these fields is tolerated.
local M = {}

local function base_rule(value)
  if not value:match("^https?://[^/?#@]+/?$") then
    return "must be a base URL: scheme, host and port, no path"
  end
end

M.base_url = {
  type = "string", format = "url", rule = base_rule, example = "https://host-a.example.net",
}

M.host_id = {
  type = "string", minLength = 1, maxLength = 128, example = "host-a",
  rule = function(value)
    if not value:match("^[%w._-]+$") then
      return "must be letters, digits, dots, dashes, underscores"
    end
  end,
}

M.host_params = { type = "object", properties = { id = M.host_id } }

local count = { type = "integer", minimum = 0, maximum = 100000 }
local anything = { type = "object", additionalProperties = { type = "any" } }
local time = { type = "integer", format = "time" }

M.worker = {
  type = "object", required = { "id" }, additionalProperties = true,
  properties = {
    id = { type = "string", minLength = 1, maxLength = 16 }, calls = count, max = count,
    state = { type = "string", maxLength = 32 }, pid = { type = "integer", minimum = 0 },
    session_id = { type = "string", maxLength = 200 }, since = { type = "string", maxLength = 40 },
  },
}

M.outbox = {
  type = "object", additionalProperties = true,
  properties = {
    pending = count, dead = count, oldest_age_seconds = { type = "number", minimum = 0 },
  },
}

M.register = {
  type = "object", additionalProperties = true,
  required = { "host_id", "boot_id", "base_url", "fleet_max", "fleet_calls", "fleet_available" },
  properties = {
    host_id = M.host_id, base_url = M.base_url,
    boot_id = { type = "string", minLength = 1, maxLength = 64 },
    version = { type = "string", maxLength = 64 }, generation = { type = "integer", minimum = 0 },
    fleet_max = count, fleet_calls = count, fleet_available = count,
    workers = { type = "array", maxItems = 512, items = M.worker, default = {} },
    draining = { type = "boolean", default = false },
    consumed = {
      type = "array", maxItems = 1024, default = {},
      items = { type = "string", minLength = 1, maxLength = 64, format = "id" },
    },
    flows_revision = { type = "integer", minimum = 0, default = 0 },
    flows_error = { type = "any" }, outbox = M.outbox, load = anything, memory = anything,
  },
}

M.registered = {
  type = "object", properties = {
    heartbeat_seconds = count, ttl_seconds = count,
    desired = { type = "object", additionalProperties = true, properties = {
      drain = { type = "boolean" }, flows_revision = count,
    } },
  },
}

local ttl = { type = "integer", minimum = 1000, maximum = 120000, default = 45000 }

M.reserve = {
  type = "object", required = { "key", "purpose" },
  properties = {
    key = { type = "string", minLength = 1, maxLength = 128 },
    count = { type = "integer", minimum = 1, maximum = 64, default = 1 }, ttl_ms = ttl,
    purpose = { type = "string", enum = { "dialout", "attach", "dispatch", "widget", "test" } },
  },
}

M.renew = { type = "object", properties = { ttl_ms = ttl } }

M.reservation = {
  type = "object", properties = {
    id = { type = "string" }, host_id = M.host_id, base_url = M.base_url, expires_at = time,
  },
}

M.reservations = {
  type = "object",
  properties = { reservations = { type = "array", items = M.reservation } },
}

M.host = {
  type = "object", properties = {
    host_id = M.host_id, base_url = M.base_url,
    source = { type = "string", enum = { "registered", "url" } },
    status = { type = "string", enum = { "Healthy", "Unreachable" } },
    version = { type = "string" }, generation = count, flows_revision = count,
    flows_error = { type = "any" }, draining = { type = "boolean" }, max = count, calls = count,
    available = count, reservations = count, workers = { type = "array", items = M.worker },
    outbox = M.outbox, load = anything, memory = anything,
    age = { type = "number", description = "s since it was heard of" },
  },
}

M.status = {
  type = "object", properties = {
    total_capacity = count, active_calls = count, available = count, reservations = count,
    workers = { type = "array", items = { type = "object", properties = {
      url = M.base_url, status = { type = "string" }, total_capacity = count,
      total_available = count, worker_calls = count, workers = count,
    } } },
    hosts = { type = "array", items = M.host },
  },
}

return M
