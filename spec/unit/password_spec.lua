local jwt = require("cxb.jwt")

describe("passwords and sealed texts", function()
  local crypto = cxb.crypto

  it("of many sign-ins at once are all judged, two at a time", function()
    local hash = assert(crypto.password_hash("correct horse"))
    local tasks = {}
    for i = 1, 7 do
      tasks[i] = cxb.task.spawn("verify", function()
        return crypto.password_verify(i % 2 == 0 and "correct horse" or "wrong", hash)
      end)
    end
    for i, task in ipairs(tasks) do
      assert.equal(i % 2 == 0, task:wait(60000), i)
    end
  end)

  it("whose asker has gone leave the queue to the others", function()
    local hash = assert(crypto.password_hash("correct horse"))
    local tasks = {}
    for i = 1, 6 do
      tasks[i] = cxb.task.spawn("verify", function()
        return crypto.password_verify("correct horse", hash)
      end)
    end
    for i = 1, 5 do
      tasks[i]:cancel()
    end
    assert.is_true(tasks[6]:wait(60000))
  end)

  it("open only with the key they were sealed with", function()
    local key, other = crypto.random(32), crypto.random(32)
    local sealed = crypto.seal(key, "a secret")
    assert.equal("a secret", crypto.unseal(key, sealed))
    assert.is_nil(crypto.unseal(other, sealed))
    assert.is_nil(crypto.unseal(key, sealed:sub(1, -2)))
    assert.not_equal(sealed, crypto.seal(key, "a secret"))
    assert.is_false(pcall(crypto.seal, "short", "x"))
  end)
end)

describe("a token", function()
  it("is judged by the algorithm we were told, not by the one that it names", function()
    local claims = { sub = "a", exp = cxb.time.now() / 1000 + 60 }
    for _, algorithm in ipairs({ "HS256", "HS384", "HS512" }) do
      local token = jwt.sign(claims, "k", algorithm)
      for _, wanted in ipairs({ "HS256", "HS384", "HS512" }) do
        local found = jwt.verify(token, "k", { algorithm = wanted })
        assert.equal(wanted == algorithm and "a" or nil, found and found.sub)
      end
    end
    local b64 = cxb.crypto.base64url
    local lies = b64('{"alg":"HS512"}') .. "." .. b64('{"exp":9999999999}')
    local signed = lies .. "." .. b64(cxb.crypto.hmac_sha256("k", lies))
    assert.equal("malformed", select(2, jwt.verify(signed, "k")))
  end)
end)
