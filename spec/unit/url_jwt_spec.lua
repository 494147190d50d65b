local support = require("spec.support.pure")
local url = require("cxb.url")
local jwt = require("cxb.jwt")

describe("url", function()
  it("escapes and reads queries", function()
    local query = url.encode_query({ { "caller_id", "+91 98" }, { "x" }, { "e", '{"a":1}' } })
    assert.equal("caller_id=%2B91%2098&e=%7B%22a%22%3A1%7D", query)
    assert.same({ caller_id = "+91 98", e = '{"a":1}' }, url.parse_query(query))
    assert.same({ a = "1", b = "x y", c = "" }, url.parse_query("a=1&a=2&b=x+y&c"))
  end)

  it("splits a URL and compares origins", function()
    assert.same({ scheme = "http", host = "h", port = 8080, path = "/a", query = "b=1" },
      url.parse("http://user@H:8080/a?b=1"))
    assert.equal("[::1]", url.parse("https://[::1]:9/").host)
    assert.equal(url.origin("https://a/x"), url.origin("https://A:443/y"))
    assert.is_nil(url.parse("/only/a/path"))
  end)
end)

describe("jwt", function()
  local clock
  before_each(function()
    clock = support.install()
  end)
  after_each(support.restore)

  it("verifies what it signed, until it expires", function()
    local now = clock.ms / 1000
    local token = jwt.sign({ aud = "core-test", exp = now + 60, bot_id = "demo" }, "k")
    assert.equal("demo", jwt.verify(token, "k", { aud = "core-test" }).bot_id)
    assert.equal("bad_signature", select(2, jwt.verify(token, "other")))
    assert.equal("bad_audience", select(2, jwt.verify(token, "k", { aud = "core-listen" })))
    clock.ms = clock.ms + 60000
    assert.equal("expired", select(2, jwt.verify(token, "k")))
  end)

  it("refuses tokens that are malformed, unsigned or without expiry", function()
    assert.equal("malformed", select(2, jwt.verify(nil, "k")))
    assert.equal("malformed", select(2, jwt.verify("a.b", "k")))
    assert.equal("expired", select(2, jwt.verify(jwt.sign({ aud = "x" }, "k"), "k")))
    local b64 = cxb.crypto.base64url
    local unsigned = b64('{"alg":"none"}') .. "." .. b64('{"exp":9999999999}')
    local forged = unsigned .. "." .. b64(cxb.crypto.hmac_sha256("k", unsigned))
    assert.equal("malformed", select(2, jwt.verify(forged, "k")))
  end)
end)
