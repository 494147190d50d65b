-- Telephone numbers of ours: one owner a number, over carriers and integrations. `did_index` (its
-- id is the number) says whose it is and which bot answers; the owner's document holds the rest.
-- The index is claimed first: an entry whose owner does not know it after a minute was left by a
-- crash, and is free.
local errors = require("services.web.errors")

local M = {}

local CLAIM_MS = 60000

local owners = { carrier = "carriers", exotel = "integrations" }

---The DID of an id in an owner's document.
---@return table? did, integer? position
function M.of(doc, did_id)
  for i, did in ipairs(doc.dids or {}) do
    if did.id == did_id then
      return did, i
    end
  end
end

-- (waits) Whether the owner of an entry knows it still; nil when the store is away.
local function is_owned(app, entry)
  local doc, err = app.store:get(owners[entry.owner] or "carriers", entry.owner_id)
  if not doc then
    return err.code ~= "not_found" and err or false
  end
  local did = M.of(doc, entry.did_id)
  return did ~= nil and did.number == entry._id
end

local function taken()
  return nil, errors.new(409, "did_taken", "The number belongs to another carrier or integration.")
end

---(waits) Makes a number this owner's; repeating it is harmless.
---@param did {id: string, number: string, bot_id?: string}
---@param owner "carrier"|"exotel"
---@return true?, api.error? err 409 did_taken
function M.claim(app, did, owner, owner_id)
  local fields = { owner = owner, owner_id = owner_id, did_id = did.id, bot_id = did.bot_id }
  local entry, created = app.store:upsert("did_index", { _id = did.number }, { on_insert = fields })
  if not entry then
    return nil, errors.of_store(created)
  elseif created then
    return true
  elseif entry.owner_id == owner_id and entry.did_id == did.id then
    return M.assign(app, did)
  end
  local fresh = cxb.time.now() - entry.updated_at < CLAIM_MS
  local owned = fresh or is_owned(app, entry)
  if owned == true then
    return taken()
  elseif owned then
    return nil, errors.of_store(owned)
  end
  local ok, err = app.store:update("did_index", did.number, { set = fields,
    unset = not did.bot_id and { "bot_id" } or nil }, { expect = { v = entry.v } })
  if not ok and err.code ~= "conflict" then
    return nil, errors.of_store(err)
  elseif not ok then
    return taken()
  end
  return true
end

---(waits) The bot of a number, as its owner's document has it.
function M.assign(app, did)
  local ops = did.bot_id and { set = { bot_id = did.bot_id } } or { unset = { "bot_id" } }
  local ok, err = app.store:update("did_index", did.number, ops, { expect = { did_id = did.id } })
  if not ok and err.code ~= "not_found" and err.code ~= "conflict" then
    return nil, errors.of_store(err)
  end
  return true
end

---(waits) Lets a number go, if it is still this DID's.
function M.release(app, did)
  local entry, err = app.store:get("did_index", did.number)
  if entry and entry.did_id == did.id then
    entry, err = app.store:delete("did_index", did.number)
  end
  if not entry and err and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  end
  return true
end

---A number as it may stand in a query string ("+" became a blank, or was left out).
---@return string
function M.number(text)
  local digits = text:gsub("[%s%-()]", "")
  return digits:match("^%d+$") and #digits >= 8 and "+" .. digits or digits
end

---(waits)
---@return table? entry of the index, api.error? err
function M.find(app, number)
  local entry, err = app.store:get("did_index", number)
  if not entry then
    return nil, err.code == "not_found" and errors.not_found("number") or errors.of_store(err)
  end
  return entry
end

---(waits) Whether calls to the number of an index entry come to us.
---@return boolean
function M.is_inbound(app, entry)
  local doc = app.store:get(owners[entry.owner] or "carriers", entry.owner_id)
  local did = doc and M.of(doc, entry.did_id)
  return did ~= nil and did.direction ~= "outbound"
end

---(waits) A bot that may answer calls: 422 when it is none.
---@return true?, api.error? err
function M.check_bot(app, bot_id)
  if not bot_id or bot_id == require("cxb.json").null then
    return true
  end
  local bot, err = app.store:get("bots", bot_id)
  if not bot and err.code ~= "not_found" then
    return nil, errors.of_store(err)
  elseif not bot or bot.deleted_at then
    return nil, errors.invalid({ { path = "bot_id", rule = "unknown",
      message = "is not a bot" } })
  end
  return true
end

return M
