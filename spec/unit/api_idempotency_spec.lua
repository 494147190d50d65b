-- stores: both
local api = require("spec.support.api")

describe("a request with an Idempotency-Key", function()
  local app, serve, calls, answer

  before_each(function()
    api.install()
    app = api.app({ CXB_CORS_ORIGINS = { "https://desk.example.org" } })
    calls, answer = 0, nil
    serve = require("services.web.pipeline").server(app, {
      {
        verb = "POST", path = "/dial", guard = "any", idempotent = true, status = 201,
        input = { type = "object", required = { "to" }, properties = { to = { type = "string" } } },
        handler = function(ctx)
          calls = calls + 1
          if answer then
            return answer(ctx)
          end
          return { body = { call_id = "call-" .. calls } }
        end,
      },
      { verb = "POST", path = "/plain", guard = "any", input = "object", handler = function()
        calls = calls + 1
        return { body = { n = calls } }
      end },
      { verb = "POST", path = "/any", guard = "open", cors = "*", handler = function()
        return { body = {} }
      end },
    })
  end)

  after_each(api.restore)

  local function ask(body, key, more)
    more = more or {}
    local req = api.request("POST", more.path or "/dial", { body = body, headers = {
      authorization = "Bearer " .. api.token(more.email or "admin@example.org"),
      ["idempotency-key"] = key,
    } })
    serve(req)
    return req
  end

  it("gets the first answer again and nothing happens twice", function()
    local first = ask('{"to":"+1"}', "k1")
    assert.same({ 201, "call-1", nil }, { first.status, first.answer.call_id,
      first.answer_headers["idempotent-replay"] })
    local again = ask('{"to":"+1"}', "k1")
    assert.same({ 201, "call-1", "true" }, { again.status, again.answer.call_id,
      again.answer_headers["idempotent-replay"] })
    assert.equal(1, calls)
    assert.equal("call-2", ask('{"to":"+1"}', "k2").answer.call_id)
    assert.equal("call-3", ask('{"to":"+1"}').answer.call_id)
  end)

  it("and another body is a mistake", function()
    ask('{"to":"+1"}', "k1")
    local other = ask('{"to":"+2"}', "k1")
    assert.same({ 422, "idempotency_mismatch", 1 }, { other.status, other.answer.error, calls })
  end)

  it("is somebody's own: another person's key is another one", function()
    api.user(app, "b@x.org", "admin")
    ask('{"to":"+1"}', "k1")
    assert.equal("call-2", ask('{"to":"+1"}', "k1", { email = "b@x.org" }).answer.call_id)
  end)

  it("is told to wait while the first one is being answered", function()
    local inner
    answer = function()
      answer = nil
      inner = ask('{"to":"+1"}', "k1")
      return { body = { call_id = "first" } }
    end
    assert.equal("first", ask('{"to":"+1"}', "k1").answer.call_id)
    assert.same({ 409, "in_progress", "1" }, { inner.status, inner.answer.error,
      inner.answer_headers["retry-after"] })
  end)

  it("gets a refusal of the handler again too, but may be tried again after 429 and 503", function()
    local errors = require("services.web.errors")
    for _, case in ipairs({ { 409, 1 }, { 502, 1 }, { 429, 2 }, { 503, 2 } }) do
      calls = 0
      answer = function()
        return nil, errors.new(case[1], "some_code", "No.")
      end
      local key = "k" .. case[1]
      local first, again = ask('{"to":"+1"}', key), ask('{"to":"+1"}', key)
      assert.same({ case[1], case[1], "some_code", case[2] },
        { first.status, again.status, again.answer.error, calls })
    end
  end)

  it("is new when its day is over", function()
    ask('{"to":"+1"}', "k1")
    api.now = api.now + 86400000
    assert.equal("call-2", ask('{"to":"+1"}', "k1").answer.call_id)
    assert.equal("call-2", ask('{"to":"+1"}', "k1").answer.call_id)
  end)

  it("that was refused before its handler may be corrected", function()
    assert.equal(422, ask('{"to":5}', "k1").status)
    assert.equal("call-1", ask('{"to":"+1"}', "k1").answer.call_id)
    assert.equal(422, ask('{"to":"+1"}', ("k"):rep(129)).status)
  end)

  it("that its handler found not valid may be corrected too", function()
    answer = function()
      answer = nil
      return nil, require("services.web.errors").invalid({ { path = "to", rule = "number",
        message = "must be a number" } })
    end
    assert.equal(422, ask('{"to":"x"}', "k1").status)
    assert.equal("call-2", ask('{"to":"+1"}', "k1").answer.call_id)
  end)

  it("means nothing to a route that does not say so", function()
    ask("{}", "k1", { path = "/plain" })
    assert.equal(2, ask("{}", "k1", { path = "/plain" }).answer.n)
  end)

  local function from_origin(method, path, origin, more)
    local headers = { origin = origin }
    for name, value in pairs(more or {}) do
      headers[name] = value
    end
    local req = api.request(method, path, { headers = headers })
    serve(req)
    return req, req.answer_headers["access-control-allow-origin"]
  end

  it("and any other is answered to pages of listed origins only", function()
    local good, to = from_origin("POST", "/plain", "https://desk.example.org")
    assert.same({ 401, "https://desk.example.org", "Origin" }, { good.status, to,
      good.answer_headers.vary })
    assert.is_nil(good.answer_headers["access-control-allow-credentials"])
    for _, origin in ipairs({ "https://evil.example.org", "null", "https://desk.example.org.evil",
      "http://desk.example.org" }) do
      assert.is_nil((select(2, from_origin("POST", "/plain", origin))))
    end
    assert.equal("*", (select(2, from_origin("POST", "/any", "https://shop.example.com"))))
  end)

  it("is asked about by a browser first", function()
    local asked, to = from_origin("OPTIONS", "/dial", "https://desk.example.org",
      { ["access-control-request-method"] = "POST" })
    assert.same({ 204, "https://desk.example.org", "POST", "600" }, { asked.status, to,
      asked.answer_headers["access-control-allow-methods"],
      asked.answer_headers["access-control-max-age"] })
    assert.truthy(asked.answer_headers["access-control-allow-headers"]:match("Idempotency%-Key"))
    asked, to = from_origin("OPTIONS", "/dial", "https://evil.example.org")
    assert.same({ 204 }, { asked.status, to })
    assert.equal("*", (select(2, from_origin("OPTIONS", "/any", "https://shop.example.com"))))
    assert.equal(404, (from_origin("OPTIONS", "/nothing", "https://desk.example.org")).status)
  end)
end)
