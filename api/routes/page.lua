-- The page for a test call, for an API without a front: nginx serves the same files.
local errors = require("services.web.errors")

local folder = cxb.root .. "/api/page/"
local types = {
  html = "text/html; charset=utf-8", css = "text/css; charset=utf-8", js = "text/javascript",
  svg = "image/svg+xml",
}
local policy = "default-src 'self'; media-src 'self' blob:; frame-ancestors 'none'"

local function send(ctx, name)
  local kind = types[name:match("%.(%l+)$")]
  if not kind or not name:match("^[%w_-]+%.%l+$") then
    return nil, errors.not_found("page")
  end
  local sent, code = ctx.req:send_file(folder .. name, {
    ["content-type"] = kind, ["cache-control"] = "no-cache",
    ["x-content-type-options"] = "nosniff", ["content-security-policy"] = policy,
    ["referrer-policy"] = "no-referrer", ["x-request-id"] = ctx.request_id,
  })
  if not sent and code == "not_found" then
    return nil, errors.not_found("page")
  end
  return "answered"
end

return {
  {
    verb = "GET", path = "/", guard = "open", early = true,
    summary = "The page for a test call.", media = "text/html",
    handler = function(ctx)
      return send(ctx, "index.html")
    end,
  },
  {
    verb = "GET", path = "/setup", guard = "open", early = true,
    summary = "The same page, which also makes the first administrator.", media = "text/html",
    handler = function(ctx)
      return send(ctx, "index.html")
    end,
  },
  {
    verb = "GET", path = "/{file}", guard = "open", early = true,
    summary = "What the page is made of.", media = "text/javascript",
    params = { type = "object", properties = { file = { type = "string", maxLength = 64 } } },
    handler = function(ctx)
      return send(ctx, ctx.params.file)
    end,
  },
}
