-- Questions to one host that people may ask through the API.
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local hosts = require("services.fleet.hosts")
local url = require("cxb.url")

local M = {}

local function ask(ctx, method, path)
  local host, err = hosts.find(ctx.app, ctx.params.id)
  if not host then
    return nil, err
  end
  local answer, code = fleet.call(ctx.app, host.base_url, method, path, nil,
    { timeout_ms = 10000, request_id = ctx.request_id })
  if not answer then
    return nil, errors.new(code == "timeout" and 504 or 502,
      code == "timeout" and "upstream_timeout" or "upstream_failed",
      ("The host did not answer: %s."):format(code or "failed"))
  elseif answer.status == 404 then
    return nil, errors.not_found("row")
  elseif answer.status ~= 200 then
    return nil, errors.new(502, "upstream_failed",
      ("The host answered %d."):format(answer.status))
  end
  return { body = answer.answer }
end

---(waits) The answer of a GET of the host of ctx.params.id.
---@param query table[] {{name, value}, …}
function M.get(ctx, path, query)
  local text = url.encode_query(query)
  return ask(ctx, "GET", path .. (text ~= "" and "?" .. text or ""))
end

---(waits)
function M.post(ctx, path)
  return ask(ctx, "POST", path)
end

return M
