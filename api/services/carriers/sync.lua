-- One carrier mirrored at LiveKit: a trunk for calls to us, one for calls from us, and the rule
-- that gives each call a room of its own (api.md §5.13). Objects are found by name, so repeating
-- is harmless. Failures back off and block no edit.
local json = require("cxb.json")
local livekit = require("cxb.livekit")
local vault = require("services.identity.vault")

local M = {}

local FIRST_BACKOFF_MS, MAX_BACKOFF_MS, ROOM_PREFIX = 30000, 600000, "call-"

local transports = {
  auto = "SIP_TRANSPORT_AUTO", tcp = "SIP_TRANSPORT_TCP", udp = "SIP_TRANSPORT_UDP",
  tls = "SIP_TRANSPORT_TLS",
}

-- Each kind of object: how it is listed, made, changed, removed.
local kinds = {
  ["in"] = { list = "ListSIPInboundTrunk", create = "CreateSIPInboundTrunk", wrap = "trunk",
    update = "UpdateSIPInboundTrunk", delete = "DeleteSIPTrunk", id = "sip_trunk_id" },
  out = { list = "ListSIPOutboundTrunk", create = "CreateSIPOutboundTrunk", wrap = "trunk",
    update = "UpdateSIPOutboundTrunk", delete = "DeleteSIPTrunk", id = "sip_trunk_id" },
  rule = { list = "ListSIPDispatchRule", create = "CreateSIPDispatchRule", wrap = "dispatch_rule",
    update = "UpdateSIPDispatchRule", delete = "DeleteSIPDispatchRule",
    id = "sip_dispatch_rule_id" },
}

-- Where the ids of the objects are kept.
local id_fields = {
  ["in"] = "lk_inbound_trunk_id", out = "lk_outbound_trunk_id", rule = "lk_dispatch_rule_id",
}

