describe("the rendered front", function()
  local nginx = require("cxbctl.nginx")
  local function hash(data) return cxb.crypto.hex(cxb.crypto.sha256(data)) end
  local function none() return nil end

  local function template(name)
    local file = assert(io.open(cxb.root .. "/nginx/" .. name))
    local text = file:read("*a")
    file:close()
    return text
  end
  local front = template("cxb.conf.tmpl")

  local function render(given)
    return nginx.render(assert(nginx.settings(none, given)), front, "1.2.3", hash)
  end
  local function count(text, pattern)
    return select(2, text:gsub(pattern, ""))
  end

  it("takes the worker count from one variable, for both upstreams and the retry limits", function()
    for _, n in ipairs({ 1, 4, 512 }) do
      local settings = nginx.settings(function(name)
        return name == "CXBCORE_WORKERS" and tostring(n) or nil
      end)
      local text = nginx.render(settings, front, "1.2.3", hash)
      assert.equal(n, count(text, "max_conns=1 max_fails=0"))
      assert.equal(n, count(text, "max_fails=1 fail_timeout=2"))
      assert.equal(4, count(text, "proxy_next_upstream_tries " .. n .. ";"))
      assert.matches("zone cxb_core_calls " .. math.max(128, 2 * n) .. "k;", text, 1, true)
    end
  end)

  it("lets every wire's socket through, and nothing else", function()
    local allowed = {}
    for name in front:match("location ~ %^/%(([%w|]+)%)/ {"):gmatch("%w+") do
      allowed[name] = true
    end
    for _, name in ipairs(require("cxbctl.caller").transports) do
      local path = require("cxbctl.wires." .. name).path({ bot = "demo", from = "+1", to = "+2",
        direction = "incoming" })
      local first = path:match("^/(%w+)/demo")
      assert.is_true(allowed[first], first .. " is not let through")
      allowed[first] = nil
    end
    assert.is_nil(next(allowed))
  end)

  it("is the same bytes for the same settings", function()
    assert.equal(render({ workers = 7 }), render({ workers = 7 }))
  end)

  it("says in its first line who rendered it from what", function()
    local first = render({ workers = 2 }):match("^[^\n]*")
    assert.matches("^# rendered by cxbctl 1%.2%.3 inputs=%x+$", first)
    assert.not_equal(first, render({ workers = 3 }):match("^[^\n]*"))
    assert.equal(64, #first:match("inputs=(%x+)"))
  end)

  it("leaves no placeholder", function()
    assert.is_nil(render({}):find("{{", 1, true))
  end)

  it("lets only the listed addresses read the metrics", function()
    local text = render({ metrics_allow = "10.0.0.1, 10.0.0.2" })
    assert.matches("location = /metrics       { allow 10.0.0.1; allow 10.0.0.2; deny all;", text, 1, true)
  end)

  it("believes forwarded addresses only of a trusted ingress", function()
    assert.is_nil(render({}):find("set_real_ip_from", 1, true))
    assert.matches("set_real_ip_from 10.1.0.0/16;", render({ trusted_ingress = "10.1.0.0/16" }), 1, true)
  end)

  it("refuses a count that is no whole number from 1 to 512, naming the variable", function()
    for _, bad in ipairs({ "0", "513", "1.5", "many" }) do
      local settings, why = nginx.settings(function(name)
        return name == "CXBCORE_WORKERS" and bad or nil
      end)
      assert.is_nil(settings)
      assert.matches('CXBCORE_WORKERS is "' .. bad .. '"', why, 1, true)
    end
  end)

  it("refuses a value that would end its directive", function()
    for _, bad in ipairs({ "x; include /etc/passwd", "a b", "a{b", 'a"b', "$host" }) do
      assert.is_nil(nginx.settings(none, { server_name = bad }))
    end
  end)
end)
