-- The OpenAPI 3.1 document of the routes' declarations: nothing is said twice.
local json = require("cxb.json")
local list = require("cxb.list")
local schema = require("cxb.schema")

local M = {}

local problem = {
  type = "object", title = "Error", description = "Every refusal has this shape.",
  required = { "error", "message", "detail", "request_id" }, additionalProperties = true,
  properties = {
    error = { type = "string", description = "stable code in snake_case" },
    message = { type = "string", description = "a sentence" },
    detail = { type = "string", description = "the same as message" },
    request_id = { type = "string" },
    fields = {
      type = "array",
      items = {
        type = "object", title = "BadField", required = { "path", "rule", "message" },
        properties = {
          path = { type = "string" }, rule = { type = "string" }, message = { type = "string" },
        },
      },
    },
  },
}

-- What every route has in common, for who knows nothing else of us.
local about = [[
The control plane of a voice-bot contact centre.

**Signing in**: `POST /api/v1/auth/login`, then `Authorization: Bearer …`; there is no refresh,
a 401 `token_expired` means to sign in again. Programs send an API key of the right scope as
`X-API-Key`; our own services the internal secret. A route's `x-guard` says who may call it: a
role (`agent`, `sup`, `admin`, `super` or `any`), `key`, `secret`, `open`.

**Refusals** have one shape; `error` is a stable code, `message` is for people. 400 a query or
JSON that cannot be read, 401 no or a bad credential, 403 not allowed to you, 404 not there or
not yours to see, 409 the state does not allow it, 413 too large, 422 `validation_failed` with
every bad field in `fields`, 429 `rate_limited` or `at_capacity`, 502 a server we asked failed,
503 `…_unavailable`. With `Retry-After` it may be asked again.

**Lists** take `limit` and either `after` (`next` of the page before) or `page`; `total` counts
to 10,000.

**Changes** (`PUT`, `PATCH`) take the fields given, and `null` for the default. With the `ETag`
that was read as `If-Match` a change made meanwhile is 409 `version_conflict` with the object as
`current`.

**Times** are RFC 3339 with a zone, telephone numbers E.164 (`+919876543210`).

**Repeating**: routes with `Idempotency-Key` answer the same request of one day as the first
time. `X-Request-ID` is kept, or made, and sent back.
]]

local function header(name, description, shape)
  return { name = name, ["in"] = "header", required = false, description = description,
    schema = shape or { type = "string" } }
end

-- Whether If-Match counts: a change of some fields was made of a version.
local function is_versioned(route)
  if route.versioned ~= nil then
    return route.versioned
  end
  return route.verb == "PUT" or route.verb == "PATCH" or list.has(route.errors, "version_conflict")
end

local function is_audio(route)
  return route.media ~= nil and route.media:match("^audio/") ~= nil
end

-- Headers that count on many routes, and what reads them.
local common = {
  { header("Idempotency-Key", "the same request of one day is answered once",
    { type = "string", minLength = 1, maxLength = 128 }), function(route)
    return route.idempotent
  end },
  { header("If-Match", "the ETag that was read; another one now is 409 version_conflict"),
    is_versioned },
  { header("Range", "bytes=0-999, bytes=1000- or bytes=-1000"), is_audio },
  { header("Last-Event-ID", "the last id seen: events since then are sent, or a snapshot"),
    function(route)
      return route.media == "text/event-stream"
    end },
}

local schemes = {
  bearer = { type = "http", scheme = "bearer", bearerFormat = "JWT" },
  key = { type = "apiKey", ["in"] = "header", name = "X-API-Key" },
  secret = { type = "apiKey", ["in"] = "header", name = "X-CXBCore-Secret" },
}
-- What a guard asks of a client; the others look at a signed-in person.
local scheme_of = { key = "key", secret = "secret", near = "secret" }
local needs_nothing = { open = true }

local function guards_of(route)
  return type(route.guard) == "table" and route.guard or { route.guard }
end

