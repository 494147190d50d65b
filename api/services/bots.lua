-- Bots: what an empty store begins with, and reading them with the defaults of their schema.
local json = require("cxb.json")
local schema = require("cxb.schema")
local bot_schema = require("schemas.bot").stored

local M = {}

-- A file of lua/bots is the worker's own format: its call-bound fields make no sense in a store.
local call_bound = { "session_id", "webhook_url", "bot_id", "variables" }

local function title(id)
  return (id:gsub("[_-]+", " "):gsub("^%l", string.upper))
end

-- The document of a file; nil when it holds no bot. `seed` remembers what it was made from.
local function read_seed(dir, file)
  local id = file:match("^([%w_-]+)%.json$")
  if not id or #id > 64 then
    return nil
  end
  local text, code, message = cxb.fs.read(dir .. "/" .. file)
  local doc = text and json.decode_object(text)
  if not doc then
    cxb.log.warn("bot file left out", { file = file, error = text and "not a JSON object"
      or message or code })
    return nil
  end
  for _, name in ipairs(call_bound) do
    doc[name] = nil
  end
  doc._id = id
  doc.name = doc.name or title(id)
  doc.is_active = doc.is_active ~= false
  doc.seed = cxb.crypto.hex(cxb.crypto.sha256(text))
  return doc
end

-- A bot that is still as a file made it follows that file; one that a person changed has no `seed`.
local function refresh(store, doc)
  local found, err = store:get("bots", doc._id)
  if not found then
    return err.code == "not_found", err
  elseif not found.seed or found.seed == doc.seed then
    return true
  end
  local gone = {}
  for name in pairs(found) do
    if doc[name] == nil and name ~= "v" and name ~= "created_at" and name ~= "updated_at" then
      gone[#gone + 1] = name
    end
  end
  doc._id = nil
  local changed
  changed, err = store:update("bots", found._id, { set = doc, unset = gone },
    { expect = { v = found.v } })
  return changed ~= nil or err.code == "conflict", err
end

---(waits) Puts the shipped bots into a store that has none; in another, those that nobody changed
---follow their files.
---@return true?, table? err
function M.seed(store, dir)
  local n, err = store:count("bots", {}, { max = 1 })
  if not n then
    return nil, err
  end
  for _, file in ipairs(cxb.fs.list(dir) or {}) do
    local doc = read_seed(dir, file)
    local ok, why = true, nil
    if doc and n == 0 then
      ok, why = store:insert("bots", doc)
      ok = ok or why.code == "duplicate"
    elseif doc then
      ok, why = refresh(store, doc)
    end
    if not ok then
      return nil, why
    end
  end
  return true
end

---The version of a bot's content: that of its document changes with its caches, too.
---@return integer
function M.version(bot)
  return bot.version or bot.v
end

---A stored bot with its defaults. It was checked when it was written; one that an edited file
---spoiled says so here.
---@return table? bot, table? err "invalid" (fields)
function M.complete(doc)
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
  return M.complete(doc)
end

-- Bots are few: those of a search are found by looking at all names.
local function matching(store, words)
  local ids, after = {}, nil
  repeat
    local page, next_or_err = store:find("bots", { deleted_at = { exists = false } },
      { sort = { "name" }, limit = 200, after = after, fields = { "name" } })
    if not page then
      return nil, next_or_err
    end
    for _, bot in ipairs(page) do
      if bot.name:lower():find(words, 1, true) then
        ids[#ids + 1] = bot._id
      end
    end
    after = next_or_err
  until not after
  return ids
end

---(waits) The filter of a list of bots.
---@param q? string part of the name
---@return table? filter, table? err of the store
function M.filter(store, q)
  local filter = { deleted_at = { exists = false } }
  if (q or "") ~= "" then
    local ids, err = matching(store, q:lower())
    if not ids then
      return nil, err
    end
    filter._id = { ["in"] = ids }
  end
  return filter
end

return M
