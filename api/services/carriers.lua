-- Carriers and their numbers (api.md §5.13). A change is stored first; LiveKit follows by
-- services.carriers.sync whenever it can.
local dids = require("services.carriers.dids")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local json = require("cxb.json")
local schema = require("cxb.schema")
local schemas = require("schemas.carrier")
local sync = require("services.carriers.sync")
local vault = require("services.identity.vault")

local M = {}

---A carrier as it is shown: no password.
function M.shown(doc)
  local out = {}
  for name, value in pairs(doc) do
    out[name] = value
  end
  out.id = doc._id
  for _, name in ipairs(schemas.secrets) do
    out[name .. "_configured"] = doc[name] ~= nil
  end
  out.dids = json.array(doc.dids or {})
  return out
end

-- The same as an answer shows it.
local function current(doc)
  return schema.shape(schemas.carrier, M.shown(doc))
end

-- Blank passwords stay as they are; others are sealed.
local function sealed(app, fields)
  for _, name in ipairs(schemas.secrets) do
    local value = fields[name]
    if value == "" then
      fields[name] = nil
    elseif value ~= nil and value ~= json.null then
      fields[name] = vault.seal(app, value)
    end
  end
  return fields
end

---Who may send calls here, and with which credentials: the special fields, else the common ones.
---@param side "inbound"|"outbound"
---@return {username?: string, password?: string, addresses?: string[]} password sealed
function M.credentials(carrier, side)
  local addresses = carrier.inbound_allowed_addresses or carrier.allowed_addresses
  return {
    username = carrier[side .. "_auth_username"] or carrier.auth_username,
    password = carrier[side .. "_auth_password"] or carrier.auth_password,
    addresses = side == "inbound" and addresses or nil,
  }
end

local function check(carrier)
  local addresses = M.credentials(carrier, "inbound").addresses
  if carrier.inbound_auth_mode == "ip" and not (addresses and addresses[1]) then
    return nil, errors.invalid({ { path = "inbound_allowed_addresses", rule = "required",
      message = "is required when inbound_auth_mode is ip" } })
  end
  return true
end

---(waits)
---@return table? carrier, api.error? err
function M.create(ctx, fields)
  local ok, err = check(fields)
  if not ok then
    return nil, err
  end
  sealed(ctx.app, fields)
  fields.dids, fields.lk_sync_status = json.array(), "pending"
  local doc, failed = ctx.app.store:insert("carriers", fields)
  if not doc then
    return nil, errors.of_store(failed)
  end
  sync.soon(ctx.app, doc._id)
  return doc
end

---(waits)
---@return table? carrier, table|api.error before_or_err
function M.change(ctx, id, patch)
  sealed(ctx.app, patch)
  local after, before = documents.change(ctx, "carriers", id, "carrier", function(doc)
    local ops = documents.operations(patch, schemas.create)
    local next_doc = {}
    for name, value in pairs(doc) do
      next_doc[name] = value
    end
    for _, name in ipairs(ops.unset) do
      next_doc[name] = nil
    end
    for name, value in pairs(ops.set) do
      next_doc[name] = value
    end
    local ok, err = check(next_doc)
    ops.set.lk_sync_status = "pending"
    return ok and ops, err
  end, current)
  if after then
    sync.soon(ctx.app, id)
  end
  return after, before
end

-- (waits) Whether a running campaign dials with one of these DIDs; nil, err.
local function dialled_with(app, list)
  local running, err = app.store:find("campaigns", { status = "running" }, { limit = 200,
    fields = { "number_pool" } })
  if not running then
    return nil, errors.of_store(err)
  end
  local mine = {}
  for _, did in ipairs(list) do
    mine[did.id] = true
  end
  for _, campaign in ipairs(running) do
    for _, did_id in ipairs(campaign.number_pool or {}) do
      if mine[did_id] then
        return true
      end
    end
  end
  return false
end

local function in_use(why)
  return nil, errors.new(409, "carrier_in_use", why)
end

---(waits) The carrier is gone at once; its objects at LiveKit as soon as that answers.
---@return table? carrier, api.error? err 409 carrier_in_use
function M.remove(ctx, id)
  local doc, err = documents.get(ctx, "carriers", id, "carrier")
  if not doc then
    return nil, err
  end
  for _, did in ipairs(doc.dids or {}) do
    if did.bot_id then
      return in_use("A number of the carrier is assigned to a bot.")
    end
  end
  local busy, failed = dialled_with(ctx.app, doc.dids or {})
  if busy == nil then
    return nil, failed
  elseif busy then
    return in_use("A running campaign dials with the carrier.")
  end
  local gone
  gone, err = documents.change(ctx, "carriers", id, "carrier", function()
    return { set = { deleted_at = cxb.time.now(), dids = json.array() } }
  end, current)
  if not gone then
    return nil, err
  end
  for _, did in ipairs(doc.dids or {}) do
    dids.release(ctx.app, did)
  end
  sync.soon(ctx.app, id)
  return doc