local function security(route)
  local out, seen = json.array(), {}
  for _, guard in ipairs(guards_of(route)) do
    local scheme = scheme_of[guard] or "bearer"
    if needs_nothing[guard] then
      return json.array()
    elseif not seen[scheme] then
      seen[scheme] = true
      out[#out + 1] = { [scheme] = json.array() }
    end
  end
  return out
end

local function sorted(map)
  local names = {}
  for name in pairs(map) do
    names[#names + 1] = name
  end
  table.sort(names)
  return names
end

local function parameters(route, named)
  local out = json.array()
  for _, place in ipairs({ "path", "query" }) do
    local from = place == "path" and route.params or place == "query" and route.query or {}
    local required = {}
    for _, name in ipairs(from.required or {}) do
      required[name] = true
    end
    for _, name in ipairs(sorted(from.properties or {})) do
      out[#out + 1] = {
        name = name, ["in"] = place, required = place == "path" or required[name] or false,
        description = from.properties[name].description,
        schema = schema.published(from.properties[name], named),
      }
    end
  end
  if route.guard == "playback" and not (route.query and route.query.properties.ticket) then
    out[#out + 1] = { name = "ticket", ["in"] = "query", required = false,
      description = "of recording_play_url, for players that send no header",
      schema = { type = "string" } }
  end
  for _, entry in ipairs(common) do
    out[#out + 1] = entry[2](route) and entry[1] or nil
  end
  return out
end

local function request_body(route, named)
  if route.upload then
    return { required = true, content = { ["multipart/form-data"] = { schema = {
      type = "object", required = json.array({ route.upload.field or "file" }),
      properties = { [route.upload.field or "file"] = { type = "string",
        contentMediaType = "application/octet-stream" } },
    } } } }
  elseif not route.input then
    return nil
  end
  local shape = route.input == "object" and { type = "object", additionalProperties = true }
    or schema.published(route.input, named)
  return { required = not route.optional,
    content = { ["application/json"] = { schema = shape, example = route.example } } }
end

local function responses(route, named)
  local success = { description = "Done." }
  if route.media then
    success.content = { [route.media] = json.object({}) }
  elseif route.output then
    success.content = { ["application/json"] = { schema = schema.published(route.output, named) } }
  end
  local codes = { unpack(route.errors or {}) }
  if is_versioned(route) and not list.has(codes, "version_conflict") then
    codes[#codes + 1] = "version_conflict"
  end
  local out = {
    [tostring(route.status or 200)] = success,
    default = {
      description = "Refused" .. (codes[1] and ": " or "") .. table.concat(codes, ", ") .. ".",
      content = { ["application/json"] = { schema = schema.published(problem, named) } } },
  }
  if is_audio(route) then
    out["206"] = { description = "The bytes of Range.", content = success.content }
    out["304"] = { description = "Not changed since If-None-Match." }
    out["416"] = { description = "Range is beyond the end; Content-Range says the length." }
  end
  return out
end

-- "Agent desk" of the group agent_desk.
local function title(group)
  return (group:gsub("_", " "):gsub("^%l", string.upper):gsub("^Api", "API"))
end

-- "getBotsIdVersions" of GET /api/v1/bots/{id}/versions: unique, and stable for generated clients.
local function operation_id(route)
  local out = route.verb:lower()
  for word in route.path:gsub("^/api/v1", ""):gmatch("%w+") do
    out = out .. word:sub(1, 1):upper() .. word:sub(2)
  end
  return out
end

local function operation(route, named)
  return {
    operationId = operation_id(route), tags = json.array({ title(route.group) }),
    summary = route.summary, parameters = parameters(route, named),
    requestBody = request_body(route, named), responses = responses(route, named),
    security = security(route),
    ["x-guard"] = json.array({ unpack(guards_of(route)) }), ["x-scope"] = route.scope,
  }
end

---The document as JSON.
---@param routes table[] prepared by services.web.pipeline
---@return string
function M.document(routes)
  local named, paths, groups = {}, {}, {}
  for _, route in ipairs(routes) do
    local path = route.path:gsub("%*}", "}")
    paths[path] = paths[path] or {}
    paths[path][route.verb:lower()] = operation(route, named)
    groups[title(route.group)] = true
  end
  local tags = json.array()
  for i, name in ipairs(sorted(groups)) do
    tags[i] = { name = name }
  end
  return json.encode({
    openapi = "3.1.0",
    info = { title = "CXB API", version = cxb.version, description = about },
    servers = json.array({ { url = "/" } }), tags = tags, paths = paths,
    components = { schemas = named, securitySchemes = schemes },
  }, true)
end

return M
