-- Method and path → handler. A pattern is literal segments, {name} for one segment, and a last
-- {name*} for the rest of the path. Literal beats {name} beats {name*}. HEAD is served by GET.
local M = {}
M.__index = M

local function plain_error(req, status, code, headers)
  req:respond(status, '{"error":"' .. code .. '"}', headers)
end

---@param opts? {error?: fun(req, status, code, headers?)} the shape of 404 and 405
function M.new(opts)
  return setmetatable({ root = {}, error = opts and opts.error or plain_error }, M)
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
  return self
end

for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE" }) do
  M[method:lower()] = function(self, pattern, handler)
    return self:add(method, pattern, handler)
  end
end

-- Depth first; `values` holds what {name} segments matched so far.
local function walk(node, segments, i, values)
  if i > #segments then
    return node.methods and node
  end
  local segment = segments[i]
  local found = node.static and node.static[segment]
    and walk(node.static[segment], segments, i + 1, values)
  if found then
    return found
  end
  if node.param then
    values[#values + 1] = segment
    found = walk(node.param, segments, i + 1, values)
    if found then
      return found
    end
    values[#values] = nil
  end
  if node.rest and node.rest.methods then
    values[#values + 1] = table.concat(segments, "/", i)
    return node.rest
  end
end

---@return table? route {handler, pattern}
---@return table|string params_or_code
---@return string[]? allowed methods, with "method_not_allowed"
function M:match(method, path)
  local segments, n = {}, 0
  for segment in path:gmatch("/([^/]*)") do
    n = n + 1
    segments[n] = segment
  end
  if segments[#segments] == "" then
    segments[#segments] = nil
  end
  local values = {}
  local node = walk(self.root, segments, 1, values)
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
