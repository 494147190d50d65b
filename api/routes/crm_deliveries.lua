-- The outbox of deliveries to CRMs, as operators see it (api.md §5.19).
local crm = require("services.crm")
local crm_delivery = require("services.crm.delivery")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local lists = require("services.web.lists")

local REPLAY_MAX = 10000

local id = { type = "string", format = "id" }
local time = { type = "string", format = "time" }
local state = { type = "string", enum = { "pending", "sending", "delivered", "dead" } }
local text = { type = "string" }

local filters = { state = state, bot_id = id, session_id = id, from = time, to = time }

local row_schema = {
  title = "CrmDelivery", type = "object",
  required = { "id", "session_id", "kind", "state", "attempts", "created_at" },
  properties = {
    id = id, session_id = id, kind = text, bot_id = id, url = text, state = state,
    attempts = { type = "integer" }, next_at = time, delivered_at = time, created_at = time,
    updated_at = time,
    log = {
      type = "array", description = "the last ten attempts",
      items = { type = "object", properties = {
        at = time, status = { type = "integer" }, ms = { type = "integer" }, error = text,
        excerpt = text,
      } },
    },
  },
}

-- What a list reads: bodies stay where they are.
local row_fields = {}
for name in pairs(row_schema.properties) do
  row_fields[#row_fields + 1] = name ~= "id" and name or nil
end

local detail_schema = {
  title = "CrmDeliveryDetail", type = "object", required = row_schema.required,
  properties = {
    body = { type = "string", description = "as delivered, or as it would be sent now" },
    headers = { type = "object", additionalProperties = { type = "string" },
      description = "values of headers that carry credentials are masked" },
  },
}
for name, property in pairs(row_schema.properties) do
  detail_schema.properties[name] = property
end

local function shown(row)
  row.id = row._id
  return row
end

local function filter_of(query)
  local range = (query.from or query.to) and { gte = query.from, lte = query.to } or nil
  return { state = query.state, bot_id = query.bot_id, session_id = query.session_id,
    created_at = range }
end

local plain = { ["content-type"] = true, ["user-agent"] = true, ["x-request-id"] = true,
  ["webhook-id"] = true, accept = true }

local function masked(headers)
  local out = {}
  for name, value in pairs(headers) do
    out[name] = plain[name] and value or "••••••"
  end
  return out
end

local function detail(ctx)
  local row, err = documents.get(ctx, "crm_deliveries", ctx.params.id, "delivery")
  if not row then
    return nil, err
  end
  local call, bot = crm_delivery.subject(ctx.app, row)
  if call then
    local request = crm_delivery.request(ctx.app, row, call, bot)
    row.body, row.headers = request.body, masked(request.headers)
  end
  return { body = shown(row), headers = { etag = documents.etag(row) } }
end

return {
  {
    verb = "GET", path = "/api/v1/crm-deliveries", guard = "admin",
    summary = "Deliveries to CRMs, the newest first.",
    query = lists.query(filters), output = lists.answer(row_schema),
    handler = function(ctx)
      local answer, err = lists.page(ctx, "crm_deliveries", filter_of(ctx.query),
        { sort = { "-created_at" }, fields = row_fields, show = shown })
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/crm-deliveries/{id}", guard = "admin",
    summary = "One delivery with its body and its attempts.",
    output = detail_schema, handler = detail,
  },
  {
    verb = "POST", path = "/api/v1/crm-deliveries/{id}/replay", guard = "admin",
    summary = "Sends a delivery again, whatever became of it.",
    output = row_schema, errors = { "invalid_state" }, audit = "crm_delivery.replay",
    handler = function(ctx)
      local row, err = crm.replay(ctx.app, ctx.params.id)
      if not row then
        return nil, err
      end
      ctx.audit = { target = { type = "crm_delivery", id = row._id } }
      return { body = shown(row) }
    end,
  },
  {
    verb = "POST", path = "/api/v1/crm-deliveries/replay", guard = "admin",
    summary = "Sends all deliveries of a filter again, 10,000 at most.",
    idempotent = true, audit = "crm_delivery.replay",
    input = {
      type = "object", required = { "filter" },
      properties = { filter = { type = "object", properties = {
        state = { type = "string", enum = { "pending", "delivered", "dead" }, default = "dead" },
        bot_id = id, session_id = id, from = time, to = time,
      } } },
    },
    example = { filter = { state = "dead" } },
    output = { type = "object", required = { "replayed" },
      properties = { replayed = { type = "integer" } } },
    handler = function(ctx)
      local n, err = crm.replay_all(ctx.app, filter_of(ctx.body.filter), REPLAY_MAX)
      if not n then
        return nil, errors.of_store(err)
      end
      ctx.audit = { changes = { { path = "replayed", to = n } } }
      return { body = { replayed = n } }
    end,
  },
  {
    verb = "DELETE", path = "/api/v1/crm-deliveries/{id}", guard = "admin", status = 204,
    summary = "Forgets a dead delivery.",
    errors = { "invalid_state" }, audit = "crm_delivery.delete",
    handler = function(ctx)
      local gone, err = crm.remove(ctx.app, ctx.params.id)
      if not gone then
        return nil, err
      end
      ctx.audit = { target = { type = "crm_delivery", id = ctx.params.id } }
      return {}
    end,
  },
}
