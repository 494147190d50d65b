-- stores: both
local api = require("spec.support.api")

describe("what is old", function()
  local app, folder
  local DAY = 86400000

  before_each(function()
    api.install()
    app = api.app()
    folder = os.tmpname()
    os.remove(folder)
    app.recordings_dir = folder
    assert(app.store:upsert("system_settings", { _id = "system" }, { set = {
      retention = { calls_days = 30, recordings_days = 10, audit_days = 0 } } }))
  end)

  after_each(function()
    os.execute("rm -rf " .. folder)
    api.restore()
  end)

  local function call(id, days, more)
    local doc = { _id = id, call_type = "bot", status = "completed",
      started_at = api.now - days * DAY, recording_key = id .. ".wav",
      recording_access_token = "t-" .. id }
    for name, value in pairs(more or {}) do
      doc[name] = value
    end
    assert(app.store:insert("calls", doc))
    assert(app.store:insert("recording_tokens", { _id = "t-" .. id, session_id = id }))
    assert(cxb.fs.write(("%s/%s.wav"):format(folder, id), "RIFF"))
  end

  local function file(id)
    return cxb.fs.stat(("%s/%s.wav"):format(folder, id)) ~= nil
  end

  it("is forgotten after the days that the settings say, recordings first", function()
    call("fresh", 9)
    call("quiet", 11)
    call("gone", 31)
    call("open", 31, { status = "in_progress" })
    assert(app.store:insert("audit_log", { at = 5, actor = {}, action = "x" }))
    assert(require("services.system.retention").erase(app))
    assert.same({ true, false, false }, { file("fresh"), file("quiet"), file("gone") })
    assert.equal("fresh.wav", app.store:get("calls", "fresh").recording_key)
    local quiet = app.store:get("calls", "quiet")
    assert.same({ "completed" }, { quiet.status, quiet.recording_key,
      quiet.recording_access_token })
    assert.is_nil(app.store:get("calls", "gone"))
    assert.equal("in_progress", app.store:get("calls", "open").status)
    assert.is_nil(app.store:get("recording_tokens", "t-quiet"))
    assert.equal(1, app.store:count("audit_log", {}))
  end)

  it("is kept for ever where the settings say 0", function()
    assert(app.store:update("system_settings", "system", { set = {
      retention = { calls_days = 0, recordings_days = 0, audit_days = 1 } } }))
    call("old", 9999)
    assert(app.store:insert("audit_log", { at = 5, actor = {}, action = "x" }))
    assert(require("services.system.retention").erase(app))
    assert.is_true(file("old"))
    assert.truthy(app.store:get("calls", "old"))
    assert.equal(0, app.store:count("audit_log", {}))
  end)

  it("is kept while the cache is away and hosts may have copies, but for the audit", function()
    assert(app.store:update("system_settings", "system",
      { set = { ["retention.audit_days"] = 1 } }))
    call("one", 11)
    call("two", 31)
    assert(app.store:insert("audit_log", { at = 5, actor = {}, action = "x" }))
    function app.cache.healthy()
      return false
    end
    local said = 0
    rawset(cxb.log, "warn", function()
      said = said + 1
    end)
    local done, err = require("services.system.retention").erase(app)
    assert.same({ nil, "unavailable", 0 }, { done, err.code, said }) -- not a line a call
    assert.matches("cache is away", err.message)
    assert.same({ true, true }, { file("one"), file("two") })
    assert.same({ 2, 0 }, { app.store:count("calls", {}), app.store:count("audit_log", {}) })
  end)

  it("by a date of its own is swept from every collection but keys", function()
    local sweep = require("jobs.sweep")
    assert(app.store:insert("dnc", { number = "+919876543210", scope = "global", source = "api",
      expires_at = api.now }))
    assert(app.store:insert("dnc", { number = "+919876543211", scope = "global", source = "api",
      expires_at = api.now + 1 }))
    assert(app.store:insert("dnc", { number = "+919876543212", scope = "global", source = "api" }))
    assert(app.store:insert("idempotency", { _id = "x", state = "done", request_hash = "h",
      expires_at = 5 }))
    assert(app.store:insert("api_keys", { name = "k", key_prefix = "vx_1234", key_hash = "h",
      created_by = "x", is_active = true, scopes = { "dialout" }, bot_ids = {}, expires_at = 5 }))
    assert.equal(2, sweep.run(app))
    assert.same({ 2, 0, 1 }, { app.store:count("dnc", {}), app.store:count("idempotency", {}),
      app.store:count("api_keys", {}) })
  end)
end)
