-- What of a result is kept (api.md §5.7). Each field, and each item of a list, is judged by itself:
-- one that is wrong is left out, kept under extra.rejected and reported, so that a worker never has
-- to bury a result.
local call_terms = require("services.calls.terms")
local errors = require("services.web.errors")
local json = require("cxb.json")
local result_schema = require("schemas.result")
local schema = require("cxb.schema")

local M = {}

local EXTRA_MAX = 64 * 1024
local ITEMS_MAX = 100 -- wrong ones of a list that are kept and reported one by one

---The members of a body that are not taken apart, as json.decode takes them: nothing here looks
---into them but for the words of the transcript.
M.opaque = { transcript = call_terms.opaque }
for name, property in pairs(result_schema.properties) do
  M.opaque[name] = M.opaque[name] or property.opaque and true or nil
end

local cache_states = { enabled = true, worked = true, statuses = true }

-- `connected_event` of a result is the raw one: its "_" keys are ours and end here.
local function without_flags(event)
  local clean = {}
  for key, value in pairs(event) do
    if type(key) ~= "string" or key:sub(1, 1) ~= "_" then
      clean[key] = value
    end
  end
  return clean
end

-- What a provider's cache saved is kept in tokens, never in money.
local function tokens_only(summary)
  local out = {}
  for name, value in pairs(summary) do
    if cache_states[name] or tostring(name):match("_tokens$") then
      out[name] = value
    end
  end
  return out
end

local function size(name, value)
  return #name + #json.encode(value) + 4
end

-- As many fields of a map as there is room for, smallest names first; what room is left.
local function take(map, kept, room, warnings)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local bytes = size(name, map[name])
    if bytes <= room then
      kept[name] = map[name]
      room = room - bytes
    else
      warnings[#warnings + 1] = { path = name, rule = "too_large",
        message = "is not kept: more than 64 KiB of other fields" }
    end
  end
  return room
end

-- Unknown and refused fields, as many as fit.
local function fit(extra, rejected, warnings)
  local kept, kept_rejected = {}, {}
  local room = take(rejected, kept_rejected, EXTRA_MAX, warnings)
  take(extra, kept, room, warnings)
  if next(kept_rejected) then
    kept.rejected = kept_rejected
  end
  return next(kept) and kept or nil
end

---The other fields of a call with those of a new result, as many as fit.
---@param old table<string, any>
---@param new table<string, any>
---@param told table<string, any> names that stay as they are
---@param warnings table[] what is not kept is appended
---@return table<string, any>
function M.merged(old, new, told, warnings)
  local out, fresh, room = {}, {}, EXTRA_MAX
  for name, value in pairs(new) do
    if told[name] == nil then
      fresh[name] = value
    end
  end
  for name, value in pairs(old) do
    if fresh[name] == nil then
      out[name] = value
      room = room - size(name, value)
    end
  end
  take(fresh, out, room, warnings)
  return out
end

-- The items of a list that are right; nil: none is. Those that are not are rejected as
-- {index, value}, counted from 0.
local function right_items(name, list, rejected, warnings)
  local right, wrong, n = json.array(), json.array(), 0
  for i, item in ipairs(list) do
    local _, why = schema.check(result_schema.properties[name].items, item)
    if not why then
      right[#right + 1] = item
    else
      n = n + 1
      if n <= ITEMS_MAX then
        wrong[n] = { index = i - 1, value = item }
        warnings[#warnings + 1] = { path = ("%s[%d]"):format(name, i - 1), rule = why[1].rule,
          message = why[1].message }
      end
    end
  end
  if n > ITEMS_MAX then
    warnings[#warnings + 1] = { path = name, rule = "too_many",
      message = ("%d more items are wrong and not kept"):format(n - ITEMS_MAX) }
  end
  rejected[name] = wrong[1] and wrong
  return right[1] and right
end

-- One field as the schema wants it, or what is wrong with it. Opaque JSON is known by its shape; if
-- that does not fit, the rules are asked what is wrong inside.
local function check(name, value, rejected, warnings)
  local property = result_schema.properties[name]
  if json.is_raw(value) then
    if value.shape == property.opaque or value.shape == "empty" then
      return value
    end
    value = json.decode(json.text(value))
  end
  if property.items and type(value) == "table" and value[1] ~= nil then
    return right_items(name, value, rejected, warnings)
  end
  return schema.check_property(result_schema, name, value)
end

---Judges a decoded body field by field. Nulls are dropped: blank never erases.
---@return {session_id: string, fields: table, extra?: table, warnings: table[]}?, api.error?
function M.judge(payload)
  local id, wrong = schema.check_property(result_schema, "session_id", payload.session_id)
  if not id then
    return nil, errors.invalid({ wrong })
  end
  local fields, extra, rejected, warnings = {}, {}, {}, {}
  for name, value in pairs(payload) do
    local known = result_schema.properties[name]
    if known and value ~= json.null and name ~= "session_id" then
      local kept, bad = check(name, value, rejected, warnings)
      if bad then
        rejected[name] = value
        warnings[#warnings + 1] = bad
      else
        fields[name] = kept
      end
    elseif not known and value ~= json.null then
      local place = name == "rejected" and rejected or extra
      place[name] = value
    end
  end
  if fields.connected_event then
    fields.connected_event = without_flags(fields.connected_event)
  end
  if fields.llm_cache_summary then
    fields.llm_cache_summary = tokens_only(fields.llm_cache_summary)
  end
  extra = fit(extra, rejected, warnings)
  table.sort(warnings, function(a, b)
    return a.path < b.path
  end)
  return { session_id = id, fields = fields, extra = extra, warnings = warnings }
end

return M
