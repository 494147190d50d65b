-- stores: both
local api = require("spec.support.api")
local json = require("cxb.json")

describe("what follows from a result", function()
  local app, fanout, results, links, published

  before_each(function()
    api.install()
    fanout, results = require("services.results.fanout"), require("services.results")
    links = require("services.recordings.links")
    app = api.app()
    published = {}
    app.events = { publish = function(_, topic, name, data)
      published[#published + 1] = topic .. " " .. name .. " " .. data.session_id
    end }
    assert(app.store:insert("bots", { _id = "demo", name = "Demo", is_active = true,
      post_call_push = { enabled = true, url = "https://crm.example/push" } }))
  end)

  after_each(api.restore)

  local function post(payload)
    local body = json.encode(payload)
    return assert(results.ingest(app, body, json.decode_object(body)))
  end

  local whole = { session_id = "s1", bot_id = "demo", disconnected_by = "customer",
    caller_id = "+919876543210", recording_key = "r.wav", started_at = "2026-04-24T08:59:30Z",
    post_call_analysis = { do_not_call = true } }

  local function call()
    return assert(app.store:get("calls", "s1"))
  end

  it("is done once: link, list of numbers, CRM, event", function()
    post(whole)
    post(whole)
    assert.same({ false, 1 }, { call().fanout.pending, call().fanout.tries })
    local played = assert(links.call(app, call().recording_access_token))
    assert.equal("s1", played._id)
    local listed = app.store:find("dnc", {})
    assert.same({ 1, "+919876543210", "global", "caller_request" },
      { #listed, listed[1].number, listed[1].scope, listed[1].source })
    assert.equal(1, app.store:count("crm_deliveries", { session_id = "s1" }))
    assert.same({ "calls call.finished s1" }, published)
  end)

  it("is done again after another result, with nothing made twice", function()
    post(whole)
    post({ session_id = "s1", events = { { type = "x" } } })
    assert.equal(1, app.store:count("dnc", {}))
    assert.equal(1, app.store:count("crm_deliveries", {}))
    assert.equal(2, #published)
  end)

  it("is left to the sweep when a step fails, which then does that step alone", function()
    local insert_many, away = app.store.insert_many, true
    app.store.insert_many = function(self, name, ...)
      if away and name == "dnc" then
        return nil, { code = "unavailable", message = "away" }
      end
      return insert_many(self, name, ...)
    end
    post(whole)
    assert.same({ true, { "dnc" } }, { call().fanout.pending, call().fanout.steps })
    assert.same({}, published)
    assert.equal(0, assert(fanout.sweep(app)))
    api.now = api.now + 10000
    assert.equal(1, assert(fanout.sweep(app)))
    assert.is_true(call().fanout.pending)
    away = false
    api.now = api.now + 10000
    assert.equal(0, assert(fanout.sweep(app))) -- waits longer each time
    api.now = api.now + 10000
    assert.equal(1, assert(fanout.sweep(app)))
    assert.is_false(call().fanout.pending)
    assert.equal(1, app.store:count("dnc", {}))
    assert.equal(1, #published)
  end)

  it("that two processes do at once is told once", function()
    post(whole)
    assert(app.store:update("calls", "s1", { set = { fanout = fanout.begin(app, call()) } }))
    local taken = call()
    fanout.run(app, taken)
    fanout.run(app, taken)
    assert.equal(2, #published)
  end)

  it("lists no number when the bot or the caller's number does not allow it", function()
    assert(app.store:update("bots", "demo", { set = { dnc_auto = false } }))
    post(whole)
    assert(app.store:update("bots", "demo", { set = { dnc_auto = true } }))
    post({ session_id = "s2", bot_id = "demo", caller_id = "anonymous",
      post_call_analysis = { do_not_call = true } })
    post({ session_id = "s3", bot_id = "demo", caller_id = "+919876543210",
      post_call_analysis = { do_not_call = "no" } })
    assert.equal(0, app.store:count("dnc", {}))
  end)

  it("gives no new link to a recording whose link was withdrawn", function()
    post(whole)
    local token = call().recording_access_token
    assert(links.withdraw(app, call()))
    post({ session_id = "s1", recording_key = "r.wav", recording_access_token = "another" })
    assert.is_nil(call().recording_access_token)
    for _, gone in ipairs({ token, "another" }) do
      assert.same({ nil, 404 }, { links.call(app, gone), select(2, links.call(app, gone)).status })
    end
  end)

  it("is nothing but an event for most calls, which are written once", function()
    post({ session_id = "s1", disconnected_by = "customer", started_at = "2026-04-24T08:00:00Z" })
    post({ session_id = "s1", disconnected_by = "customer", started_at = "2026-04-24T08:00:00Z" })
    assert.same({ 1, nil }, { call().v, call().fanout })
    assert.same({ "calls call.finished s1" }, published)
  end)

  it("marks an hour that is counted no more by itself", function()
    post({ session_id = "s1", started_at = "2026-04-24T07:59:59Z" })
    assert.truthy(app.store:get("system_runtime", "stats").state.h1777014000000)
  end)

  it("is not forgotten when a result without steps comes in between", function()
    app.store.find = function(self, name, ...)
      if name == "bots" then
        return nil, { code = "unavailable", message = "away" }
      end
      return getmetatable(self).__index.find(self, name, ...)
    end
    post(whole)
    app.store.find = nil
    assert.same({ "crm" }, call().fanout.steps)
    post({ session_id = "s1", bot_id = "nobody" })
    assert.is_false(call().fanout.pending)
  end)

  it("knows the words of the call and how quickly the bot answered", function()
    post({ session_id = "s1", latency = { p50_ms = 849 }, transcript = {
      { text = "Hello, HELLO Asha!" }, { text = "नमस्ते" }, { text = 7 } } })
    assert.same({ { "hello", "asha", "नमस्ते" }, 16 }, { call().terms, call().lat_bucket })
  end)

  it("gives a call that was given up its real end", function()
    assert(app.store:insert("calls", { _id = "s1", call_type = "bot", status = "in_progress",
      bot_id = "demo", started_at = api.now - 3000 * 1000 }))
    assert(require("services.system.skeletons").give_up(app, {}))
    assert.same({ "failed", "error", true }, { call().status, call().disconnected_by, call().lost })
    post({ session_id = "s1", disconnected_by = "customer" })
    assert.same({ "completed", "customer", nil },
      { call().status, call().disconnected_by, call().lost })
  end)

  it("does not give up a call that still lasts or may last", function()
    local function begun(id, seconds)
      assert(app.store:insert("calls", { _id = id, call_type = "bot", status = "in_progress",
        bot_id = "demo", started_at = api.now - seconds * 1000 }))
    end
    begun("young", 2399)
    begun("old", 2401)
    begun("live", 9000)
    assert.equal(1, assert(require("services.system.skeletons").give_up(app, { live = true })))
    assert.equal("failed", app.store:get("calls", "old").status)
  end)
end)

describe("a carrier's record of a call", function()
  local app, cdr

  before_each(function()
    api.install()
    cdr = require("services.results.cdr")
    app = api.app()
    assert(app.store:insert("calls", { _id = "s1", call_type = "bot", status = "failed",
      stream_id = "st-1", started_at = 1 }))
  end)

  after_each(api.restore)

  it("is kept with the call of its stream, whose status stays", function()
    assert.same({ status = "ok", stream_id = "st-1" }, cdr.ingest(app.store,
      { streamId = "st-1", stream_id = "other", status = "completed", talktime = 42 }))
    local call = app.store:get("calls", "s1")
    assert.same({ "failed", 42, "completed", "st-1" },
      { call.status, call.cdr_talktime, call.cdr_call_status, call.cdr.streamId })
    assert.same({ status = "ok", stream_id = "st-1" },
      cdr.ingest(app.store, { stream_id = "st-1", recording_url = "https://x/y" }))
    assert.equal("https://x/y", app.store:get("calls", "s1").cdr_recording_url)
  end)

  it("of an unknown stream or of none changes nothing", function()
    assert.same({ status = "not_found", stream_id = "st-2" },
      cdr.ingest(app.store, { streamId = "st-2" }))
    for _, body in ipairs({ {}, { streamId = "" }, { streamId = json.null }, { stream_id = {} } }) do
      assert.same({ status = "ignored", reason = "no streamId" }, cdr.ingest(app.store, body))
    end
    assert.equal(1, app.store:get("calls", "s1").v)
  end)
end)
