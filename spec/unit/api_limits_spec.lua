local api = require("spec.support.api")

describe("the API's limits", function()
  local pipeline, app, routes, serve

  local function start(settings)
    app = api.app(settings)
    serve = pipeline.server(app, routes)
  end

  before_each(function()
    api.install()
    pipeline = require("services.web.pipeline")
    local function ok()
      return { body = { ok = true } }
    end
    routes = {
      { verb = "POST", path = "/sign-in", guard = "open", limit = "sign_in", handler = ok },
      { verb = "GET", path = "/me", guard = "any", handler = ok },
      { verb = "POST", path = "/test-call", guard = "any", limit = "test", handler = ok },
      { verb = "GET", path = "/play/{token}", guard = "open", limit = "public_recording", handler = ok },
      { verb = "POST", path = "/widget", guard = "open", limit = "widget", cors = "*",
        input = "object", handler = ok },
      { verb = "POST", path = "/import", guard = "any", limit = "upload", handler = function(ctx)
        return ctx.app.during(ctx)
      end },
      { verb = "GET", path = "/core", guard = "secret", handler = ok },
    }
    start({ CXB_RATE_SCALE = 1 })
  end)

  after_each(api.restore)

  local function ask(method, path, options)
    local req = api.request(method, path, options)
    serve(req)
    return req
  end

  local function from(address, more)
    local options = { remote = "10.0.0.1", headers = {} }
    app.trusted_proxies["10.0.0.1"] = true
    options.headers["x-forwarded-for"] = address
    for name, value in pairs(more or {}) do
      options[name] = value
    end
    return options
  end

  local function person(email)
    return { headers = { authorization = "Bearer " .. api.token(email) } }
  end

  -- How many of n are answered.
  local function answered(n, method, path, options)
    local count, last = 0
    for _ = 1, n do
      last = ask(method, path, options)
      count = count + (last.status == 200 and 1 or 0)
    end
    return count, last
  end

  it("count sign-ins by address and tell what is left", function()
    local first = ask("POST", "/sign-in", from("192.0.2.1"))
    assert.same({ "10", "9", "6" }, { first.answer_headers["ratelimit-limit"],
      first.answer_headers["ratelimit-remaining"], first.answer_headers["ratelimit-reset"] })
    local count, last = answered(15, "POST", "/sign-in", from("192.0.2.1"))
    assert.equal(9, count)
    assert.same({ 429, "rate_limited", "6", "0", "60" }, { last.status, last.answer.error,
      last.answer_headers["retry-after"], last.answer_headers["ratelimit-remaining"],
      last.answer_headers["ratelimit-reset"] })
    assert.equal(10, (answered(15, "POST", "/sign-in", from("192.0.2.2"))))
  end)

  it("let as many more through as time has passed", function()
    answered(15, "POST", "/sign-in", from("192.0.2.1"))
    api.now = api.now + 5999
    assert.equal(429, ask("POST", "/sign-in", from("192.0.2.1")).status)
    api.now = api.now + 1
    assert.equal(1, (answered(5, "POST", "/sign-in", from("192.0.2.1"))))
    api.now = api.now + 3600000
    assert.equal(10, (answered(15, "POST", "/sign-in", from("192.0.2.1"))))
  end)

  it("give a person 200 requests at once and 20 a second", function()
    api.user(app, "a@x.org", "admin")
    assert.equal(200, (answered(220, "GET", "/me", person("a@x.org"))))
    api.now = api.now + 1000
    assert.equal(20, (answered(30, "GET", "/me", person("a@x.org"))))
    assert.equal(200, ask("GET", "/me", person("admin@example.org")).status)
  end)

  it("of a class go with those of the person, the scarcer is told", function()
    local count, last = answered(12, "POST", "/test-call", person("admin@example.org"))
    assert.same({ 10, "10" }, { count, last.answer_headers["ratelimit-limit"] })
    local me = ask("GET", "/me", person("admin@example.org"))
    assert.same({ "200", "189" }, { me.answer_headers["ratelimit-limit"],
      me.answer_headers["ratelimit-remaining"] })
  end)

  it("of a public recording are by address and by token", function()
    assert.equal(60, (answered(70, "GET", "/play/one", from("192.0.2.1"))))
    local sum = 0
    for i = 2, 6 do
      sum = sum + answered(60, "GET", "/play/one", from("192.0.2." .. i))
    end
    assert.equal(240, sum)
    assert.equal(200, ask("GET", "/play/two", from("192.0.2.9")).status)
  end)

  it("of the widget are by the bot in the body too", function()
    local sum, options = 0
    for i = 1, 15 do
      options = from("192.0.2." .. i, { body = '{"bot_id":"b"}' })
      sum = sum + answered(10, "POST", "/widget", options)
    end
    assert.equal(120, sum)
    options = from("192.0.2.99", { body = '{"bot_id":"c"}' })
    assert.equal(200, ask("POST", "/widget", options).status)
  end)

  it("let one person do two imports at once, and another one when one has ended", function()
    local depth, deepest = 0, nil
    app.during = function()
      depth = depth + 1
      local inner = depth < 3 and ask("POST", "/import", person("admin@example.org"))
      deepest = deepest or inner
      depth = depth - 1
      return { body = {} }
    end
    assert.equal(200, ask("POST", "/import", person("admin@example.org")).status)
    assert.equal(429, deepest.status)
    assert.equal("1", deepest.answer_headers["retry-after"])
    app.during = function()
      return { body = {} }
    end
    assert.equal(200, ask("POST", "/import", person("admin@example.org")).status)
  end)

  it("do not count our own services, and nobody when they are off", function()
    local core = { headers = { ["x-cxb-core-secret"] = api.SECRET } }
    local count, last = answered(1500, "GET", "/core", core)
    assert.same({ 1500 }, { count, last.answer_headers["ratelimit-limit"] })
    start({ CXB_RATE_SCALE = 0 })
    assert.equal(50, (answered(50, "POST", "/sign-in", from("192.0.2.1"))))
    start({ CXB_RATE_SCALE = 0.5 })
    assert.equal(5, (answered(50, "POST", "/sign-in", from("192.0.2.1"))))
    start({ CXB_RATE_SCALE = 3 })
    assert.equal(30, (answered(50, "POST", "/sign-in", from("192.0.2.1"))))
  end)


  it("are counted in this process while the cache is away, which is logged once a minute", function()
    local lines = 0
    rawset(cxb.log, "warn", function()
      lines = lines + 1
    end)
    local broken = { script = function()
      return nil, { code = "unavailable", message = "gone" }
    end }
    require("services.system.caches").use(app, broken, app.near_cache)
    assert.equal(10, (answered(15, "POST", "/sign-in", from("192.0.2.1"))))
    assert.equal(1, lines)
    api.now = api.now + 60000
    ask("POST", "/sign-in", from("192.0.2.1"))
    assert.equal(2, lines)
  end)

  it("must have a known name", function()
    assert.has_error(function()
      pipeline.server(app, { { verb = "GET", path = "/x", guard = "open", limit = "no" } })
    end)
  end)
end)
