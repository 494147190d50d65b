local api = require("spec.support.api")
local json = require("cxb.json")

describe("a sign-in", function()
  local app, serve

  before_each(function()
    api.install()
    local pipeline = require("services.web.pipeline")
    app = api.app()
    serve = pipeline.server(app, require("routes.auth"))
  end)

  after_each(api.restore)

  local function sign_in(email, password)
    local req = api.request("POST", "/api/v1/auth/login",
      { body = json.encode({ email = email, password = password }) })
    serve(req)
    return req
  end

  it("of a migrated user is taken by bcrypt, and kept as argon2id", function()
    -- Published vector of the reference implementation, password "U*U".
    local user = api.user(app, "old@example.org", "agent",
      { password_hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW" })
    assert.equal(401, sign_in("old@example.org", "U*V").status)
    assert.equal(200, sign_in("old@example.org", "U*U").status)
    local stored = app.store:get("users", user._id)
    assert.matches("^%$argon2id%$v=19%$m=19456,t=2,p=1%$", stored.password_hash)
    assert.equal(api.now, stored.last_login_at)
    assert.equal(200, sign_in("old@example.org", "U*U").status)
  end)

  it("of nobody costs as much as another's wrong password", function()
    local verified = {}
    local crypto = setmetatable({ password_verify = function(_, hash)
      verified[#verified + 1] = hash:match("^%$argon2id%$v=19(%$m=%d+,t=%d,p=%d)%$")
      return true
    end }, { __index = cxb.crypto })
    rawset(_G.cxb, "crypto", crypto)
    local one = sign_in("nobody@example.org", "whatever it is")
    assert.same({ 401, "invalid_credentials", 1, "$m=19456,t=2,p=1" }, { one.status,
      one.answer.error, #verified, verified[1] })
  end)

  it("is counted against its address for a quarter of an hour, until one is good", function()
    for _ = 1, 10 do
      assert.equal(401, sign_in("admin@example.org", "x").status)
    end
    local refused = sign_in("admin@example.org", "x")
    local seconds = tonumber(refused.answer_headers["retry-after"])
    assert.same({ 429, true }, { refused.status, seconds > 800 and seconds <= 900 })
    local attempts = require("services.identity.attempts")
    for _ = 1, 10 do
      attempts.succeeded(app, assert(attempts.begin(app, "ada@example.org", "203.0.113.7")))
    end
    for _ = 1, 10 do
      assert(attempts.begin(app, "Ada@example.org", "203.0.113.7"))
    end
    assert.is_nil(attempts.begin(app, "ada@example.org", "203.0.113.7"))
    assert.is_truthy(attempts.begin(app, "ada@example.org", "203.0.113.8"))
  end)
end)
