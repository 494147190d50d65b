-- What of a result is kept (api.md §5.7). Each field is judged by itself: one that is wrong is
-- left out, kept under extra.rejected and reported, so that a worker never has to bury a result.
local errors = require("services.web.errors")
local json = require("cxb.json")
local result_schema = require("schemas.result")
local schema = require("cxb.schema")

local M = {}

local EXTRA_MAX = 64 * 1024

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

-- Unknown and refused fields, as many as fit, smallest names first.
local function fit(extra, rejected, warnings)
  local room, names = EXTRA_MAX, {}
  local function take(map, kept, path)
    for name in pairs(map) do
      names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
      local size = #name + #json.encode(map[name]) + 4
      if size <= room then
        kept[name] = map[name]
        room = room - size
      else
        warnings[#warnings + 1] = { path = path .. name, rule = "too_large",
          message = "is not kept: more than 64 KiB of other fields" }
      end
      names[i] = nil
    end
  end
  local kept, kept_rejected = {}, {}
  take(rejected, kept_rejected, "")
  take(extra, kept, "")
  if next(kept_rejected) then
    kept.rejected = kept_rejected
  end
  return next(kept) and kept or nil
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
      local kept, bad = schema.check_property(result_schema, name, value)
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
  extra = fit(extra, rejected, warnings)
  table.sort(warnings, function(a, b)
    return a.path < b.path
  end)
  return { session_id = id, fields = fields, extra = extra, warnings = warnings }
end

return M
