-- stores: both
local api = require("spec.support.api")

describe("a request", function()
  local pipeline, app, serve, routes

  before_each(function()
    api.install()
    pipeline = require("services.web.pipeline")
    app = api.app()
    routes = {
      {
        verb = "GET", path = "/things/{id}", guard = "admin",
        params = { type = "object", properties = { id = { type = "string", format = "id" } } },
        query = { type = "object", properties = { limit = { type = "integer", maximum = 9 } } },
        handler = function(ctx)
          return { body = { id = ctx.params.id, limit = ctx.query.limit, as = ctx.principal.kind } }
        end,
      },
      {
        verb = "POST", path = "/things", guard = "secret", body_max = 400,
        input = { type = "object", required = { "a" },
          properties = { a = { type = "integer" }, b = { type = "object",
            additionalProperties = true } } },
        handler = function(ctx)
          return { status = 201, body = ctx.body }
        end,
      },
      { verb = "GET", path = "/open", guard = "open", handler = function()
        return { body = { ok = true } }
      end },
      { verb = "GET", path = "/near", guard = "near", handler = function()
        return { body = { ok = true } }
      end },
      { verb = "GET", path = "/broken", guard = "open", handler = function()
        error("password=hunter2")
      end },
    }
    serve = pipeline.server(app, routes)
  end)

  after_each(api.restore)

  local function ask(method, path, options)
    local req = api.request(method, path, options)
    serve(req)
    return req
  end

  local function bearer(token)
    return { headers = { authorization = "Bearer " .. token } }
  end

  local function secret(body, more)
    local headers = { ["x-cxb-core-secret"] = api.SECRET }
    for name, value in pairs(more or {}) do
      headers[name] = value
    end
    return { headers = headers, body = body }
  end

  it("that is refused gets one shape of error, with its id", function()
    local req = ask("GET", "/nothing")
    assert.same({ error = "not_found", message = "There is no such path.",
      detail = "There is no such path.", request_id = "request-1" }, req.answer)
    assert.same({ 404, "request-1", "no-store", "nosniff" }, { req.status,
      req.answer_headers["x-request-id"], req.answer_headers["cache-control"],
      req.answer_headers["x-content-type-options"] })
  end)

  it("to a route without a guard there cannot be: it does not load", function()
    for _, guard in ipairs({ false, "nobody", "judge" }) do
      local ok, why = pcall(pipeline.server, app, { { verb = "GET", path = "/x",
        guard = guard or nil, handler = function() end } })
      assert.is_false(ok)
      assert.matches("GET /x has no guard", why, 1, true)
    end
  end)

  it("with another method is told which ones there are", function()
    local req = ask("DELETE", "/things")
    assert.same({ 405, "POST" }, { req.status, req.answer_headers.allow })
  end)

  it("of an administrator needs a signed-in person of that rank", function()
    for _, role in ipairs({ "agent", "supervisor", "admin", "super_admin" }) do
      api.user(app, role .. "@x.org", role)
      local wanted = (role == "admin" or role == "super_admin") and 200 or 403
      local req = ask("GET", "/things/x", bearer(api.token(role .. "@x.org")))
      assert.equal(wanted, req.status, role)
    end
    assert.equal(401, ask("GET", "/things/x").status)
    assert.equal(401, ask("GET", "/things/x", bearer("wrong")).status)
    assert.equal(401, ask("GET", "/things/x", bearer(api.SECRET)).status)
    assert.equal(401, ask("GET", "/things/x", secret()).status)
    assert.equal("user", ask("GET", "/things/x", bearer(api.TOKEN)).answer.as)
  end)

  it("with a token is judged by the record, not by the token's claims", function()
    local user = api.user(app, "asha@example.org", "agent")
    local function status(claims)
      local req = ask("GET", "/things/x", bearer(api.token("asha@example.org", claims)))
      return req.status .. " " .. (req.answer.error or "ok")
    end
    assert.equal("403 forbidden", status({ role = "super_admin" }))
    app.store:update("users", user._id, { set = { role = "admin" } })
    assert.equal("200 ok", status({ role = "agent" }))
    assert.equal("401 unauthenticated", status({ tv = 2 }))
    assert.equal("401 unauthenticated", status({ aud = "playback" }))
    assert.equal("200 ok", status({ exp = api.now / 1000 - 29 }))
    assert.equal("401 token_expired", status({ exp = api.now / 1000 - 31 }))
    app.store:update("users", user._id, { set = { is_active = false } })
    assert.equal("401 unauthenticated", status())
    app.store:update("users", user._id, { set = { is_active = true, must_change_password = true } })
    assert.equal("403 password_change_required", status())
    app.store:delete("users", user._id)
    assert.equal("401 unauthenticated", status())
  end)

  it("of a worker proves the secret in either spelling, but not in two", function()
    app.secrets.previous = ("p"):rep(32)
    for _, case in ipairs({
      { 201, { ["x-cxb-core-secret"] = api.SECRET } },
      { 201, { ["x-cxbcore-secret"] = api.SECRET } },
      { 201, { ["x-cxbcore-secret"] = api.SECRET, ["x-cxb-core-secret"] = api.SECRET } },
      { 201, { ["x-cxbcore-secret"] = ("p"):rep(32) } },
      { 403, { ["x-cxbcore-secret"] = api.SECRET, ["x-cxb-core-secret"] = ("p"):rep(32) } },
      { 403, { ["x-cxb-core-secret"] = "wrong" } },
      { 403, { ["x-cxb-core-secret"] = "" } },
      { 403, {} },
      { 403, { authorization = "Bearer " .. api.TOKEN } },
    }) do
      local req = ask("POST", "/things", { headers = case[2], body = '{"a":1}' })
      assert.equal(case[1], req.status)
      assert.equal(case[1] == 403 and "bad_secret" or nil, req.answer.error)
    end
  end)

  it("from far away does not read what is for this machine", function()
    local function near(remote, forwarded, headers)
      headers = headers or {}
      headers["x-forwarded-for"] = forwarded
      return ask("GET", "/near", { remote = remote, headers = headers }).status
    end
    assert.equal(200, near("unix"))
    assert.equal(200, near("127.0.0.1"))
    assert.equal(200, near("unix", "127.0.0.1"))
    assert.equal(403, near("unix", "203.0.113.9"))
    assert.equal(403, near("unix", "127.0.0.1, 203.0.113.9"))
    assert.equal(403, near("10.0.0.5", "127.0.0.1"))
    assert.equal(200, near("10.0.0.5", nil, { ["x-cxb-core-secret"] = api.SECRET }))
  end)

  it("with a body that is no JSON object is told where it breaks", function()
    for body, pattern in pairs({
      [""] = "object", ["[]"] = "object", ["7"] = "object", ['{"a":1'] = "byte 6",
      ['{"a":NaN}'] = "byte 5", ['{"a":1}}'] = "byte 7",
      ['{"a":1,"b":{"x":"\255"}}'] = "encoding",
      ['{"a":1,"b":{"x":"\237\160\128"}}'] = "encoding",
      ['{"a":1,"b":{"x":"\\u0000"}}'] = "NUL",
      ['{"a":1,"b":' .. ("["):rep(33) .. ("]"):rep(33) .. "}"] = "32 levels",
    }) do
      local req = ask("POST", "/things", secret(body))
      assert.same({ 400, "invalid_json" }, { req.status, req.answer.error }, body)
      assert.matches(pattern, req.answer.message)
      assert.equal("number", type(req.answer.offset))
    end
    assert.equal(201, ask("POST", "/things", secret('{"a":1,"b":{"x":"\\\\u0000é"}}')).status)
    assert.equal(201, ask("POST", "/things",
      secret('{"a":1,"b":{"x":' .. ("["):rep(29) .. ("]"):rep(29) .. "}}")).status)
  end)

  it("is told of all bad fields at once", function()
    local req = ask("POST", "/things", secret('{"a":"x","c":1}'))
    assert.same({ 422, "validation_failed", "a", "type", "c", "unknown_field" }, { req.status,
      req.answer.error, req.answer.fields[1].path, req.answer.fields[1].rule,
      req.answer.fields[2].path, req.answer.fields[2].rule })
  end)

  it("of the wrong kind or size is refused", function()
    assert.equal(413, ask("POST", "/things", secret(('{"a":%s1}'):format((" "):rep(400)))).status)
    assert.equal(415, ask("POST", "/things", secret('{"a":1}',
      { ["content-type"] = "text/plain" })).status)
    assert.equal(201, ask("POST", "/things", secret('{"a":1}',
      { ["content-type"] = "application/json; charset=utf-8" })).status)
    assert.equal(414, ask("GET", "/open", { query = ("x"):rep(8192) }).status)
  end)

  it("with a bad query or an impossible id is refused", function()
    local req = ask("GET", "/things/x", { query = "limit=10", headers = bearer(api.TOKEN).headers })
    assert.same({ 400, "invalid_query", "limit" }, { req.status, req.answer.error,
      req.answer.fields[1].path })
    req = ask("GET", "/things/x", { query = "limit=7", headers = bearer(api.TOKEN).headers })
    assert.equal(7, req.answer.limit)
    assert.equal(404, ask("GET", "/things/" .. ("x"):rep(65), bearer(api.TOKEN)).status)
    assert.equal(404, ask("GET", "/things/..", bearer(api.TOKEN)).status)
  end)

  it("that makes a handler fail gets a 500 that tells nothing", function()
    local req = ask("GET", "/broken")
    assert.same({ 500, "internal" }, { req.status, req.answer.error })
    assert.is_nil(req.text:find("hunter2"))
  end)

  it("before the store is open is asked to come again", function()
    app.ready = false
    local req = ask("GET", "/open")
    assert.same({ 503, "store_unavailable", "2" }, { req.status, req.answer.error,
      req.answer_headers["retry-after"] })
  end)

  it("can only be declared with a guard", function()
    assert.has_error(function()
      pipeline.server(app, { { verb = "GET", path = "/x", handler = function() end } })
    end)
  end)
end)

