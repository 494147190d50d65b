-- stores: both
-- What is remembered of a session's token, and what is asked anew at each request.
local api = require("spec.support.api")

describe("the token of a session", function()
  local app, user, token, digests
  local sessions, users

  before_each(function()
    api.install()
    sessions, users = require("services.identity.sessions"), require("services.identity.users")
    app = api.app()
    user = api.user(app, "ada@example.org", "agent")
    token = api.token("ada@example.org", { role = "agent" })
    digests = 0
    rawset(_G.cxb, "crypto", setmetatable({ hmac_sha256 = function(...)
      digests = digests + 1
      return cxb.crypto.real.hmac_sha256(...)
    end, real = cxb.crypto }, { __index = cxb.crypto }))
  end)

  after_each(api.restore)

  local function refusal(text)
    local found, err = sessions.check(app, text or token)
    return not found and err.code or nil
  end

  local function change(set)
    user = assert(app.store:update("users", user._id, { set = set }))
  end

  it("has its signature looked at once", function()
    for _ = 1, 5 do
      assert.equal(user._id, sessions.check(app, token)._id)
    end
    assert.equal(1, digests)
  end)

  it("is looked at again when its key or algorithm is another", function()
    assert.is_nil(refusal())
    app.secrets.jwt = ("k"):rep(32)
    assert.equal("unauthenticated", refusal())
    app.secrets.jwt = ("j"):rep(32)
    assert.is_nil(refusal())
    app.settings.JWT_ALGORITHM = "HS512"
    assert.equal("unauthenticated", refusal())
  end)

  it("is known by its whole text only", function()
    assert.is_nil(refusal())
    local head, body, mark = token:match("^(.-)%.(.-)%.(.*)$")
    local raised = api.token("ada@example.org", { role = "super_admin" }):match("%.(.-)%.")
    local other = mark:sub(1, 1) == "A" and "B" or "A"
    for _, forged in ipairs({ head .. "." .. raised .. "." .. mark,
      head .. "." .. body .. "." .. other .. mark:sub(2), token .. "A", token:sub(1, -2) }) do
      assert.equal("unauthenticated", refusal(forged))
      assert.equal("unauthenticated", refusal(forged)) -- nor is a wrong one remembered
    end
    assert.is_nil(refusal())
  end)

  it("ends with its time, its revocation, its user, and what changes its user", function()
    assert.is_nil(refusal())
    change({ is_active = false })
    assert.equal("unauthenticated", refusal())
    change({ is_active = true })
    assert.is_nil(refusal())
    change({ token_version = 2 })
    assert.equal("unauthenticated", refusal())
    change({ token_version = 1 })
    assert.is_nil(refusal())
    sessions.deny(app, "jti-ada@example.org", api.now / 1000 + 60)
    assert.equal("unauthenticated", refusal())
    token = api.token("ada@example.org", { jti = "another", exp = api.now / 1000 + 60 })
    assert.is_nil(refusal())
    api.now = api.now + 89999
    assert.is_nil(refusal())
    api.now = api.now + 1
    assert.equal("token_expired", refusal())
  end)

  it("is remembered of a thousand at most", function()
    for i = 1, 1010 do
      assert.is_nil(refusal(api.token("ada@example.org", { jti = "jti-" .. i })))
    end
    local held = 0
    for _ in pairs(app.tokens_kept.claims.values) do
      held = held + 1
    end
    assert.is_true(held <= 1000)
  end)

  it("is of whoever has the address now", function()
    assert.is_nil(refusal())
    assert(app.store:delete("users", user._id))
    assert.equal("unauthenticated", refusal())
    assert.is_nil(users.by_email(app.store, "ada@example.org"))
    api.now = api.now + 5000
    local second = api.user(app, "ada@example.org", "agent")
    assert.equal("unauthenticated", refusal()) -- it began before
    assert.is_nil(refusal(api.token("ada@example.org", { jti = "second" })))
    assert.equal(second._id, users.by_email(app.store, "Ada@example.org")._id)
    assert(app.store:update("users", second._id, { set = { email = "eve@example.org" } }))
    assert.is_nil(users.by_email(app.store, "ada@example.org"))
    assert.equal(second._id, users.by_email(app.store, "eve@example.org")._id)
  end)
end)
