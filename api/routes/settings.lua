-- The deployment's settings (api.md §5.15): secrets leave masked; a masked or absent one is kept.
local audit = require("services.identity.audit")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local schema = require("cxb.schema")
local settings = require("services.system.settings")
local trial = require("services.system.settings_trial")
local shape = require("schemas.system")

local output = settings.output()

local function show(ctx, doc)
  return { body = settings.shown(ctx.app, doc), headers = { etag = documents.etag(doc) } }
end

-- Writes groups of the document.
local function write(ctx, patch)
  local app = ctx.app
  local made, err = settings.stored(app)
  if not made then
    return nil, errors.of_store(err)
  end
  local function shown(doc)
    return schema.shape(output, settings.shown(app, doc))
  end
  local before
  local doc, refused = documents.change(ctx, "system_settings", "system", "settings",
    function(found)
      before = found
      return settings.operations(app, found, patch)
    end, shown)
  if not doc then
    return nil, refused
  end
  settings.drop(app)
  ctx.audit = {
    target = { type = "settings", id = "system" },
    changes = audit.changes(settings.shown(app, before), settings.shown(app, doc)),
  }
  return show(ctx, doc)
end

local routes = {
  {
    verb = "GET", path = "/api/v1/settings", guard = "super", output = output,
    summary = "The deployment's settings, secrets masked.",
    handler = function(ctx)
      local doc, err = settings.stored(ctx.app)
      if not doc then
        return nil, errors.of_store(err)
      end
      return show(ctx, doc)
    end,
  },
  {
    verb = "GET", path = "/api/v1/settings/display", guard = "any",
    summary = "What every screen needs to know: the time zone times are shown in.",
    output = { type = "object", properties = { display_timezone = { type = "string" } } },
    handler = function(ctx)
      local found, err = settings.get(ctx.app)
      if not found then
        return nil, errors.of_store(err)
      end
      return { body = { display_timezone = found.display_timezone } }
    end,
  },
}

-- Groups whose fields are the body, each with an example.
local groups = {
  { "api-keys", { openai = "sk-example-0123456789" } },
  { "minio", { endpoint = "localhost:9000", bucket = "recordings" } },
  { "agent-assist", { enabled = true, listen_to = "customer" } },
  { "knowledge", { chunk_size_chars = 900 } },
  { "dialler", { amd = { enabled = true, total_analysis_ms = 3000 } } },
  { "agent-desk", { wait_timeout = 120 } },
  { "limits", { max_outbound_calls_per_day = 5000 } },
  { "retention", { calls_days = 400 } },
}

for _, entry in ipairs(groups) do
  local path, group = entry[1], entry[1]:gsub("-", "_")
  routes[#routes + 1] = {
    verb = "PUT", path = "/api/v1/settings/" .. path, guard = "super", audit = "settings." .. group,
    summary = ("Changes the settings %s: fields left out stay, null is the default."):format(group),
    input = settings.input(group), output = output, example = entry[2],
    handler = function(ctx)
      return write(ctx, { [group] = ctx.body })
    end,
  }
end

local function nullable(property)
  local out = { nullable = true }
  for key, value in pairs(property) do
    if key ~= "default" then
      out[key] = value
    end
  end
  return out
end

routes[#routes + 1] = {
  verb = "PUT", path = "/api/v1/settings/timezone", guard = "super", audit = "settings.timezone",
  summary = "The time zone in which people see times.",
  input = { type = "object",
    properties = { display_timezone = nullable(shape.properties.display_timezone) } },
  output = output, example = { display_timezone = "Asia/Kolkata" },
  handler = function(ctx)
    return write(ctx, { display_timezone = ctx.body.display_timezone })
  end,
}

local urls = nullable(shape.properties.core_fleet)

routes[#routes + 1] = {
  verb = "PUT", path = "/api/v1/settings/fleet", guard = "super", audit = "settings.fleet",
  summary = "The hosts of call workers that do not register themselves.",
  input = { type = "object", properties = { core_fleet = urls, cxbcore_fleet = urls } },
  output = output, example = { core_fleet = { "http://core.example.org:8080" } },
  handler = function(ctx)
    local one, other = ctx.body.core_fleet, ctx.body.cxbcore_fleet
    if one ~= nil and other ~= nil then
      return nil, errors.invalid({ { path = "cxbcore_fleet", rule = "alias",
        message = "is another name of core_fleet: give one of them" } })
    end
    return write(ctx, { core_fleet = one ~= nil and one or other })
  end,
}

local tried = {
  type = "object", required = { "ok", "ms", "message" },
  properties = {
    ok = { type = "boolean" }, ms = { type = "integer" }, message = { type = "string" },
  },
}

-- Tries what is stored; that it does not work is an answer, not an error.
local function try(name)
  return function(ctx)
    local from = cxb.time.mono()
    local found, err = settings.get(ctx.app)
    if not found then
      return nil, errors.of_store(err)
    end
    local ok, message = trial[name](ctx.app, found, ctx.params.provider, ctx.body or {})
    if ok == nil then
      return nil, errors.not_found("provider to be tried")
    end
    return { body = { ok = ok, message = message,
      ms = math.floor(cxb.time.mono() - from) } }
  end
end

for _, name in ipairs({ "minio", "knowledge" }) do
  routes[#routes + 1] = {
    verb = "POST", path = ("/api/v1/settings/%s/test"):format(name), guard = "super",
    audit = false, summary = ("Tries the settings %s as they are stored."):format(name),
    output = tried, handler = try(name),
  }
end

routes[#routes + 1] = {
  verb = "POST", path = "/api/v1/settings/api-keys/{provider}/test", guard = "super",
  audit = false, summary = "Asks a provider whether it takes the stored key.", optional = true,
  input = {
    type = "object",
    properties = {
      base_url = { type = "string", format = "url",
        description = "of a compatible server; default: the provider's own" },
    },
  },
  output = tried, handler = try("provider"),
}

return routes
