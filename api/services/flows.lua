-- Flows (api.md §5.5): shipped ones are files of the installation and read-only originals; one that
-- was edited or made here is in the store, under the same name.
local M = {}

M.name_pattern = "^[a-z][a-z0-9_]*$"
M.name_max, M.source_max = 48, 256 * 1024

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

return M
