-- Flows (api.md §5.5): shipped ones are files of the installation and read-only originals; one that
-- was edited or made here is in the store, under the same name.
local M = {}

M.name_pattern = "^[a-z][a-z0-9_]*$"
M.name_max, M.source_max = 48, 256 * 1024

local KEPT_MS = 1000

---@return boolean
function M.valid_name(name)
  return #name <= M.name_max and name:match(M.name_pattern) ~= nil
end

local function folder()
  return cxb.root .. "/lua/flows"
end

---(waits) Names of the shipped flows.
---@return string[]
function M.shipped()
  local names = {}
  for _, file in ipairs(cxb.fs.list(folder()) or {}) do
    local name = file:match("^([%w_]+)%.lua$")
    if name and M.valid_name(name) then
      names[#names + 1] = name
    end
  end
  table.sort(names)
  return names
end

---(waits) The source of a shipped flow; nil when there is none of that name.
---@return string?
function M.original(name)
  return M.valid_name(name) and cxb.fs.read(("%s/%s.lua"):format(folder(), name)) or nil
end

---(waits) The stored flow of a name.
---@return table? flow, table? err of the store; nothing: there is none
function M.stored(app, name)
  local found, err = app.store:find("flows", { name = name }, { limit = 1 })
  if not found then
    return nil, err
  end
  return found[1]
end

---(waits) The published version of a flow as calls are told it; known for a moment.
---@return integer? version nil: none was published, table? err of the store
function M.active_version(app, name)
  local now = cxb.time.mono()
  local kept = app.flow_versions
  if not kept or kept.until_ms < now then
    kept = { until_ms = now + KEPT_MS, versions = {} }
    app.flow_versions = kept
  end
  if kept.versions[name] == nil then
    local flow, err = M.stored(app, name)
    if err then
      return nil, err
    end
    kept.versions[name] = flow and flow.active_version or false
  end
  return kept.versions[name] or nil
end

---(waits) Whether a bot may name it: shipped, or published here.
---@return boolean? exists, table? err of the store
function M.exists(app, name)
  if M.original(name) then
    return true
  end
  local flow, err = M.stored(app, name)
  if err then
    return nil, err
  end
  return flow ~= nil and flow.active_version ~= nil
end

---(waits) A version on record; version 0 is the shipped original.
---@return table? row {name, version, source, sha256, by, note, status}, table? err "not_found"
function M.version(app, name, version)
  if version == 0 then
    local source = M.original(name)
    if not source then
      return nil, { code = "not_found" }
    end
    return { name = name, version = 0, source = source, by = "shipped", status = "published",
      sha256 = cxb.crypto.hex(cxb.crypto.sha256(source)) }
  end
  local rows, err = app.store:find("flow_versions", { name = name, version = version },
    { limit = 1 })
  if not rows then
    return nil, err
  elseif not rows[1] then
    return nil, { code = "not_found" }
  end
  return rows[1]
end

---(waits) What calls run now: the published version, else the original.
---@param flow? table stored
---@return table? row, table? err "not_found"
function M.active(app, name, flow)
  return M.version(app, name, flow and flow.active_version or 0)
end

---(waits) Bots that name a flow, by flow.
---@return table<string, table[]>? bots, table? err
function M.bots(app)
  local out, after = {}, nil
  repeat
    local page, next_or_err = app.store:find("bots", { deleted_at = { exists = false } },
      { sort = { "name" }, limit = 200, after = after, fields = { "name", "flow" } })
    if not page then
      return nil, next_or_err
    end
    for _, bot in ipairs(page) do
      local name = bot.flow or "assistant"
      out[name] = out[name] or {}
      table.insert(out[name], { id = bot._id, name = bot.name })
    end
    after = next_or_err
  until not after
  return out
end

return M