local function numbers(carrier, other)
  local list = json.array()
  for _, did in ipairs(carrier.dids or {}) do
    if did.direction ~= other then
      list[#list + 1] = did.number
    end
  end
  table.sort(list)
  return list
end

local function password(app, sealed)
  return sealed and vault.open(app, sealed) or ""
end

-- What LiveKit should hold of a carrier, by kind; nil: nothing of this kind.
local function wanted(app, carrier)
  local credentials = require("services.carriers").credentials
  local incoming, outgoing = numbers(carrier, "outbound"), numbers(carrier, "inbound")
  local want, name = {}, "cxb:" .. carrier._id .. ":"
  if carrier.deleted_at then
    return want
  end
  if incoming[1] then
    local by, is_ip = credentials(carrier, "inbound"), carrier.inbound_auth_mode == "ip"
    want["in"] = {
      name = name .. "in", numbers = incoming,
      allowed_addresses = json.array(is_ip and by.addresses or {}),
      auth_username = not is_ip and by.username or "",
      auth_password = not is_ip and password(app, by.password) or "",
    }
    want.rule = { name = name .. "rule",
      rule = { dispatch_rule_individual = { room_prefix = ROOM_PREFIX } } }
  end
  if outgoing[1] then
    local by = credentials(carrier, "outbound")
    want.out = {
      name = name .. "out", numbers = outgoing, address = carrier.sip_address,
      transport = transports[carrier.transport], auth_username = by.username or "",
      auth_password = password(app, by.password),
      destination_country = carrier.destination_country or "",
    }
  end
  return want
end

-- Whether an object has everything that is wanted of it.
local function matches(have, want)
  if type(want) ~= "table" then
    return have == want
  elseif type(have) ~= "table" or (want[1] ~= nil or json.is_array(want)) and #have ~= #want then
    return false
  end
  for key, value in pairs(want) do
    if not matches(have[key], value) then
      return false
    end
  end
  return true
end

local function by_name(items, name)
  local found = {}
  for _, item in ipairs(items) do
    if item.name == name then
      found[#found + 1] = item
    end
  end
  return found
end

---(waits) Everything LiveKit holds, by kind.
---@return table<string, table[]>? objects, string? why
function M.objects(app)
  local out = {}
  for kind, names in pairs(kinds) do
    local answer, code, message = livekit.twirp(app.settings, "SIP", names.list, {})
    if not answer then
      return nil, ("%s: %s"):format(code, message or "")
    end
    out[kind] = answer.items or {}
  end
  return out
end

-- (waits) One object as it should be; its id, or nil, why.
local function apply(app, kind, have, want)
  local names = kinds[kind]
  local keep = table.remove(have, 1)
  for _, extra in ipairs(have) do
    livekit.twirp(app.settings, "SIP", names.delete, { [names.id] = extra[names.id] })
  end
  local answer, code, message
  if keep and not want then
    answer, code, message = livekit.twirp(app.settings, "SIP", names.delete,
      { [names.id] = keep[names.id] })
    if not answer and code ~= "not_found" then
      return nil, message or code
    end
    return ""
  elseif not want then
    return ""
  elseif keep and matches(keep, want) then
    return keep[names.id]
  elseif keep then
    answer, code, message = livekit.twirp(app.settings, "SIP", names.update,
      { [names.id] = keep[names.id], replace = want })
  else
    answer, code, message = livekit.twirp(app.settings, "SIP", names.create,
      { [names.wrap] = want })
  end
  return answer and answer[names.id], message or code
end

-- (waits) The three objects, in the order in which they name each other.
local function mirror(app, carrier, objects)
  local want, ids = wanted(app, carrier), {}
  local name = "cxb:" .. carrier._id .. ":"
  for _, kind in ipairs({ "in", "out", "rule" }) do
    if kind == "rule" and want.rule then
      want.rule.trunk_ids = { ids["in"] }
    end
    local id, why = apply(app, kind, by_name(objects[kind], name .. kind), want[kind])
    if not id then
      return nil, why
    end
    ids[kind] = id ~= "" and id or nil
  end
  return ids
end

-- Only what is news is written: a carrier that matches is left alone.
local function note(app, carrier, set, unset)
  local news = false
  for name, value in pairs(set) do
    news = news or (carrier[name] ~= value and name ~= "lk_last_synced_at")
  end
  for _, name in ipairs(unset) do
    news = news or carrier[name] ~= nil
  end
  if news then
    app.store:update("carriers", carrier._id, { set = set, unset = unset },
      { expect = { v = carrier.v } })
  end
end

local function succeeded(app, carrier, ids)
  local set = { lk_sync_status = "synced", lk_last_synced_at = cxb.time.now() }
  local unset = { "lk_sync_error", "lk_failures", "lk_retry_at" }
  for kind, name in pairs(id_fields) do
    if ids[kind] then
      set[name] = ids[kind]
    else
      unset[#unset + 1] = name
    end
  end
  note(app, carrier, set, unset)
end

local function failed(app, carrier, why)
  local n = (carrier.lk_failures or 0) + 1
  local wait = math.min(FIRST_BACKOFF_MS * 2 ^ (n - 1), MAX_BACKOFF_MS)
  note(app, carrier, { lk_sync_status = "error", lk_sync_error = why:sub(1, 500), lk_failures = n,
    lk_retry_at = cxb.time.now() + wait }, {})
  cxb.log.warn("a carrier is not in step with LiveKit", { carrier_id = carrier._id, error = why })
end

---(waits) Mirrors one carrier now. A deleted one is forgotten once LiveKit has forgotten it.
---@param objects? table as objects() gives them
---@return true?, string? why
function M.run(app, carrier, objects)
  local why, ids
  if not objects then
    objects, why = M.objects(app)
  end
  if objects then
    ids, why = mirror(app, carrier, objects)
  end
  if not ids then
    failed(app, carrier, why)
    return nil, why
  elseif carrier.deleted_at then
    app.store:delete("carriers", carrier._id)
  else
    succeeded(app, carrier, ids)
  end
  return true
end

local running, again = {}, {}

-- (waits) Until no change came in between.
local function keep_up(app, id)
  repeat
    again[id] = nil
    local carrier = app.store:get("carriers", id)
    if carrier then
      M.run(app, carrier)
    end
  until not again[id]
end

---Mirrors a carrier soon, after a change. Does not wait.
function M.soon(app, id)
  if not livekit.configured(app.settings) then
    return
  elseif running[id] then
    again[id] = true
    return
  end
  running[id] = true
  cxb.task.spawn("carrier_sync", function()
    local ok, why = pcall(keep_up, app, id)
    running[id] = nil
    if not ok then
      cxb.log.error("carrier sync failed", { carrier_id = id, error = tostring(why) })
    end
  end)
end

---(waits) Looks after all carriers: what LiveKit lost or holds otherwise is made anew. A carrier
---that changed, or was mirrored, since the objects were listed is left for the next look.
---@return true?, string? why
function M.all(app)
  local from = cxb.time.now()
  local objects, why = M.objects(app)
  local after
  repeat
    local list, next_or_err = app.store:find("carriers", {}, { limit = 100, after = after })
    if not list then
      return nil, next_or_err.message
    end
    for _, carrier in ipairs(list) do
      local due = not carrier.lk_retry_at or carrier.lk_retry_at <= cxb.time.now()
      if objects and due and not running[carrier._id] and carrier.updated_at < from then
        M.run(app, carrier, objects)
      elseif not objects and due and carrier.lk_sync_status == "pending" then
        failed(app, carrier, why)
      end
    end
    after = next_or_err
  until not after
  return objects ~= nil or nil, why
end

return M
