-- A server whose answers a spec writes: cxbrt spec/support/server.lua ADDR HANDLER.lua
-- HANDLER.lua returns function(req, seen, body): one task a request; `seen` lists the requests so
-- far ({method, path, query, headers, body}), which GET /_seen answers as JSON.

local json = require("cjson.safe")

local addr, handler_path = cxb.args[1], cxb.args[2]
local handler = assert(loadfile(handler_path))()
local seen = {}

return {
  name = "scripted",
  listen = { { addr = addr, mode = 438 } },
  large_heads = { "/api/v1/config/" },
  http = function(req)
    if req.path == "/_seen" then
      return req:respond(200, #seen > 0 and json.encode(seen) or "[]")
    end
    local record = { method = req.method, path = req.path, query = req.query,
      headers = req.headers }
    seen[#seen + 1] = record
    if not req.upgrade then record.body = req:body(16 * 1024 * 1024) end
    return handler(req, seen, record.body)
  end,
}
