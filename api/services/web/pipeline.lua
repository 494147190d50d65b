-- From a request to its answer: route, guard, limits, checked input, handler, one error shape.
--
-- A route is one declaration, the only source of what is checked, documented and typed:
--   verb, path   "GET", "/api/v1/calls/{id}"
--   summary      one sentence for the documentation
--   guard        name of a function of services.identity.guards, or a list of them
--   scope        of an API key, with guard "key"
--   params       schema of the path's parameters (a value that does not fit is a 404); parameters
--                without one are ids
--   query        schema of the query string
--   input        schema of the JSON body, or "object": any object, judged by the handler
--   opaque       members of the body that are not taken apart, as json.decode takes them
--   optional     the JSON body may be absent: {} then
--   best_effort  a body that cannot be read is no error: ctx.body is nil then
--   upload       {max = bytes or fun(ctx), field = "file"}: the body is a file, ctx.upload then
--   body_max     bytes of the body, 1 MiB
--   url_max      bytes of path and query, 8 KiB
--   output       schema of the answer: what it lists leaves, nothing else; times as RFC 3339
--   status       of a success, 200
--   media        content type of the answer when it is not JSON
--   errors       codes of its own, for the documentation
--   versioned    whether If-Match counts, for the documentation: by default of PUT and PATCH
--   example      an input that is accepted
--   audit        the action its row in the audit names, "bot.update"; false: no row. Without it,
--                what people and keys POST, PUT, PATCH or DELETE is told by its file's name
--   limit        rate class besides that of who asks (services.web.limits)
--   idempotent   an Idempotency-Key counts (services.web.idempotency)
--   deadline_ms  30,000, uploads 600,000; false: none
--   cors         "*": any page may read the answer
--   early        answers before the store is open
--   handler      fun(ctx): {status?, body?, headers?} | "answered" | nil, api.error
local audit = require("services.identity.audit")
local body = require("services.web.body")
local cors = require("services.web.cors")
local errors = require("services.web.errors")
local guards = require("services.identity.guards")
local idempotency = require("services.web.idempotency")
local json = require("cxb.json")
local limits = require("services.web.limits")
local router = require("cxb.router")
local schema = require("cxb.schema")
local sse = require("services.web.sse")
local upload = require("services.web.upload")
local url = require("cxb.url")
local webhook = require("cxb.webhook")

local M = {}

local none = {}

local BODY_MAX, URL_MAX = 1024 * 1024, 8192
local DEADLINE_MS, UPLOAD_DEADLINE_MS = 30000, 600000

-- ctx.headers, completed: what the answer says of itself wins over all.
local function headers_of(ctx, more)
  local out = {
    ["content-type"] = "application/json", ["cache-control"] = "no-store",
    ["x-content-type-options"] = "nosniff", ["x-request-id"] = ctx.request_id,
  }
  for name, value in pairs(ctx.headers) do
    out[name] = value
  end
  for name, value in pairs(more or none) do
    out[name] = value
  end
  return out
end

