-- Bots: what an empty store begins with, and reading them with the defaults of their schema.
local json = require("cxb.json")
local schema = require("cxb.schema")
local bot_schema = require("schemas.bot")

local M = {}

-- A file of lua/bots is the worker's own format: its call-bound fields make no sense in a store.
local call_bound = { "session_id", "webhook_url", "bot_id", "variables" }

local function title(id)
  return (id:gsub("[_-]+", " "):gsub("^%l", string.upper))
end

local function seed_one(store, dir, file)
  local id = file:match("^([%w_-]+)%.json$")
  if not id or #id > 64 then
    return true
  end
  local text, code, message = cxb.fs.read(dir .. "/" .. file)
  local doc = text and json.decode_object(text)
  if not doc then
    cxb.log.warn("bot file left out", { file = file, error = text and "not a JSON object"
      or message or code })
    return true
  end
  for _, name in ipairs(call_bound) do
    doc[name] = nil
  end
  doc._id = id
  doc.name = doc.name or title(id)
  doc.is_active = doc.is_active ~= false
  local _, err = store:insert("bots", doc)
  if err and err.code ~= "duplicate" then
    return nil, err
  end
  return true
end

---(waits) Puts the shipped bots into a store that has none.
---@return true?, table? err
function M.seed(store, dir)
  local n, err = store:count("bots", {}, { max = 1 })
  if not n then
    return nil, err
  elseif n > 0 then
    return true
  end
  for _, file in ipairs(cxb.fs.list(dir) or {}) do
    local ok, why = seed_one(store, dir, file)
    if not ok then
      return nil, why
    end
  end
  return true
end

-- Stored bots were checked when they were written; one that an edited file spoiled says so here.
local function complete(doc)
  for name, value in pairs(doc) do
    if value == json.null then
      doc[name] = nil
    end
  end
  local kept, fields = schema.check(bot_schema, doc)
  if not kept then
    cxb.log.warn("bot is not valid", { bot_id = doc._id, field = fields[1].path,
      error = fields[1].message })
    return nil, { code = "invalid", fields = fields }
  end
  return kept
end

---(waits)
---@return table? bot, table? err "not_found" also for inactive and deleted ones; "invalid" (fields)
function M.active(store, id)
  local doc, err = store:get("bots", id)
  if not doc then
    return nil, err
  elseif doc.is_active == false or doc.deleted_at then
    return nil, { code = "not_found" }
  end
  return complete(doc)
end

local row_fields = { "name", "description", "is_active", "flow", "timezone", "deleted_at" }

---(waits) One page of bots by name, without their texts.
---@return table[]? bots, table|string? err_or_next
function M.list(store, query)
  return store:find("bots", { deleted_at = { exists = false } },
    { sort = { "name" }, limit = query.limit, after = query.after, fields = row_fields })
end

return M
