-- The settings of the deployment (api.md §5.15): one document, its secrets sealed.
local json = require("cxb.json")
local schema = require("cxb.schema")
local shape = require("schemas.system")
local vault = require("services.identity.vault")

local M = {}

local CACHE_MS = 60000
local MASK = "•"

---How a secret is shown.
---@return string
function M.mask(text)
  if #text < 12 then
    return MASK:rep(#text)
  end
  return text:sub(1, 4) .. MASK:rep(6) .. text:sub(-4)
end

---Whether a client sends back what it was shown.
---@return boolean
function M.is_masked(value)
  return type(value) == "string" and value:find(MASK, 1, true) ~= nil
end

-- A copy of the stored value by its schema: defaults filled in, each secret as `secret` makes it.
local function read(property, value, secret)
  if value == json.null then
    value = nil
  end
  if property.secret then
    return value and secret(value)
  elseif property.type ~= "object" then
    if value == nil then
      value = property.default
    end
    return property.type == "array" and json.array({ unpack(value or {}) }) or value
  end
  local out = {}
  for name, item in pairs(property.properties or value or {}) do
    if property.properties then
      out[name] = read(item, value and value[name], secret)
    else
      out[name] = read(property.additionalProperties, item, secret)
    end
  end
  return out
end

local function desk_timers(app, desk)
  for name in pairs(shape.properties.agent_desk.properties) do
    if desk[name] == nil then
      desk[name] = app.settings["AGENT_DESK_" .. name:upper()]
    end
  end
end

---(waits) The stored document, made on first read.
---@return table? doc, table? err
function M.stored(app)
  local doc, err = app.store:get("system_settings", "system")
  if not doc and err.code == "not_found" then
    doc, err = app.store:upsert("system_settings", { _id = "system" }, { on_insert = {} })
  end
  return doc, err
end

---A stored document as people see it: secrets masked.
function M.shown(app, doc)
  local out = read(shape, doc, function(sealed)
    return M.mask(vault.open(app, sealed) or "unknown")
  end)
  desk_timers(app, out.agent_desk)
  out.v, out.updated_at = doc.v, doc.updated_at
  return out
end

---(waits) The settings with their defaults and secrets in the clear; kept for 60 s. Not to be
---changed by who reads it.
---@return table? settings, table? err of the store
function M.get(app)
  local kept = app.settings_kept
  if kept and kept.until_ms > cxb.time.mono() then
    return kept.value
  end
  local epoch = app.settings_epoch
  local doc, err = M.stored(app)
  if not doc then
    return nil, err
  end
  local value = read(shape, doc, function(sealed)
    local text = vault.open(app, sealed)
    if not text then
      cxb.log.error("a stored credential does not open: CXB_SECRETS_KEY is another one")
    end
    return text
  end)
  desk_timers(app, value.agent_desk)
  if app.settings_epoch == epoch then -- nobody wrote while they were read
    app.settings_kept = { value = value, until_ms = cxb.time.mono() + CACHE_MS }
  end
  return value
end

local function forget(app)
  app.settings_kept, app.settings_epoch = nil, (app.settings_epoch or 0) + 1
end

---(waits) Forgets what get() has kept, in every process: somebody wrote.
function M.drop(app)
  forget(app)
  app.events:publish("inv", "settings", {})
end

---From now on follows what other processes write.
---@return fun() unsubscribe
function M.follow(app)
  return app.cache:subscribe("inv", function(event)
    if not event or event.name == "settings" then
      forget(app)
    end
  end)
end

local function merged(app, property, old, patch)
  local out = {}
  for name, value in pairs(old or {}) do
    out[name] = value
  end
  for name, value in pairs(patch) do
    local part = property.properties and property.properties[name] or property.additionalProperties
    if value == json.null then
      out[name] = nil
    elseif part.secret then
      if not M.is_masked(value) then
        out[name] = vault.seal(app, value)
      end
    elseif part.type == "object" then
      out[name] = merged(app, part, out[name], value)
    else
      out[name] = value
    end
  end
  return out
end

---What a checked patch of top-level groups makes of the stored document, as store operations.
---@param app table
---@param doc table stored
---@param patch table<string, any> null: back to the defaults
---@return {set: table, unset: string[]}
function M.operations(app, doc, patch)
  local ops = { set = {}, unset = {} }
  for name, value in pairs(patch) do
    local property = shape.properties[name]
    if value == json.null then
      ops.unset[#ops.unset + 1] = name
    elseif property.type == "object" then
      ops.set[name] = merged(app, property, doc[name], value)
    else
      ops.set[name] = value
    end
  end
  return ops
end

-- Every object of a patch may leave out fields and set them null.
local function deep_partial(property)
  if property.type ~= "object" then
    return property
  end
  local out = schema.partial({ type = "object", properties = property.properties or {} })
  for name, part in pairs(out.properties) do
    local inner = deep_partial(property.properties[name])
    if inner ~= property.properties[name] then
      inner.nullable = true
      out.properties[name] = inner
    else
      part.default = nil
    end
  end
  if property.additionalProperties then
    out.additionalProperties = { nullable = true }
    for key, value in pairs(property.additionalProperties) do
      out.additionalProperties[key] = value
    end
  end
  return out
end

---The input schema of one group.
function M.input(name)
  return deep_partial(shape.properties[name])
end

---The schema of the whole document as people see it.
function M.output()
  local properties = {
    v = { type = "integer" }, updated_at = { type = "string", format = "time" },
  }
  for name, property in pairs(shape.properties) do
    properties[name] = property
  end
  return { type = "object", properties = properties }
end

return M