describe("a ticket", function()
  local tickets, jwt, app

  before_each(function()
    api.install()
    tickets, jwt = require("services.identity.tickets"), require("cxb.jwt")
    app = api.app()
  end)

  after_each(api.restore)

  it("for a test call is what the worker checks by the shared secret alone", function()
    local ticket, expires = tickets.test_call(app, "demo", "s1")
    local claims = assert(jwt.verify(ticket, cxb.crypto.hkdf_sha256(api.SECRET, "core-test", 32),
      { aud = "core-test" }))
    assert.same({ "demo", "s1" }, { claims.bot_id, claims.session_id })
    assert.is_true(#claims.jti >= 16)
    assert.equal(60000, expires - api.now)
  end)

  it("plays one recording for two hours and nothing else", function()
    local ticket = tickets.playback(app, "s1", { kind = "user", id = "usr_1", name = "Ada" })
    assert.same({ kind = "ticket", id = "usr_1", name = "Ada", by_kind = "user" },
      tickets.check_playback(app, ticket, "s1"))
    assert.is_nil(tickets.check_playback(app, ticket, "s2"))
    assert.is_nil(tickets.check_playback(app, (tickets.test_call(app, "demo", "s1")), "s1"))
    assert.is_nil(tickets.check_playback(app, ticket .. "x", "s1"))
    api.now = api.now + 7199000
    assert.is_table(tickets.check_playback(app, ticket, "s1"))
    api.now = api.now + 1000
    assert.is_nil(tickets.check_playback(app, ticket, "s1"))
  end)
end)
