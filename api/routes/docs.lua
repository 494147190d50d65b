-- GET /openapi.json and /docs: the routes' declarations, for programs and for people (api.md §4).
local errors = require("services.web.errors")
local openapi = require("services.web.openapi")

local page = [[
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>CXB API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<main id="docs"><p>The routes are in <a href="/openapi.json">openapi.json</a>.</p></main>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/show.js"></script>
</body>
</html>
]]
local show = [[
window.ui = SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#docs", deepLinking: true, docExpansion: "none", filter: true,
  defaultModelsExpandDepth: 0, persistAuthorization: false, validatorUrl: null,
});
]]
-- Swagger UI styles its elements one by one and draws its arrows from data: URLs.
local policy = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
  .. "frame-ancestors 'none'; base-uri 'none'"

local function asset_headers(ctx, kind)
  return {
    ["content-type"] = kind, ["cache-control"] = "no-cache", ["x-content-type-options"] = "nosniff",
    ["content-security-policy"] = policy, ["referrer-policy"] = "no-referrer",
    ["x-request-id"] = ctx.request_id,
  }
end

local types = { css = "text/css; charset=utf-8", js = "text/javascript; charset=utf-8" }
local files = { ["swagger-ui.css"] = "css", ["swagger-ui-bundle.js"] = "js" }

-- One document a generation.
local function document(ctx)
  local app = ctx.app
  app.openapi = app.openapi or openapi.document(app.routes)
  return app.openapi
end

return {
  {
    verb = "GET", path = "/openapi.json", guard = "open", early = true,
    summary = "This document.", output = { type = "object", additionalProperties = true },
    handler = function(ctx)
      return { body = document(ctx), headers = { ["cache-control"] = "no-cache" } }
    end,
  },
  {
    verb = "GET", path = "/docs", guard = "open", early = true, media = "text/html",
    summary = "This document as a page.",
    handler = function(ctx)
      return { body = page, headers = asset_headers(ctx, "text/html; charset=utf-8") }
    end,
  },
  {
    verb = "GET", path = "/docs/{file}", guard = "open", early = true, media = "text/javascript",
    summary = "What the page at /docs is made of.",
    params = { type = "object", properties = { file = { type = "string", maxLength = 64 } } },
    handler = function(ctx)
      local name = ctx.params.file
      if name == "show.js" then
        return { body = show, headers = asset_headers(ctx, types.js) }
      end
      local sent = files[name] and ctx.req:send_file(ctx.app.docs_dir .. "/" .. name,
        asset_headers(ctx, types[files[name]]))
      return sent and "answered" or nil, errors.not_found("page")
    end,
  },
}
