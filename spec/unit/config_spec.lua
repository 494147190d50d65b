package.path = "lua/?.lua;" .. package.path
local config = require("cxb.config")
local envfile = require("cxb.envfile")

local schema = {
  { name = "CXB_PORT", type = "int", default = 80, min = 1, max = 65535, help = "Port." },
  { name = "CXB_MODE", default = "a", choices = { "a", "b" } },
  { name = "CXB_DEV", type = "bool", default = false },
  { name = "CXB_ALLOW", type = "list", default = {} },
  { name = "CXB_CHUNK", type = "int", default = 3200, multiple = 320, unit = "bytes" },
  { name = "CXB_URL", alias = "URL" },
  { name = "CXB_KEY", secret = true, pattern = "^whsec_", form = "whsec_<base64>" },
}

local function refusal(env)
  local ok, err = pcall(config.load, schema, env)
  assert.is_false(ok)
  return err
end

describe("config", function()
  it("gives defaults for what is unset or empty", function()
    local c = config.load(schema, { CXB_PORT = "" })
    assert.equal(80, c.CXB_PORT)
    assert.is_false(c.CXB_DEV)
    assert.is_nil(c.CXB_URL)
  end)

  it("reads each type", function()
    local c = config.load(schema,
      { CXB_PORT = "8080", CXB_DEV = "yes", CXB_ALLOW = "a, b c", URL = "http://x" })
    assert.equal(8080, c.CXB_PORT)
    assert.is_true(c.CXB_DEV)
    assert.same({ "a", "b", "c" }, c.CXB_ALLOW)
    assert.equal("http://x", c.CXB_URL)
  end)

  it("names variable, value and rule of a bad value", function()
    assert.equal('start refused: CXB_PORT: "0" is not valid, expected between 1 and 65535',
      refusal({ CXB_PORT = "0" }))
    assert.equal('start refused: CXB_PORT: "12a" is not valid, expected a whole number',
      refusal({ CXB_PORT = "12a" }))
    assert.equal('start refused: CXB_MODE: "c" is not valid, expected one of a, b', refusal({ CXB_MODE = "c" }))
    assert.equal('start refused: CXB_CHUNK: "321" is not valid, expected a multiple of 320 (bytes)',
      refusal({ CXB_CHUNK = "321" }))
    assert.equal('start refused: CXB_DEV: "maybe" is not valid, expected 1 or 0', refusal({ CXB_DEV = "maybe" }))
  end)

  it("judges a form by a function, each item of a list", function()
    local list = { { name = "CXB_ORIGINS", type = "list", form = "origins", fits = function(text)
      return text:match("^https://[^/]+$")
    end } }
    assert.same({ "https://a", "https://b" },
      config.load(list, { CXB_ORIGINS = "https://a,https://b" }).CXB_ORIGINS)
    local ok, line = pcall(config.load, list, { CXB_ORIGINS = "https://a,https://b/" })
    assert.same({ false, 'start refused: CXB_ORIGINS: "https://a,https://b/" is not valid,'
      .. " expected origins" }, { ok, line })
  end)

  it("refuses what the API's settings name by form", function()
    local settings = require("api.schemas.settings")
    for name, values in pairs({
      CXB_TRUSTED_PROXIES = { "10.0.0.0/8", "unix,proxy" },
      CXB_CORS_ORIGINS = { "https://desk.example.org/", "*" },
      CXB_OUTBOUND_ALLOW = { "http://crm", "10.0.0.0/x", "10.0.0.0/129" },
      LIVE_PROMPT_CACHE_TIMEZONE = { "Mars/Olympus" },
    }) do
      for _, value in ipairs(values) do
        local ok, line = pcall(config.load, settings, { [name] = value })
        assert.same({ value, false, name }, { value, ok, tostring(line):match("refused: ([%u_]+):") })
      end
    end
    local fine = config.load(settings, { CXB_TRUSTED_PROXIES = "unix ::1",
      CXB_CORS_ORIGINS = "https://desk.example.org:8443", CXB_OUTBOUND_ALLOW =
      "crm.internal 10.1.0.0/16 fd00::/8 10.2.3.4", LIVE_PROMPT_CACHE_TIMEZONE = "Europe/Berlin" })
    assert.equal(4, #fine.CXB_OUTBOUND_ALLOW)
    local address = require("services.system.app").address
    assert.same({ "tcp:[::1]:80", "unix:/run/a", nil, nil }, { address("[::1]:80"),
      address("unix:/run/a"), address("127.0.0.1:99999"), address("here") })
  end)

  it("does not show the value of a secret", function()
    local line = refusal({ CXB_KEY = "hunter2" })
    assert.is_nil(line:find("hunter2", 1, true))
    assert.truthy(line:find("CXB_KEY", 1, true))
  end)

  it("prints help that its own parser reads", function()
    local text = config.help(schema)
    assert.same({}, envfile.parse(text))
    assert.truthy(text:find("#CXB_CHUNK=3200", 1, true))
  end)

  it("takes secrets from secrets.env in the state folder when the environment has none", function()
    local dir = os.tmpname()
    os.remove(dir)
    os.execute("mkdir -p " .. dir)
    local file = assert(io.open(dir .. "/secrets.env", "w"))
    file:write("CXB_KEY=whsec_x\nCXB_PORT=99\n")
    file:close()
    local c = config.load(schema, { CXB_STATE_DIR = dir })
    os.execute("rm -r " .. dir)
    assert.equal("whsec_x", c.CXB_KEY)
    assert.equal(80, c.CXB_PORT)
  end)
end)

describe("envfile", function()
  it("reads keys, comments and quotes, keeps order, refuses duplicates and nonsense", function()
    local values, _, order = envfile.parse("# c\nA=1\n\nB=\"x y\"\nC=a=b # no comment\n")
    assert.same({ A = "1", B = "x y", C = "a=b # no comment" }, values)
    assert.same({ "A", "B", "C" }, order)
    local _, why = envfile.parse("A=1\nA=2")
    assert.equal("line 2: A is set twice", why)
    _, why = envfile.parse("hello")
    assert.equal("line 1: expected KEY=value", why)
  end)

  it("writes lines that it reads back", function()
    for _, value in ipairs({ "", "x", " padded ", "'q'", "a=b" }) do
      assert.same({ K = value }, envfile.parse(assert(envfile.line("K", value))))
    end
    assert.is_nil(envfile.line("K", "a\nb"))
  end)
end)
