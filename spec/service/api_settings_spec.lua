-- stores: both
local json = require("cxb.json")
local support = require("support.world")
local object_store = require("support.object_store")
local process = require("support.api_process")

describe("the settings", function()
  local world, api

  setup(function()
    world = support.new()
    api = process.start(world)
  end)

  teardown(function()
    world:close()
  end)

  local function put(group, body, headers)
    return api:ask("PUT", "/api/v1/settings/" .. group, { body = body, headers = headers })
  end

  local function settings()
    return api:ask("GET", "/api/v1/settings").answer
  end

  it("are made on first read, with their defaults", function()
    local found = settings()
    assert.same({ "UTC", "recordings", 20, 180, "admin", 400, false }, { found.display_timezone,
      found.minio.bucket, found.knowledge.max_upload_mb, found.agent_desk.wait_timeout,
      found.limits.flow_publish_role, found.retention.calls_days, found.dialler.amd.enabled })
  end)

  it("show a secret masked, and keep it when what was shown comes back", function()
    assert.equal(200, put("api-keys", { openai = "sk-0123456789abcdef", sarvam = "short" }).status)
    local shown = settings().api_keys
    assert.same({ openai = "sk-0••••••cdef", sarvam = "•••••" }, shown)
    assert.same(shown, put("api-keys", shown).answer.api_keys)
    assert.same(shown, put("api-keys", { deepgram = "dg-0123456789abcdef" }).answer.api_keys
      and { openai = settings().api_keys.openai, sarvam = settings().api_keys.sarvam })
    local minio = { access_key = "AKIA0123456789", secret_key = "m-secret-0123456789" }
    put("minio", minio)
    put("minio", { access_key = settings().minio.access_key, bucket = "other" })
    assert.same({ "AKIA••••••6789", "m-se••••••6789", "other" }, { settings().minio.access_key,
      settings().minio.secret_key, settings().minio.bucket })
  end)

  it("lose a secret, and go back to a default, by null", function()
    put("api-keys", { elevenlabs = "el-0123456789abcdef" })
    assert.is_not_nil(settings().api_keys.elevenlabs)
    local null = require("cxb.json").null
    put("api-keys", { elevenlabs = null })
    assert.is_nil(settings().api_keys.elevenlabs)
    put("knowledge", { chunk_size_chars = 900 })
    assert.equal(900, settings().knowledge.chunk_size_chars)
    put("knowledge", { chunk_size_chars = null })
    assert.equal(1200, settings().knowledge.chunk_size_chars)
  end)

  it("of every group are checked, field by field", function()
    for group, case in pairs({
      dialler = { { amd = { total_analysis_ms = 100 } }, "amd.total_analysis_ms" },
      limits = { { flow_publish_role = "agent" }, "flow_publish_role" },
      retention = { { calls_days = -1 }, "calls_days" },
      timezone = { { display_timezone = "Mars/Olympus" }, "display_timezone" },
      fleet = { { core_fleet = { "http://a.example/x" } }, "core_fleet[0]" },
      ["agent-desk"] = { { wait_timeout = 1 }, "wait_timeout" },
      ["agent-assist"] = { { listen_to = "nobody" }, "listen_to" },
      minio = { { bukket = "x" }, "bukket" },
    }) do
      local answer = put(group, case[1])
      assert.same({ 422, case[2] }, { answer.status, (answer.answer.fields or { {} })[1].path })
    end
    assert.equal(422, put("fleet", { core_fleet = { "http://a:1", "http://A:1/" } }).status)
    assert.equal(422, put("fleet", { core_fleet = {}, cxbcore_fleet = {} }).status)
    assert.same({ "http://a:1" }, put("fleet", { cxbcore_fleet = { "http://a:1" } }).answer.core_fleet)
    assert.equal("Asia/Kolkata",
      put("timezone", { display_timezone = "Asia/Kolkata" }).answer.display_timezone)
    assert.same({ display_timezone = "Asia/Kolkata" },
      api:ask("GET", "/api/v1/settings/display").answer)
    assert.same({ true, 2000 }, { put("dialler", { amd = { enabled = true } }).answer.dialler.amd.enabled,
      settings().dialler.amd.initial_silence_ms })
  end)

  it("name an object store and providers that there can be", function()
    for _, endpoint in ipairs({ "x y", "", "host/path", "host:99999", "ftp://host", ":9000" }) do
      assert.equal(422, put("minio", { endpoint = endpoint }).status, endpoint)
    end
    for _, endpoint in ipairs({ "localhost:9000", "s3.eu-central-1.amazonaws.com",
      "[::1]:9000", "https://minio.example.org/" }) do
      assert.equal(200, put("minio", { endpoint = endpoint }).status, endpoint)
    end
    assert.equal(422, put("minio", { bucket = "my bucket" }).status)
    assert.equal(200, put("minio", { endpoint = json.null, bucket = json.null }).status)
    assert.equal(422, put("agent-assist", { llm_provider = "nobody" }).status)
    assert.equal(200, put("agent-assist", { llm_provider = "openai", stt_provider = "soniox" }).status)
    assert.equal(200, put("agent-assist", { llm_provider = json.null, stt_provider = json.null }).status)
  end)

  it("are not overwritten by who read an older version", function()
    local tag = api:ask("GET", "/api/v1/settings").headers.etag
    assert.equal(200, put("retention", { calls_days = 30 }, { ["if-match"] = tag }).status)
    local late = put("retention", { calls_days = 60 }, { ["if-match"] = tag })
    assert.same({ 409, "version_conflict", 30 }, { late.status, late.answer.error,
      late.answer.current.retention.calls_days })
    assert.is_nil(late.body:find("enc:v1", 1, true))
  end)

  it("hold no plain secret in the stored file", function()
    local secret = "sk-live-" .. cxb.crypto.hex(cxb.crypto.random(12))
    assert.equal(200, put("api-keys", { openai = secret }).status)
    local kept = {}
    if api.env.MONGODB_URI then
      local store = assert(require("cxb.store").open({ uri = api.env.MONGODB_URI,
        database = api.env.MONGODB_DB }))
      kept[1] = require("cxb.json").encode(assert(store:get("system_settings", "system")))
      store:close()
    else
      for i, name in ipairs({ "cxb.db", "cxb.db-wal" }) do
        kept[i] = cxb.fs.read(api.dir .. "/state/" .. name) or ""
      end
    end
    local sealed = false
    for _, bytes in ipairs(kept) do
      assert.is_nil(bytes:find(secret, 1, true))
      sealed = sealed or bytes:find("enc:v1:", 1, true) ~= nil
    end
    assert.is_true(sealed)
  end)

  describe("that are tried", function()
    local tried

    setup(function()
      tried = process.start(world, { env = { CXB_OUTBOUND_ALLOW = "127.0.0.1" } })
    end)

    local function try(what, body)
      local answer = tried:ask("POST", "/api/v1/settings/" .. what .. "/test", { body = body or {} })
      assert.equal(200, answer.status)
      return answer.answer
    end

    it("say whether a provider takes the key, without telling it", function()
      local port = world:port()
      world:server("tcp:127.0.0.1:" .. port, [[return function(req)
        local good = req.path == "/v1/models" and req.headers.authorization == "Bearer sk-good-0123"
        req:respond(good and 200 or 401, '{"error":"Incorrect API key provided: sk-bad-0123"}')
      end]])
      local at = { base_url = ("http://127.0.0.1:%d/v1"):format(port) }
      assert.same({ false, "no key is stored" }, { try("api-keys/openai", at).ok,
        try("api-keys/openai", at).message })
      tried:ask("PUT", "/api/v1/settings/api-keys", { body = { openai = "sk-bad-0123" } })
      local bad = try("api-keys/openai", at)
      assert.is_false(bad.ok)
      assert.matches("refused", bad.message)
      assert.is_nil(bad.message:find("sk-bad", 1, true))
      tried:ask("PUT", "/api/v1/settings/api-keys", { body = { openai = "sk-good-0123" } })
      local good = try("api-keys/openai", at)
      assert.is_true(good.ok and good.ms >= 0)
      assert.is_true(try("api-keys/embedded").ok)
      assert.equal(404, tried:ask("POST", "/api/v1/settings/api-keys/nobody/test").status)
      local gone = try("api-keys/openai", { base_url = "http://127.0.0.1:" .. world:port() })
      assert.matches("no answer", gone.message)
      local inside = try("api-keys/openai", { base_url = "http://169.254.169.254/" })
      assert.is_false(inside.ok)
    end)

    it("say that the embedded search and the local folder need nothing", function()
      assert.is_true(try("knowledge").ok)
      assert.is_true(try("minio").ok)
    end)

    it("write, read and remove an object of the object store", function()
      local store = object_store.new(world)
      store:start()
      local function store_keys(secret)
        tried:ask("PUT", "/api/v1/settings/minio", { body = { endpoint = store.url,
          access_key = object_store.ACCESS, secret_key = secret, bucket = object_store.BUCKET } })
      end
      store_keys("wrong-secret-key")
      local refused = try("minio")
      assert.same({ false, "writing: the credential is refused (403)" }, { refused.ok,
        refused.message })
      store_keys(object_store.SECRET)
      assert.same({ true, "an object was written, read and removed" }, { try("minio").ok,
        try("minio").message })
      store:stop()
      assert.matches("no answer", try("minio").message)
    end)
  end)
end)
