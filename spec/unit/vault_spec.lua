local api = require("spec.support.api")

describe("stored credentials", function()
  local vault, app

  before_each(function()
    api.install()
    vault = require("services.identity.vault")
    app = api.app()
  end)

  after_each(api.restore)

  it("open with the key that sealed them, and with the previous one while it is given", function()
    local sealed = vault.seal(app, "hunter2")
    assert.matches("^enc:v1:[%w_-]+$", sealed)
    assert.equal("hunter2", vault.open(app, sealed))
    app.secrets.key, app.secrets.key_previous = ("n"):rep(32), app.secrets.key
    assert.equal("hunter2", vault.open(app, sealed))
    app.secrets.key_previous = nil
    assert.is_nil(vault.open(app, sealed))
    assert.is_nil(vault.open(app, "hunter2"))
    assert.is_nil(vault.open(app, sealed .. "x"))
  end)

  it("are sealed anew after a rotation, wherever they lie in a document", function()
    local old = vault.seal(app, "one")
    app.store:insert("system_settings", { _id = "system", api_keys = { openai = old },
      list = { { password = vault.seal(app, "two") }, "plain" }, plain = "x" })
    app.secrets.key, app.secrets.key_previous = ("n"):rep(32), app.secrets.key
    local fresh = vault.seal(app, "three")
    app.store:update("system_settings", "system", { set = { fresh = fresh } })
    assert.equal(1, vault.renew(app, "system_settings"))
    assert.equal(0, vault.renew(app, "system_settings"))
    app.secrets.key_previous = nil
    local doc = app.store:get("system_settings", "system")
    assert.same({ "one", "two", "plain", "x", fresh }, { vault.open(app, doc.api_keys.openai),
      vault.open(app, doc.list[1].password), doc.list[2], doc.plain, doc.fresh })
  end)

  it("need a key of 32 bytes, in either alphabet of base64", function()
    local key = ("\255"):rep(32)
    assert.equal(key, vault.key(cxb.crypto.base64(key)))
    assert.equal(key, vault.key(cxb.crypto.base64url(key)))
    assert.is_nil(vault.key("short"))
    assert.is_nil(vault.key(("a"):rep(32)))
  end)
end)
