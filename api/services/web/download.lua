-- Answers that are CSV files, sent while they are made.
local M = {}

---Begins one; a browser keeps it as `name`.
---@param ctx table
---@param name string
function M.csv(ctx, name)
  local headers = {
    ["content-type"] = "text/csv; charset=utf-8", ["cache-control"] = "no-store",
    ["content-disposition"] = ('attachment; filename="%s"'):format(name),
    ["x-content-type-options"] = "nosniff", ["x-request-id"] = ctx.request_id,
  }
  for header, value in pairs(ctx.headers) do -- of its rate class, and for other origins
    headers[header] = value
  end
  ctx.req:start(200, headers)
end

return M