-- The address a request comes from: what trusted proxies forward, from the right.
local function client_of(app, req)
  local address = req.remote
  local forwarded = req.headers["x-forwarded-for"]
  if not app.trusted_proxies[address] or not forwarded then
    return address
  end
  local hops = {}
  for hop in forwarded:gmatch("[^,%s]+") do
    hops[#hops + 1] = hop
  end
  for i = #hops, 1, -1 do
    address = hops[i]
    if not app.trusted_proxies[address] then
      break
    end
  end
  return address
end

---Scheme and host the client used: {scheme = "http", host = "127.0.0.1:8080", proxied = true}.
function M.origin(ctx)
  local req, trusted = ctx.req, ctx.app.trusted_proxies[ctx.req.remote]
  local proto = trusted and req.headers["x-forwarded-proto"]
  local host = req.headers.host or ""
  return {
    scheme = proto == "https" and "https" or "http",
    host = host:match("^[%w.%-]+:?%d*$") or host:match("^%[[%x:]+%]:?%d*$") or "localhost",
    proxied = proto ~= nil and proto ~= false,
  }
end

---The base that Core and Dialler use.
function M.internal_base(ctx)
  local settings = ctx.app.settings
  local base = settings.CXB_INTERNAL_URL or settings.CXB_PUBLIC_URL
  if base then
    return (base:gsub("/+$", ""))
  end
  local origin = M.origin(ctx)
  return origin.scheme .. "://" .. origin.host
end

-- Path parameters without a schema of their own are ids: route.ids names them.
local function declare_params(route)
  if route.params then
    return
  end
  local ids, properties = {}, {}
  for name in route.path:gmatch("{([%w_]+)%*?}") do
    ids[#ids + 1] = name
    properties[name] = { type = "string", format = "id" }
  end
  route.ids = ids
  route.params = ids[1] and { type = "object", properties = properties } or nil
end

local function params_fit(route, params)
  if not route.ids then
    return schema.check(route.params, params) ~= nil
  end
  for _, name in ipairs(route.ids) do
    if not schema.fits("id", params[name]) then
      return false
    end
  end
  return true
end

local function check_params(route, ctx)
  if not params_fit(route, ctx.params) then
    return nil, errors.not_found()
  end
  return true
end

local function check_query(route, ctx)
  if not route.query then
    return true
  end
  local kept, fields = schema.check_query(route.query, ctx.query)
  if not kept then
    local paths = {}
    for i, field in ipairs(fields) do
      paths[i] = field.path .. " " .. field.message
    end
    return nil, errors.new(400, "invalid_query", "Query: " .. table.concat(paths, ", ") .. ".",
      { fields = fields })
  end
  ctx.query = kept
  return true
end

local function read_input(route, ctx)
  if not route.input then
    return true
  end
  local text, value, unread = body.read(ctx.req, route.body_max or BODY_MAX, route.optional,
    route.opaque)
  if not text and route.best_effort then
    ctx.raw = unread -- signed all the same
    cxb.log.debug("a body was dropped", { route = route.name, error = value.code })
    return true
  elseif not text then
    return nil, value
  end
  ctx.raw = text
  if route.input == "object" then
    ctx.body = value
    return true
  end
  local kept, fields = schema.check(route.input, value)
  if not kept then
    return nil, errors.invalid(fields)
  end
  ctx.body = kept
  return true
end

-- A signature on one of Core's deliveries must be right if we know its secret.
local function check_signature(_, ctx)
  local keys, headers = ctx.app.secrets and ctx.app.secrets.webhook, ctx.req.headers
  if keys and ctx.principal.kind == "core" and headers["webhook-signature"]
    and not webhook.verify(keys, headers, ctx.raw or "") then
    return nil, errors.new(403, "bad_signature", "The signature does not verify.")
  end
  return true
end

local function check_guard(route, ctx)
  local principal, refused
  if not ctx.operator then
    principal, refused = guards.judge(route.guard, ctx)
  elseif ctx.operator.routes[route.name] then
    principal = ctx.operator.principal
  else
    refused = errors.new(403, "forbidden", "Not by the control socket.")
  end
  ctx.principal = principal
  return principal, refused
end

local function read_upload(route, ctx)
  if not route.upload then
    return true
  end
  return upload.receive(ctx, route.upload)
end

local steps = {
  check_guard, limits.early, check_params, check_query, read_upload, read_input, check_signature,
  limits.late,
}

-- The text of an answer, once.
local function rendered(route, answer)
  if answer ~= "answered" and type(answer.body) == "table" then
    answer.body = json.encode(schema.shape(route.output, answer.body))
  end
  return answer
end

-- The handler, and what is kept of its answer when the request carries an Idempotency-Key.
local function handle(route, ctx)
  local kept, refused = idempotency.begin(route, ctx)
  if kept == false then
    return nil, refused
  elseif kept and kept.replay then
    ctx.audit = { skip = true } -- told the first time
    return idempotency.again(kept.replay)
  end
  local answer, err = route.handler(ctx)
  if answer then
    answer = rendered(route, answer)
  end
  if kept then
    idempotency.finish(ctx, kept.id, answer, err)
  end
  return answer, err
end

local function run(route, ctx)
  if ctx.url_size > (route.url_max or URL_MAX) then
    return nil, errors.new(414, "uri_too_long", "The URL is too long.")
  end
  if not ctx.app.ready and not route.early then
    return nil, errors.new(503, "store_unavailable", ctx.app:upgrade()
      and "The store is being brought up to date." or "The store is not open yet.")
  end
  for _, step in ipairs(steps) do
    local ok, err = step(route, ctx)
    if not ok then
      return nil, err
    end
  end
  return handle(route, ctx)
end

local function respond(ctx, route, answer, err)
  if answer == "answered" then
    return
  elseif err then
    ctx.status = err.status
    ctx.req:respond(err.status, errors.body(err, ctx.request_id), headers_of(ctx, err.headers))
    return
  end
  ctx.status = answer.status or (route and route.status) or 200
  ctx.req:respond(ctx.status, answer.body, headers_of(ctx, answer.headers))
end

-- The labels of metrics, by the route's name, made once: its own, and by status with that.
local labels = {}

local function labels_of(name, status)
  local route = labels[name]
  if not route then
    route = { own = cxb.metrics.labels({ route = name }) }
    labels[name] = route
  end
  route[status] = route[status]
    or cxb.metrics.labels({ route = name, status = tostring(status) })
  return route.own, route[status]
end

local function account(ctx, name, from)
  local status = ctx.status or 200
  local seconds = (cxb.time.mono() - from) / 1000
  local of_route, of_status = labels_of(name, status)
  cxb.metrics.count("cxb_api_requests_total", of_status)
  cxb.metrics.observe("cxb_api_request_seconds", of_route, seconds)
  if status < 400 and ctx.app.settings.CXB_LOG_LEVEL ~= "debug" then
    return
  end
  local log = status >= 500 and cxb.log.error or status >= 400 and cxb.log.info or cxb.log.debug
  log("request", { route = name, status = status, ms = math.floor(seconds * 1e6) / 1000,
    error = ctx.error })
end

local function deadline_of(route)
  if route.deadline_ms ~= nil then
    return route.deadline_ms or nil
  end
  return route.upload and UPLOAD_DEADLINE_MS or DEADLINE_MS
end

-- The task of a request that takes too long is cancelled: whatever it waits for fails.
local function too_late(ctx, deadline)
  cxb.log.warn("request cancelled", { route = ctx.route.path, ms = deadline })
  return nil, errors.new(504, "upstream_timeout",
    ("It took longer than %d s."):format(deadline / 1000))
end

local function guarded(route, ctx, from)
  local deadline = deadline_of(route)
  cxb.task.deadline(deadline)
  local ok, answer, err = xpcall(run, debug.traceback, route, ctx)
  cxb.task.deadline(nil)
  upload.discard(ctx)
  limits.release(ctx)
  if deadline and cxb.time.mono() - from >= deadline and not (ok and answer) then
    return too_late(ctx, deadline)
  elseif ok then
    return answer, err
  end
  cxb.log.error("request failed", { route = route.name, traceback = answer })
  return nil, errors.new(500, "internal", "Something went wrong here; it was logged.")
end

local function check_guards(route)
  local names = type(route.guard) == "table" and route.guard or { route.guard }
  for _, name in ipairs(names) do
    if name == "judge" or not guards[name] then
      names = {}
    end
  end
  if not names[1] then
    error(("route %s has no guard"):format(route.name))
  elseif not limits.known(route.limit) then
    error(("route %s: no rate class %s"):format(route.name, route.limit))
  end
end

---(waits) Every route of api/routes, by file name.
---@return table[] routes each with the `group` it was declared in
function M.routes()
  local routes, files = {}, cxb.fs.list(cxb.root .. "/api/routes")
  table.sort(files)
  for _, file in ipairs(files) do
    local group = file:match("^([%w_]+)%.lua$")
    for _, route in ipairs(group and require("routes." .. group) or {}) do
      route.group = group
      routes[#routes + 1] = route
    end
  end
  return routes
end

---Builds the function that serves every request.
---@param app table
---@param routes table[] declarations, by M.routes()
---@return fun(req: cxb.request, operator?: table) operator: services.identity.local_operator asks
function M.server(app, routes)
  local table_of_routes = router.new()
  for _, route in ipairs(routes) do
    route.name = route.verb .. " " .. route.path
    check_guards(route)
    declare_params(route)
    table_of_routes:add(route.verb, route.path, route)
  end
  app.routes = routes
  -- A path that has no method of this name: which it has, or that there is none.
  local function without_route(ctx, allowed)
    local req = ctx.req
    if not allowed then
      return nil, errors.not_found("path")
    elseif req.method == "OPTIONS" then
      local found = table_of_routes:match(allowed[1], req.path)
      ctx.headers = {}
      return cors.preflight(app, req, allowed, found.handler.cors == "*")
    end
    return nil, errors.new(405, "method_not_allowed", "Not for this path.",
      { headers = { allow = table.concat(allowed, ", ") } })
  end
  return function(req, operator)
    local from = cxb.time.mono()
    local id, path, query = req.id, req.path, req.query
    cxb.task.tag({ request_id = id })
    local found, params, allowed = table_of_routes:match(req.method, path)
    local ctx = {
      app = app, req = req, request_id = id, client = client_of(app, req),
      url_size = #path + #query, query = url.parse_query(query), operator = operator,
      sse = sse.serve, headers = { ["referrer-policy"] = "no-referrer" },
    }
    local route, answer, err = found and found.handler
    cors.answer(app, req, ctx.headers, route and route.cors == "*")
    if route then
      ctx.params, ctx.route = params, route
      answer, err = guarded(route, ctx, from)
      audit.record(ctx, answer, err)
    else
      answer, err = without_route(ctx, allowed)
    end
    ctx.error = err and err.code
    respond(ctx, route, answer, err)
    account(ctx, route and route.name or "none", from)
  end
end

return M
