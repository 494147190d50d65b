-- What whoever may open this machine's control socket asks without signing in: `cxbctl call` and
-- `cxbctl calls`. A few routes, as an administrator named for what it is.
local json = require("cxb.json")

local M = {}

M.routes = {
  ["GET /api/v1/calls"] = true, ["GET /api/v1/calls/{id}"] = true,
  ["POST /api/v1/bots/{id}/test-call"] = true,
}

M.principal = {
  kind = "user", id = "operator", name = "operator of this machine", role = "admin", rank = 2,
}

-- A request that was never on a wire; its answer stays here.
local function request(args)
  local req = {
    method = args.method, path = args.path, query = args.query or "", remote = "unix",
    id = cxb.crypto.uuid4(), headers = { host = "localhost" },
  }
  function req.body()
    return args.body and json.encode(args.body) or ""
  end
  function req.respond(_, status, body)
    req.status, req.answer = status, body
  end
  return req
end

---The verb `request` of the control socket: {method, path, query?, body?} → {ok, status, body}.
---@param serve fun(req: table, operator: table) of services.web.pipeline
function M.verb(serve)
  return function(args)
    if type(args.method) ~= "string" or type(args.path) ~= "string" then
      return { ok = false, error = "expected method and path" }
    end
    local req = request(args)
    serve(req, M)
    return { ok = true, status = req.status, body = req.answer and json.decode(req.answer) }
  end
end

return M
