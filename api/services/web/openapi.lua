-- The OpenAPI 3.1 document of the routes' declarations: nothing is said twice.
local json = require("cxb.json")
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
  if route.idempotent then
    out[#out + 1] = { name = "Idempotency-Key", ["in"] = "header", required = false,
      schema = { type = "string", minLength = 1, maxLength = 128 } }
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
  local codes = route.errors and ": " .. table.concat(route.errors, ", ") or ""
  return {
    [tostring(route.status or 200)] = success,
    default = { description = "Refused" .. codes .. ".",
      content = { ["application/json"] = { schema = schema.published(problem, named) } } },
  }
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
    info = { title = "CXB API", version = cxb.version,
      description = "The control plane of a voice-bot contact centre." },
    servers = json.array({ { url = "/" } }), tags = tags, paths = paths,
    components = { schemas = named, securitySchemes = schemes },
  }, true)
end

return M
