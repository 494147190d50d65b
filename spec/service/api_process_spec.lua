local support = require("support.world")
local json = require("cxb.json")
local process = require("support.api_process")

describe("the API's process", function()
  local world = support.new()
  after_each(function()
    world:close()
  end)

  it("makes the secrets of a new machine once, for its owner's eyes only", function()
    local api = process.start(world, { env = { CXBCORE_SECRET = "", JWT_SECRET = "" } })
    local first = assert(api:secrets())
    assert.equal(384, cxb.fs.stat(api.dir .. "/state/secrets.env").mode % 512)
    for _, name in ipairs({ "CXBCORE_SECRET", "JWT_SECRET", "CXB_SECRETS_KEY" }) do
      assert.is_true(#first[name] >= 32, name)
    end
    api.process:stop()
    api:run()
    assert.same(first, api:secrets())
  end)

  it("shares a secret that the worker's side has made already", function()
    local dir = world:folder()
    world:write(dir .. "/state/secrets.env", "CXBCORE_SECRET=" .. process.SECRET .. "\n")
    local api = process.start(world, { dir = dir, env = { CXBCORE_SECRET = "" } })
    assert.equal(process.SECRET, api:secrets().CXBCORE_SECRET)
    assert.equal(200, api:ask("GET", "/api/v1/calls").status)
  end)

  it("begins with the shipped bots, and only when the store has none", function()
    local api = process.start(world)
    local ids = {}
    for i, bot in ipairs(api:ask("GET", "/api/v1/bots").answer.items) do
      ids[i] = bot.id
    end
    assert.same({ "assistant", "demo", "echo" }, ids)
    api.process:stop()
    local seeds = world:folder()
    world:write(seeds .. "/other.json", '{"flow":"echo"}')
    api.env.CXB_BOTS_SEED_DIR = seeds
    api:run()
    assert.equal(3, #api:ask("GET", "/api/v1/bots").answer.items)
  end)

  it("gives a shipped bot its edited file at a reload, but not one that a person changed", function()
    local seeds = world:folder()
    world:write(seeds .. "/one.json", '{"flow":"echo","opening_message":"first"}')
    world:write(seeds .. "/two.json", '{"flow":"echo","opening_message":"first"}')
    local api = process.start(world, { env = { CXB_BOTS_SEED_DIR = seeds } })
    local db = assert(cxb.sqlite.open(api.dir .. "/state/cxb.db"))
    assert(db:exec("UPDATE bots SET doc=json_remove(doc,'$.seed') WHERE _id='two'"))
    db:close()
    for _, name in ipairs({ "one", "two", "three" }) do
      world:write(seeds .. "/" .. name .. ".json", '{"flow":"demo"}')
    end
    api.process:kill("HUP")
    process.wait_until("the edited bot", function()
      return api:ask("GET", "/api/v1/config/one").answer.flow == "demo"
    end)
    assert.equal("", api:ask("GET", "/api/v1/config/one").answer.opening_message)
    assert.equal("first", api:ask("GET", "/api/v1/config/two").answer.opening_message)
    assert.equal(404, api:ask("GET", "/api/v1/config/three").status)
  end)

  it("refuses to start on a bad value and names variable and rule", function()
    for name, case in pairs({
      CXB_API_LISTEN = { "nonsense", "HOST:PORT" },
      CXBCORE_SECRET = { "short", "at least 32" },
      JWT_SECRET = { "short", "at least 32" },
      CXB_SECRETS_KEY = { ("short "):rep(8), "32 bytes in base64" },
      CXB_WEBHOOK_SECRET = { "short", "at least 32" },
      CXB_ADMIN_PASSWORD = { "short", "10 to 128" },
      CXB_ADMIN_EMAIL = { "short", "like ada@example.org" },
      JWT_ALGORITHM = { "none", "HS256" },
      CXB_LOG_LEVEL = { "loud", "debug" },
      CXB_PUBLIC_URL = { "https://example.org/?x", "without ? or #" },
      CXB_OUTBOUND_ALLOW = { "10.0.0.0/33", "CIDRs" },
    }) do
      local api = process.start(world, { env = { [name] = case[1] }, wait = false })
      assert.equal(1, api.process:wait(60000), name)
      assert.matches(name .. ": ", api.process:output(), 1, true)
      assert.matches(case[2], api.process:output(), 1, true)
      if name:match("SECRET") then
        assert.is_nil(api.process:output():find("short", 1, true))
      end
    end
  end)

  it("that cannot listen names the setting, and shows no setup link for nothing", function()
    local first = process.start(world, { env = { CXB_ADMIN_EMAIL = "", CXB_ADMIN_PASSWORD = "" } })
    local second = process.start(world, { wait = false, env = { CXB_ADMIN_EMAIL = "",
      CXB_ADMIN_PASSWORD = "", CXB_API_LISTEN = first.env.CXB_API_LISTEN } })
    assert.equal(1, second.process:wait(60000))
    assert.matches("CXB_API_LISTEN: listen: ", second.process:output(), 1, true)
    assert.is_nil(second.process:output():find("setup:", 1, true))
    second.env.CXB_API_LISTEN = "localhost:" .. world:port()
    second:run(false)
    process.wait_until("the setup link", function()
      return second.process:output():find("setup: http://localhost:", 1, true)
    end)
  end)

  it("refuses to make on one machine what several must share", function()
    local env = { MONGODB_URI = "mongodb://127.0.0.1:9/", JWT_SECRET = process.SECRET,
      CXBCORE_SECRET = process.SECRET, CXB_SECRETS_KEY = cxb.crypto.base64(("k"):rep(32)),
      CXB_PUBLIC_URL = "http://localhost" }
    for _, name in ipairs({ "JWT_SECRET", "CXBCORE_SECRET", "CXB_SECRETS_KEY", "CXB_PUBLIC_URL" }) do
      local given = {}
      for key, value in pairs(env) do
        given[key] = key ~= name and value or ""
      end
      local api = process.start(world, { env = given, wait = false })
      assert.equal(1, api.process:wait(60000), name)
      assert.matches(name .. ": is not set, expected with MONGODB_URI", api.process:output(), 1, true)
    end
  end)

  it("refuses a state folder it cannot write and names it", function()
    local dir = world:folder()
    assert(cxb.fs.mkdir(dir .. "/state", 365))
    cxb.process.spawn({ args = { "chmod", "0755", dir } }):wait(5000)
    cxb.process.spawn({ args = { "chmod", "0555", dir .. "/state" } }):wait(5000)
    local command = { support.program, cxb.root .. "/api/api.lua" }
    if cxb.fs.read("/proc/self/status"):match("\nUid:%s+0%s") then
      cxb.process.spawn({ args = { "chmod", "0777", dir } }):wait(5000)
      command = { "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", unpack(command) }
    end
    local p = world:start(command, {
      CXB_API_LISTEN = "unix:" .. dir .. "/api.sock", CXB_RUN_DIR = dir,
      CXB_STATE_DIR = dir .. "/state", PATH = cxb.process.env("PATH"),
    })
    assert.equal(1, p:wait(60000))
    assert.matches("CXB_STATE_DIR: ", p:output(), 1, true)
    assert.matches(dir .. "/state", p:output(), 1, true)
  end)

  it("is degraded while its disk is full, and works again when there is room", function()
    local dir = world:folder()
    local state = dir .. "/state"
    assert(cxb.fs.mkdir(state))
    local function sh(command)
      return os.execute(command:format(state) .. " >/dev/null 2>&1") == 0
    end
    if not sh("mount -t tmpfs -o size=4m none '%s'") then
      if cxb.process.env("CXB_REQUIRE_ALL") == "1" then error("not allowed to mount here") end
      pending("not allowed to mount here")
    end
    local ok, why = pcall(function()
      local api = process.start(world, { dir = dir })
      sh("dd if=/dev/zero of='%s/filler' bs=64k")
      local made
      process.wait_until("a write that finds no room", function()
        made = api:ask("POST", "/api/v1/bots", { body = { name = "B",
          system_prompt = ("x"):rep(50000) } })
        return made.status ~= 201
      end)
      assert.same({ 503, "store_unavailable" }, { made.status, made.answer.error })
      local health = api:ask("GET", "/health")
      assert.same({ 503, "degraded", false }, { health.status, health.answer.status,
        health.answer.store.ok })
      assert.equal(200, api:ask("GET", "/api/v1/bots").status)
      assert(cxb.fs.remove(state .. "/filler"))
      assert.same({ 200, 201 }, { api:ask("GET", "/health").status,
        api:ask("POST", "/api/v1/bots", { body = { name = "B" } }).status })
      api.process:stop()
    end)
    for i = #world.running, 1, -1 do world.running[i]:stop() end
    assert(sh("umount '%s'"))
    assert(ok, why)
  end)

  it("tells its health, and its metrics to this machine", function()
    local api = process.start(world)
    local health = api:ask("GET", "/health", { secret = false })
    assert.same({ "ok", "sqlite", true, 1 }, { health.answer.status, health.answer.store.kind,
      health.answer.store.ok, health.answer.generation })
    assert.equal(200, api:ask("GET", "/health/live", { secret = false }).status)
    assert.equal(200, api:ask("GET", "/health/ready", { secret = false }).status)
    api:ask("GET", "/nothing/here")
    local metrics = api:ask("GET", "/metrics", { secret = false })
    assert.equal(200, metrics.status)
    for _, line in ipairs({ 'cxb_api_requests_total{route="GET /health",status="200"} ',
      'cxb_api_requests_total{route="none",status="404"} ', "cxb_store_op_seconds_bucket{",
      "cxb_build_info{" }) do
      assert.is_truthy(metrics.body:find(line, 1, true), line)
    end
    assert.equal(403, api:ask("GET", "/metrics", { secret = false,
      headers = { ["x-forwarded-for"] = "203.0.113.7" } }).status)
  end)

  it("answers 503 and says why while a store of an older version is brought up to date", function()
    local api = process.start(world)
    api.process:stop()
    local db = assert(cxb.sqlite.open(api.dir .. "/state/cxb.db"))
    for _, row in ipairs(assert(db:exec("SELECT type,name FROM sqlite_schema WHERE name LIKE "
      .. "'calls_lists%' AND type='trigger' OR name IN ('calls_lists','calls_words')"))) do
      assert(db:exec(("DROP %s %s"):format(row.type, row.name)))
    end
    local words = {}
    for i = 1, 150 do
      words[i] = ("word%d"):format(i)
    end
    assert(db:exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<60000) "
      .. "INSERT INTO calls(_id,v,created_at,updated_at,doc) SELECT 'old-'||i,1,i,i,json_object("
      .. "'call_type','bot','status','completed','started_at',i,'terms',json(?)) FROM n",
      json.encode(words)))
    db:close()
    api:run(false)
    local first = support.wait_until("an answer", function()
      local answer = api:ask("GET", "/health/ready", { timeout_ms = 5000 })
      return answer.status ~= 0 and answer
    end)
    assert.same({ 503, "not_ready", "store_upgrading" }, { first.status, first.answer.status,
      first.answer.reason })
    assert.matches("calls, for %d+ s", first.answer.message)
    assert.equal(200, api:ask("GET", "/health/live").status)
    assert.equal("degraded", api:ask("GET", "/health").answer.status)
    local refused = api:ask("GET", "/api/v1/calls")
    assert.same({ 503, "store_unavailable", "2" }, { refused.status, refused.answer.error,
      refused.headers["retry-after"] })
    support.wait_until("the store", function()
      return api:ask("GET", "/health/ready").status == 200
    end, 240000) -- 60,000 calls are made new
    local found = api:ask("GET", "/api/v1/calls?from=1970-01-01T00:00:00Z&limit=1").answer
    assert.same({ 10000, false }, { found.total, found.total_exact })
    support.wait_until("the log", function()
      local log = api.process:output()
      return log:find("the store is being brought up to date", 1, true)
        and log:find('"msg":"ready"', 1, true)
    end)
  end)

  it("serves the page with a policy that lets nothing else run", function()
    local api = process.start(world)
    local page = api:ask("GET", "/", { secret = false })
    assert.same({ 200, "text/html; charset=utf-8" }, { page.status, page.headers["content-type"] })
    assert.matches("default-src 'self'", page.headers["content-security-policy"], 1, true)
    for name in page.body:gmatch('[src|href]="([%w-]+%.%l+)"') do
      assert.equal(200, api:ask("GET", "/" .. name, { secret = false }).status, name)
    end
    assert.is_nil(page.body:find("<script>", 1, true))
    assert.is_nil(page.body:find("style=", 1, true))
    for _, path in ipairs({ "/../api.lua", "/%2e%2e%2fapi.lua", "/..%2fapi.lua", "/x.lua" }) do
      assert.is_true(api:ask("GET", path, { secret = false }).status >= 400, path)
    end
  end)

  it("writes no secret and no number to its log", function()
    local api = process.start(world, { env = { CXB_LOG_LEVEL = "debug" } })
    local token = process.token()
    api:ask("GET", "/api/v1/bots", { token = token })
    api:ask("GET", "/api/v1/bots", { token = "wrong-token-value" })
    local made = api:ask("POST", "/api/v1/bots/demo/test-call", { body = { kind = "browser" } })
    api:ask("GET", "/api/v1/config/demo?caller_id=%2B919876543210")
    api:ask("POST", "/api/v1/call-results", { body = { session_id = "s1",
      caller_id = "+919876543210" } })
    api.process:stop()
    local log = api.process:output()
    assert.matches("result kept", log, 1, true)
    for _, secret in ipairs({ process.SECRET, token, "wrong-token-value", made.answer.ticket,
      "9876543210" }) do
      assert.is_nil(log:find(secret, 1, true))
    end
  end)
end)
