-- The routes' declarations as a whole: what is published is what is served and checked.
local api = require("spec.support.api")
local json = require("cxb.json")
local schema = require("cxb.schema")
local values = require("spec.support.schema_values")

local ROUNDS = 20

describe("the routes", function()
  local routes, document

  before_each(function()
    api.install()
    local pipeline = require("services.web.pipeline")
    routes = pipeline.routes()
    pipeline.server({}, routes)
    document = json.decode(require("services.web.openapi").document(routes))
    math.randomseed(20260424)
  end)

  after_each(api.restore)

  local function copy(value)
    return json.decode(json.encode({ value }))[1]
  end

  local function each_input(fn)
    for _, route in ipairs(routes) do
      if type(route.input) == "table" then
        fn(route, route.verb .. " " .. route.path)
      end
    end
  end

  it("are all in the OpenAPI document, and nothing else is", function()
    local served, published = {}, {}
    for i, route in ipairs(routes) do
      served[i] = route.verb .. " " .. route.path:gsub("%*}", "}")
    end
    for path, item in pairs(document.paths) do
      for verb in pairs(item) do
        published[#published + 1] = verb:upper() .. " " .. path
      end
    end
    table.sort(served)
    table.sort(published)
    assert.same(served, published)
  end)

  it("each say in a sentence what they do, under a name of their own", function()
    local seen, silent = {}, {}
    for path, item in pairs(document.paths) do
      for verb, operation in pairs(item) do
        assert.is_nil(seen[operation.operationId], operation.operationId)
        seen[operation.operationId] = true
        if not (operation.summary or ""):match("^%u.*%.$") then
          silent[#silent + 1] = verb:upper() .. " " .. path
        end
      end
    end
    table.sort(silent)
    assert.same({}, silent)
  end)

  it("that return JSON say which", function()
    local silent = {}
    for _, route in ipairs(routes) do
      if not route.output and not route.media and route.status ~= 204 then
        silent[#silent + 1] = route.verb .. " " .. route.path
      end
    end
    assert.same({}, silent)
  end)

  it("say which headers and tickets count on them, and what a piece is answered by", function()
    local function named(verb, path)
      local operation = document.paths["/api/v1" .. path][verb]
      local names = {}
      for _, parameter in ipairs(operation.parameters) do
        names[parameter.name] = parameter["in"]
      end
      return names, operation
    end
    local bot, change = named("put", "/bots/{id}")
    assert.same({ "header", nil }, { bot["If-Match"], bot["Idempotency-Key"] })
    assert.equal("Refused: version_conflict, url_not_allowed.",
      change.responses.default.description)
    assert.equal("header", named("post", "/bots/{id}/rollback")["If-Match"])
    assert.is_nil(named("put", "/auth/me/password")["If-Match"])
    assert.is_nil(named("get", "/bots/{id}")["If-Match"])
    local recording, play = named("get", "/recordings/{session_id}")
    assert.same({ "header", "query" }, { recording.Range, recording.ticket })
    assert.truthy(play.responses["206"] and play.responses["416"])
    assert.equal("query", named("get", "/recordings/{session_id}/peaks").ticket)
    assert.equal("header", named("get", "/events/stream")["Last-Event-ID"])
    assert.equal("header", named("post", "/sip/dialout")["Idempotency-Key"])
  end)

  it("name the refusals a client has to tell apart", function()
    for operation, codes in pairs({
      ["get /config/{bot_id}"] = { "unknown_bot", "outside_active_hours", "provider_key_missing" },
      ["post /agent-desk/calls/{id}/end"] = { "invalid_state" },
      ["post /agent-desk/calls/{id}/accept"] = { "already_taken", "not_available" },
      ["delete /bots/{id}"] = { "bot_in_use", "version_conflict" },
      ["post /bots/{id}/widget-key"] = { "version_conflict" },
      ["post /bots/{id}/post-call-cache/enable"] = { "version_conflict" },
      ["post /sip/dialout"] = { "number_on_dnc", "fleet_unavailable", "livekit_not_configured" },
    }) do
      local verb, path = operation:match("^(%S+) (%S+)$")
      local told = document.paths["/api/v1" .. path][verb].responses.default.description
      for _, code in ipairs(codes) do
        assert(told:find("[ ,]" .. code .. "[,.]"), operation .. " does not name " .. code)
      end
    end
  end)

  it("accept the example they publish", function()
    each_input(function(route, name)
      if route.example then
        local kept, fields = schema.check(route.input, copy(route.example))
        assert(kept, name .. ": " .. json.encode(fields or {}))
      end
    end)
  end)

  it("accept whatever their schema allows", function()
    each_input(function(route, name)
      for _ = 1, ROUNDS do
        local value = values.right(route.input)
        local sent = json.encode(value)
        local kept, fields = schema.check(route.input, json.decode(sent))
        for _, field in ipairs(fields or {}) do
          -- What only an example could satisfy was left out; a rule judges the whole.
          assert(field.rule == "required" or field.rule == "rule",
            ("%s: %s %s: %s"):format(name, field.path, field.message, sent))
        end
        assert(kept or fields)
      end
    end)
  end)

  it("name the field whose type is wrong", function()
    each_input(function(route, name)
      for _ = 1, ROUNDS do
        local value, path = values.wrong(route.input)
        if value then
          local kept, fields = schema.check(route.input, copy(value))
          assert.is_nil(kept, name)
          local named = false
          for _, field in ipairs(fields) do
            named = named or (field.path == path and field.rule == "type")
          end
          assert(named, ("%s: %s in %s"):format(name, path, json.encode(value)))
        end
      end
    end)
  end)

  it("refuse a field they do not know", function()
    each_input(function(route, name)
      if not route.input.additionalProperties then
        local value = values.right(route.input)
        value["$where"] = "1"
        local kept, fields = schema.check(route.input, value)
        assert.is_nil(kept, name)
        local rules = {}
        for _, field in ipairs(fields) do
          rules[field.path] = field.rule
        end
        assert.equal("unknown_field", rules["$where"], name)
      end
    end)
  end)
end)
