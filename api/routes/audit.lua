-- The audit (api.md §5.20): read by administrators, written by nobody here.
local download = require("services.web.download")
local errors = require("services.web.errors")
local json = require("cxb.json")
local lists = require("services.web.lists")
local times = require("cxb.times")

local EXPORT_MAX, PAGE = 200000, 500

local word = { type = "string", minLength = 1, maxLength = 128 }
local time = { type = "string", format = "time" }

local filters = {
  actor = { type = "string", format = "id", description = "id of a user or a key" },
  action = { type = "string", minLength = 1, maxLength = 128,
    description = "bot.update, or bot. for all that begin so" },
  target = word, from = time, to = time,
}

local part = {
  type = "object",
  properties = { type = word, id = { type = "string" }, name = { type = "string" } },
}
local row = {
  type = "object", title = "AuditRow",
  properties = {
    id = { type = "string" }, at = time,
    actor = {
      type = "object",
      properties = {
        type = word, id = { type = "string" }, name = { type = "string" }, ip = { type = "string" },
      },
    },
    action = word, target = part, request_id = { type = "string" }, result = word,
    changes = {
      type = "array",
      items = {
        type = "object",
        properties = { path = word, from = { type = "any" }, to = { type = "any" } },
      },
    },
  },
}

local function filter_of(query)
  local filter = { ["actor.id"] = query.actor, ["target.id"] = query.target }
  if query.action then
    filter.action = query.action:match("%.$") and { prefix = query.action } or query.action
  end
  if query.from or query.to then
    filter.at = { gte = query.from, lt = query.to }
  end
  return filter
end

local function show(doc)
  doc.id = doc._id
  return doc
end

-- A cell that no spreadsheet takes for a formula.
local function cell(value)
  local text = value == nil and "" or tostring(value)
  if text:match("^[=+%-@\t\r]") then
    text = "'" .. text
  end
  return text:find('[",\r\n]') and '"' .. text:gsub('"', '""') .. '"' or text
end

local head = {
  "at", "actor_type", "actor_id", "actor_name", "ip", "action", "target_type", "target_id",
  "target_name", "result", "request_id", "changes",
}

local function line(doc)
  local actor, target = doc.actor or {}, doc.target or {}
  local values = {
    times.format(doc.at), actor.type or "", actor.id or "", actor.name or "", actor.ip or "",
    doc.action, target.type or "", target.id or "", target.name or "", doc.result or "",
    doc.request_id or "", json.encode(json.array(doc.changes or {})),
  }
  for i, value in ipairs(values) do
    values[i] = cell(value)
  end
  return table.concat(values, ",") .. "\r\n"
end

local function export(ctx)
  local store, filter = ctx.app.store, filter_of(ctx.query)
  local options = { sort = { "-at" }, limit = PAGE }
  local docs, next_or_err = store:find("audit_log", filter, options)
  if not docs then
    return nil, errors.of_store(next_or_err)
  end
  local req, sent = ctx.req, 0
  download.csv(ctx, "audit.csv")
  req:write(table.concat(head, ",") .. "\r\n")
  while docs and docs[1] and sent < EXPORT_MAX do
    for i, doc in ipairs(docs) do
      docs[i] = line(doc)
    end
    sent = sent + #docs
    if not req:write(table.concat(docs)) or not next_or_err then
      break
    end
    options.after = next_or_err
    docs, next_or_err = store:find("audit_log", filter, options)
  end
  req:finish()
  return "answered"
end

return {
  {
    verb = "GET", path = "/api/v1/audit", guard = "admin", summary = "Who did what, newest first.",
    query = lists.query(filters), output = lists.answer(row),
    handler = function(ctx)
      local body, err = lists.page(ctx, "audit_log", filter_of(ctx.query),
        { sort = { "-at" }, show = show })
      return body and { body = body }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/audit/export.csv", guard = "super", audit = "audit.export",
    summary = "The audit as CSV, newest first, at most 200,000 rows.", media = "text/csv",
    limit = "export", deadline_ms = 600000,
    query = { type = "object", properties = filters }, handler = export,
  },
}
