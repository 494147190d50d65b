-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")

describe("a change in the audit", function()
  local audit, asked

  before_each(function()
    api.install()
    audit = require("services.identity.audit")
    asked = require("services.identity.audit_changes").asked
  end)

  after_each(api.restore)

  it("is what differs, field by field", function()
    local before = { name = "A", v = 1, config = { a = 1, b = { 1, 2 } }, gone = true }
    local after = { name = "A", v = 2, config = { a = 2, b = { 1, 2 } }, new = "x" }
    assert.same({
      { path = "config.a", from = 1, to = 2 }, { path = "gone", from = true, to = json.null },
      { path = "new", from = json.null, to = "x" },
    }, audit.changes(before, after))
    assert.same({}, audit.changes(before, before))
  end)

  it("of an object that was empty names what came into it", function()
    assert.same({ { path = "api_keys.openai", from = json.null, to = "•••" } },
      audit.changes({ api_keys = {} }, { api_keys = { openai = "sk-1" } }))
    assert.same({ { path = "prefs.theme", from = "dark", to = json.null } },
      audit.changes({ prefs = { theme = "dark" } }, { prefs = {} }))
  end)

  it("tells times as everything else on the wire does, and other numbers as they are", function()
    assert.same({
      { path = "daily_call_limit", from = json.null, to = 50 },
      { path = "expires_at", from = "2030-01-01T00:00:00.000Z", to = json.null },
    }, audit.changes({ expires_at = 1893456000000 }, { daily_call_limit = 50 }))
  end)

  it("hides what is secret, however deep it lies", function()
    local secret = "s3cr3t-0123456789"
    local text = json.encode(audit.changes({}, {
      outbound_auth_password = secret, widget_api_key = secret, api_keys = { openai = secret },
      tools = { { name = "t", headers = { ["X-Anything"] = secret } } },
      post_call_push = { url = "https://crm.example/x?key=" .. secret, headers = { Auth = secret },
        signing_secrets = { secret } },
      sealed = "enc:v1:" .. secret, token_kept = secret, name = "kept",
    }))
    assert.is_nil(text:find(secret, 1, true))
    assert.matches("https://crm.example/x?•••", text, 1, true)
    assert.matches('"kept"', text, 1, true)
    assert.is_nil(json.encode(asked({ password = secret, agent = { api_token = secret } }))
      :find(secret, 1, true))
  end)

  it("of a long text keeps its beginning, of many fields the first hundred", function()
    local after = { text = ("x"):rep(5000) }
    for i = 1, 150 do
      after["f" .. i] = i
    end
    local changes = audit.changes({}, after)
    assert.equal(100, #changes)
    for _, change in ipairs(audit.changes({}, { text = after.text })) do
      assert.equal(512, #change.to)
    end
  end)
end)
