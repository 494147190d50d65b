-- Method and path → handler. A pattern is literal segments, {name} for one segment, and a last
-- {name*} for the rest of the path. Literal beats {name} beats {name*}. HEAD is served by GET.
local find, sub = string.find, string.sub

local M = {}
M.__index = M

local function plain_error(req, status, code, headers)
  req:respond(status, '{"error":"' .. code .. '"}', headers)
end

---@param opts? {error?: fun(req, status, code, headers?)} the shape of 404 and 405
function M.new(opts)
  return setmetatable({ root = {}, whole = {}, error = opts and opts.error or plain_error }, M)
end

---@param method string "GET"
---@param pattern string "/calls/{id}"
---@param handler fun(req: cxb.request, params: table<string, string>, extra: any)
function M:add(method, pattern, handler)
  local node = self.root
  local names = {}
  for segment in pattern:gmatch("[^/]+") do
    local name, rest = segment:match("^{([%w_]+)(%*?)}$")
    if name then
      names[#names + 1] = name
      local kind = rest == "*" and "rest" or "param"
      node[kind] = node[kind] or {}
      node = node[kind]
    else
      node.static = node.static or {}
      node.static[segment] = node.static[segment] or {}
      node = node.static[segment]
    end
  end
  node.methods = node.methods or {}
  if node.methods[method] then
    error(("route %s %s is declared twice"):format(method, pattern), 2)
  end
  node.methods[method] = { handler = handler, names = names, pattern = pattern }
  if not names[1] then
    self.whole[pattern] = node
  end
  return self
end

for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE" }) do
  M[method:lower()] = function(self, pattern, handler)
    return self:add(method, pattern, handler)
  end
end

-- Depth first, from the slash at `at` to the end of the path at `stop`; `values` holds what {name}
-- segments matched so far.
local function walk(node, path, at, stop, values)
  if at > stop then
    return node.methods and node
  end
  local slash = find(path, "/", at + 1, true)
  local after = slash and slash <= stop and slash or stop + 1
  local segment = sub(path, at + 1, after - 1)
  local static = node.static and node.static[segment]
  local found = static and walk(static, path, after, stop, values)
  if found then
    return found
  end
  if node.param then
    values[#values + 1] = segment
    found = walk(node.param, path, after, stop, values)
    if found then
      return found
    end
    values[#values] = nil
  end
  if node.rest and node.rest.methods then
    values[#values + 1] = sub(path, at + 1, stop)
    return node.rest
  end
end

-- The node of a path, one slash at its end does not count.
local function node_of(self, path, values)
  local node = self.whole[path]
  if node then
    return node
  end
  local first = find(path, "/", 1, true) or #path + 1
  return walk(self.root, path, first, sub(path, -1) == "/" and #path - 1 or #path, values)
end

---@return table? route {handler, pattern}
---@return table|string params_or_code
---@return string[]? allowed methods, with "method_not_allowed"
function M:match(method, path)
  local values = {}
  local node = node_of(self, path, values)
  if not node then
    return nil, "not_found"
  end
  local route = node.methods[method] or (method == "HEAD" and node.methods.GET)
  if not route then
    local allowed = {}
    for m in pairs(node.methods) do
      allowed[#allowed + 1] = m
    end
    if node.methods.GET and not node.methods.HEAD then
      allowed[#allowed + 1] = "HEAD"
    end
    table.sort(allowed)
    return nil, "method_not_allowed", allowed
  end
  local params = {}
  for i, name in ipairs(route.names) do
    params[name] = values[i]
  end
  return route, params
end

---Serves one request; `extra` is handed to the handler.
---@param req cxb.request
function M:handle(req, extra)
  local route, params, allowed = self:match(req.method, req.path)
  if route then
    return route.handler(req, params, extra)
  end
  if params == "method_not_allowed" then
    return self.error(req, 405, params, { allow = table.concat(allowed, ", ") })
  end
  return self.error(req, 404, params)
end

return M
