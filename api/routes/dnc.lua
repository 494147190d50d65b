-- The do-not-call list (api.md §5.10).
local dnc = require("services.dnc")
local errors = require("services.web.errors")
local lists = require("services.web.lists")

local BASE = "/api/v1/dnc"
local guard, scope = { "admin", "key" }, "dnc:write"
local REGION = "IN"

local time = { type = "string", format = "time" }
local entry_scope = { type = "string", format = "id", default = dnc.GLOBAL,
  description = "global, or the id of a campaign" }
local reason = { type = "string", maxLength = 500 }
local region = { type = "string", minLength = 2, maxLength = 2, default = REGION,
  description = "of numbers without country code" }

local entry = {
  type = "object", title = "DncEntry",
  properties = {
    id = { type = "string" }, number = { type = "string" }, scope = { type = "string" },
    reason = { type = "string" }, source = { type = "string", enum = dnc.sources },
    by = { type = "string" }, created_at = time, expires_at = time,
  },
}

local function shown(doc)
  local twin = {}
  for name, value in pairs(doc) do
    twin[name] = value
  end
  twin.id = doc._id
  return twin
end

local function past(expires_at)
  if expires_at and expires_at <= cxb.time.now() then
    return errors.invalid({ { path = "expires_at", rule = "future",
      message = "must be in the future" } })
  end
end

-- An entry for a campaign that does not exist would hold back no call.
local function unknown_scope(ctx, given)
  if given == dnc.GLOBAL then
    return nil
  end
  local campaign, err = ctx.app.store:get("campaigns", given)
  if campaign then
    return nil
  elseif err.code ~= "not_found" then
    return errors.of_store(err)
  end
  return errors.invalid({ { path = "scope", rule = "exists",
    message = "must be global or the id of a campaign" } })
end

local function who(ctx)
  local principal = ctx.principal
  return principal.email or principal.name or principal.kind
end

local function list(ctx)
  local filter = { scope = ctx.query.scope }
  local q = ctx.query.q
  if q and q ~= "" then
    local number = dnc.normal(q, REGION)
    local digits = q:gsub("[^%d]", "")
    filter.number = number or { prefix = "+" .. digits }
  end
  local page, err = lists.page(ctx, "dnc", filter, { sort = { "-_id" }, show = shown })
  return page and { body = page }, err
end

local function add(ctx)
  local body, wrong, numbers = ctx.body, {}, {}
  for i, text in ipairs(body.numbers) do
    numbers[i] = dnc.normal(text, body.region)
    if not numbers[i] then
      wrong[#wrong + 1] = { path = ("numbers[%d]"):format(i - 1), rule = "number",
        message = "must be a telephone number, or +digits* for all that begin so" }
      numbers[i] = ""
    end
  end
  if wrong[1] then
    return nil, errors.invalid(wrong)
  end
  local err = past(body.expires_at) or unknown_scope(ctx, body.scope)
  if err then
    return nil, err
  end
  local source = ctx.principal.kind == "key" and "api" or body.source or "manual"
  local added
  added, err = dnc.add(ctx.app, numbers, { scope = body.scope, reason = body.reason,
    source = source, by = who(ctx), expires_at = body.expires_at })
  if not added then
    return nil, errors.of_store(err)
  end
  ctx.audit = { target = { type = "dnc", id = body.scope, name = ("%d numbers"):format(#numbers) } }
  return { body = { added = added, existing = #numbers - added } }
end

local function upload(ctx)
  local err = past(ctx.query.expires_at) or unknown_scope(ctx, ctx.query.scope)
  if err then
    return nil, err
  end
  local report
  report, err = dnc.load(ctx.app, ctx.upload.path, { scope = ctx.query.scope,
    reason = ctx.query.reason, by = who(ctx), expires_at = ctx.query.expires_at },
    ctx.query.region)
  ctx.audit = { target = { type = "dnc", id = ctx.query.scope, name = ctx.upload.name } }
  return report and { body = report }, err
end

local function check(ctx)
  local number = dnc.normal(ctx.query.number, REGION)
  if not number or number:sub(-1) == "*" then
    return nil, errors.invalid({ { path = "number", rule = "number",
      message = "must be a telephone number" } })
  end
  local answer, err = dnc.listed(ctx.app, number, ctx.query.campaign_id)
  return answer and { body = answer }, err and errors.of_store(err)
end

local function remove(ctx)
  local found, err = ctx.app.store:get("dnc", ctx.params.id)
  if not found then
    return nil, err.code == "not_found" and errors.not_found("entry") or errors.of_store(err)
  elseif found.source == "regulator" and (ctx.principal.rank or 0) < 3 then
    return nil, errors.new(403, "forbidden",
      "Only a super administrator removes what a regulator has listed.")
  end
  local ok
  ok, err = ctx.app.store:delete("dnc", found._id)
  ctx.audit = { target = { type = "dnc", id = found._id } }
  if not ok and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  return { status = 204 }
end

return {
  {
    verb = "GET", path = BASE, guard = guard, scope = scope, summary = "The list, newest first.",
    query = lists.query({
      q = { type = "string", maxLength = 64, description = "a number, or how one begins" },
      scope = { type = "string", format = "id" },
    }),
    output = lists.answer(entry), handler = list,
  },
  {
    verb = "POST", path = BASE, guard = guard, scope = scope, audit = "dnc.add",
    summary = "Puts numbers on the list; those that stand there stay as they are.",
    input = {
      type = "object", required = { "numbers" },
      properties = {
        numbers = { type = "array", minItems = 1, maxItems = 1000,
          items = { type = "string", maxLength = 64 } },
        scope = entry_scope, reason = reason, expires_at = time, region = region,
        source = { type = "string", enum = { "manual", "regulator" } },
      },
    },
    output = { type = "object",
      properties = { added = { type = "integer" }, existing = { type = "integer" } } },
    example = { numbers = { "+919876543210", "+9180*" }, reason = "asked by letter" },
    handler = add,
  },
  {
    verb = "POST", path = BASE .. "/upload", guard = guard, scope = scope, audit = "dnc.upload",
    summary = "Puts the numbers of a CSV file (column phone_number) on the list.",
    upload = { max = 50 * 1000 * 1000, field = "file" }, limit = "upload",
    query = { type = "object", properties = {
      scope = entry_scope, reason = reason, expires_at = time, region = region } },
    output = { type = "object", additionalProperties = true },
    errors = { "csv_encoding", "csv_quote", "csv_header", "csv_missing_column",
      "csv_reserved_column", "no_valid_rows" },
    handler = upload,
  },
  {
    verb = "GET", path = BASE .. "/check", guard = { "admin", "key", "secret" }, scope = scope,
    summary = "Whether a number must not be called.",
    query = { type = "object", required = { "number" }, properties = {
      number = { type = "string", minLength = 1, maxLength = 64 },
      campaign_id = { type = "string", format = "id" } } },
    output = { type = "object", properties = { listed = { type = "boolean" },
      scope = { type = "string" }, reason = { type = "string" } } },
    handler = check,
  },
  {
    verb = "DELETE", path = BASE .. "/{id}", guard = guard, scope = scope, status = 204,
    summary = "Takes an entry off the list.", audit = "dnc.remove", handler = remove,
  },
}