end

local function with_dids(ctx, id, change)
  local after, before = documents.change(ctx, "carriers", id, "carrier", function(doc)
    local list = json.array({ unpack(doc.dids or {}) })
    local ok, err = change(list, doc)
    return ok and { set = { dids = list, lk_sync_status = "pending" } }, err
  end, current)
  if after then
    sync.soon(ctx.app, id)
  end
  return after, before
end

---(waits)
---@return table? did, api.error? err
function M.add_did(ctx, id, fields)
  local carrier, err = documents.get(ctx, "carriers", id, "carrier")
  local ok = carrier
  if ok then
    ok, err = dids.check_bot(ctx.app, fields.bot_id)
  end
  if not ok then
    return nil, err
  end
  fields.id = ctx.app.store:id("did")
  ok, err = dids.claim(ctx.app, fields, "carrier", id)
  if not ok then
    return nil, err
  end
  ok, err = with_dids(ctx, id, function(list)
    list[#list + 1] = fields
    return true
  end)
  if not ok then
    dids.release(ctx.app, fields)
    return nil, err
  end
  return fields
end

-- The DID as a patch leaves it; null goes back to the default.
local function patched(did, patch)
  local out = {}
  for name, value in pairs(did) do
    out[name] = value
  end
  for name, value in pairs(patch) do
    if value == json.null then
      value = schemas.did_create.properties[name].default
    end
    out[name] = value
  end
  return out
end

---(waits)
---@return table? did, table|api.error before_or_err
function M.change_did(ctx, id, did_id, patch)
  local carrier, err = documents.get(ctx, "carriers", id, "carrier")
  if not carrier then
    return nil, err
  end
  local old = dids.of(carrier, did_id)
  if not old then
    return nil, errors.not_found("number")
  elseif patch.number == json.null then
    return nil, errors.invalid({ { path = "number", rule = "required", message = "is required" } })
  end
  local new = patched(old, patch)
  local ok
  ok, err = dids.check_bot(ctx.app, new.bot_id)
  if ok and new.number ~= old.number then
    ok, err = dids.claim(ctx.app, new, "carrier", id)
  end
  if not ok then
    return nil, err
  end
  ok, err = with_dids(ctx, id, function(list, doc)
    local _, at = dids.of(doc, did_id)
    if not at then
      return nil, errors.not_found("number")
    end
    list[at] = new
    return true
  end)
  if not ok then
    if new.number ~= old.number then
      dids.release(ctx.app, new)
    end
    return nil, err
  end
  if new.number ~= old.number then
    dids.release(ctx.app, old)
  end
  dids.assign(ctx.app, new)
  return new, old
end

---(waits)
---@return table? did, api.error? err
function M.remove_did(ctx, id, did_id)
  local removed
  local ok, err = with_dids(ctx, id, function(list, doc)
    local did, at = dids.of(doc, did_id)
    if not did then
      return nil, errors.not_found("number")
    end
    local busy, failed = dialled_with(ctx.app, { did })
    if busy == nil then
      return nil, failed
    elseif busy then
      return nil, errors.new(409, "did_in_use", "A running campaign dials with the number.")
    end
    removed = table.remove(list, at)
    return true
  end)
  if not ok then
    return nil, err
  end
  dids.release(ctx.app, removed)
  return removed
end

local function outbound(did)
  return did.direction ~= "inbound"
end

---(waits) The DID that dials out with this number; none given: the first there is.
---@return table? carrier, table|api.error did_or_err
function M.outbound(app, number)
  if number then
    local entry, err = dids.find(app, number)
    local carrier = entry and entry.owner == "carrier" and app.store:get("carriers", entry.owner_id)
    local did = carrier and dids.of(carrier, entry.did_id)
    if did and outbound(did) and not carrier.deleted_at then
      return carrier, did
    end
    return nil, err or errors.not_found("outbound number")
  end
  local after
  repeat
    local list, next_or_err = app.store:find("carriers", {}, { limit = 100, after = after })
    if not list then
      return nil, errors.of_store(next_or_err)
    end
    for _, carrier in ipairs(list) do
      for _, did in ipairs(not carrier.deleted_at and carrier.dids or {}) do
        if outbound(did) then
          return carrier, did
        end
      end
    end
    after = next_or_err
  until not after
  return nil, errors.not_found("outbound number")
end

return M
