-- Keys of other programs (api.md §5.3).
local api_keys = require("services.identity.api_keys")
local audit = require("services.identity.audit")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local lists = require("services.web.lists")
local schema = require("cxb.schema")

local properties = {
  name = { type = "string", minLength = 1, maxLength = 80 },
  expires_at = { type = "string", format = "time" },
  scopes = {
    type = "array", minItems = 1, maxItems = 16, default = { "dialout" },
    items = { type = "string", enum = api_keys.scopes },
  },
  bot_ids = {
    type = "array", maxItems = 200, items = { type = "string", format = "id" }, default = {},
    description = "empty: every bot",
  },
  daily_call_limit = { type = "integer", minimum = 1, maximum = 10000000 },
}
local fields = { type = "object", required = { "name" }, properties = properties }
local changeable = { type = "object", required = { "name" },
  properties = { is_active = { type = "boolean", default = true } } }
for name, property in pairs(properties) do
  changeable.properties[name] = property
end

local shown = {
  id = { type = "string" }, name = { type = "string" }, key_prefix = { type = "string" },
  created_by = { type = "string" }, is_active = { type = "boolean" },
  expires_at = { type = "string", format = "time" },
  last_used_at = { type = "string", format = "time" },
  scopes = { type = "array", items = { type = "string" } },
  bot_ids = { type = "array", items = { type = "string" } },
  daily_call_limit = { type = "integer" }, v = { type = "integer" },
  created_at = { type = "string", format = "time" },
  updated_at = { type = "string", format = "time" },
}
local output = { type = "object", title = "ApiKey", properties = shown }
local made = { type = "object", properties = { key = { type = "string",
  description = "shown this once" } } }
for name, property in pairs(shown) do
  made.properties[name] = property
end

local params = { type = "object", properties = { key_id = { type = "string", format = "id" } } }

local function show(key)
  local out = { id = key._id }
  for name, value in pairs(key) do
    out[name] = value
  end
  return out
end

local function in_future(input)
  local at = input.expires_at
  if at and at ~= json.null and at <= cxb.time.now() then
    return nil, errors.invalid({ { path = "expires_at", rule = "future",
      message = "must be in the future" } })
  end
  return true
end

-- A key for a bot that never was reaches nothing, and says nothing about it. Bots that were deleted
-- stay in the store, as their calls do.
local function known_bots(ctx, ids)
  if type(ids) ~= "table" or not ids[1] then
    return true
  end
  local found, err = ctx.app.store:find("bots", { _id = { ["in"] = ids } },
    { limit = #ids, fields = { "name" } })
  if not found then
    return nil, errors.of_store(err)
  end
  local known, wrong = {}, {}
  for _, bot in ipairs(found) do
    known[bot._id] = true
  end
  for i, id in ipairs(ids) do
    if not known[id] then
      wrong[#wrong + 1] = { path = ("bot_ids[%d]"):format(i - 1), rule = "exists",
        message = "is not the id of a bot" }
    end
  end
  return not wrong[1] or nil, wrong[1] and errors.invalid(wrong)
end

local function note(ctx, before, after)
  local key = after or before
  ctx.audit = { target = { type = "api_key", id = key._id, name = key.name },
    changes = audit.changes(before, after) }
end

local function create(ctx)
  local input = ctx.body
  local ok, refused = in_future(input)
  if ok then
    ok, refused = known_bots(ctx, input.bot_ids)
  end
  if not ok then
    return nil, refused
  end
  local key, stored = api_keys.new_key()
  for name, value in pairs(input) do
    stored[name] = value
  end
  stored.created_by, stored.is_active = ctx.principal.id, true
  local doc, err = ctx.app.store:insert("api_keys", stored)
  if not doc then
    return nil, errors.of_store(err)
  end
  note(ctx, nil, doc)
  local body = show(doc)
  body.key = key
  return { body = body }
end

local function change(ctx)
  local ok, refused = in_future(ctx.body)
  if ok then
    ok, refused = known_bots(ctx, ctx.body.bot_ids)
  end
  if not ok then
    return nil, refused
  end
  local doc, before = documents.patch(ctx, "api_keys", ctx.params.key_id, "API key", ctx.body,
    changeable)
  if not doc then
    return nil, before
  end
  note(ctx, before, doc)
  return { body = show(doc), headers = { etag = documents.etag(doc) } }
end

local function remove(ctx)
  local doc, err = documents.get(ctx, "api_keys", ctx.params.key_id, "API key")
  if not doc then
    return nil, err
  end
  local gone, failed = ctx.app.store:delete("api_keys", doc._id)
  if not gone then
    return nil, errors.of_store(failed)
  end
  note(ctx, doc, nil)
  return { status = 204 }
end

return {
  {
    verb = "POST", path = "/api/v1/api-keys", guard = "admin", audit = "api_key.create",
    summary = "Makes an API key; the answer is the only place that shows it.",
    input = fields, output = made, status = 201,
    example = { name = "CRM", scopes = { "dialout" }, daily_call_limit = 500 }, handler = create,
  },
  {
    verb = "GET", path = "/api/v1/api-keys", guard = "admin", summary = "The API keys.",
    query = lists.query(), output = lists.answer(output),
    handler = function(ctx)
      local body, err = lists.page(ctx, "api_keys", {}, { sort = { "-created_at" }, show = show })
      return body and { body = body }, err
    end,
  },
  {
    verb = "PATCH", path = "/api/v1/api-keys/{key_id}", guard = "admin", params = params,
    audit = "api_key.update", summary = "Changes an API key.", input = schema.partial(changeable),
    output = output, example = { is_active = false }, handler = change,
  },
  {
    verb = "DELETE", path = "/api/v1/api-keys/{key_id}", guard = "admin", params = params,
    audit = "api_key.delete", summary = "Ends an API key.", status = 204, handler = remove,
  },
}
