-- stores: both
local api = require("spec.support.api")
local erasures = require("services.recordings.erasures")
local fleet = require("services.fleet")

describe("a copy of an erased recording on a host that was away", function()
  local app, here, answers, asked, hosts, call
  local NEAR, FAR = "http://near:1", "http://far:1"

  before_each(function()
    api.install()
    app = api.app()
    app.recordings_dir = "/nonexistent"
    here, answers, asked, hosts, call = { NEAR }, {}, {}, fleet.hosts, fleet.call
    function fleet.hosts()
      local list = {}
      for i, base_url in ipairs(here) do
        list[i] = { id = base_url:match("//(%a+)"), base_url = base_url }
      end
      return list
    end
    function fleet.call(_, base_url, method, path)
      asked[#asked + 1] = ("%s %s%s"):format(method, base_url, path)
      return { status = answers[base_url] or 204 }
    end
    assert(app.store:insert("fleet_hosts", { base_url = FAR, host_id = "far",
      seen_at = api.now - 60000 }))
  end)

  after_each(function()
    fleet.hosts, fleet.call = hosts, call
    api.restore()
  end)

  local function redact(id)
    local doc = assert(app.store:insert("calls", { _id = id, call_type = "bot",
      status = "completed", started_at = api.now, recording_key = "recordings/" .. id .. ".wav" }))
    local redacted, silent = require("services.calls.redaction").erase(app, doc)
    assert.is_number(redacted.redacted_at)
    assert.same({ FAR }, silent)
  end

  local function run()
    asked = {}
    assert(erasures.run(app))
    return asked
  end

  local function left()
    return app.store:count("erasures", {})
  end

  it("is asked for when it is there again, once", function()
    redact("r1")
    assert.same({ "DELETE http://near:1/recordings/recordings/r1.wav" }, asked)
    assert.same({}, run())
    here[2] = FAR
    assert.same({ "DELETE http://far:1/recordings/recordings/r1.wav" }, run())
    assert.same({ {}, 0 }, { run(), left() })
  end)

  it("is asked for, too, when the host had left in order", function()
    local host = assert(app.store:find("fleet_hosts", {}, {}))[1]
    assert(app.store:update("fleet_hosts", host._id, { set = { left = true } }))
    redact("r1")
    here[2] = FAR
    assert.same({ "DELETE http://far:1/recordings/recordings/r1.wav" }, run())
  end)

  it("leaves the recording where it is while nobody can say which hosts are away", function()
    local doc = assert(app.store:insert("calls", { _id = "r1", call_type = "bot",
      status = "completed", started_at = api.now, recording_key = "recordings/r1.wav" }))
    local find = app.store.find
    function app.store.find(store, name, ...)
      if name == "fleet_hosts" then
        return nil, { code = "unavailable", message = "away" }
      end
      return find(store, name, ...)
    end
    local done, err = require("services.calls.redaction").erase(app, doc)
    app.store.find = nil
    assert.is_nil(done)
    assert.same({ code = "recording", message = "which hosts may have a copy is not known",
      away = "fleet_unavailable" }, err)
    assert.same({ {}, 0 }, { asked, left() })
  end)

  it("is asked for again until it is gone, or was never there", function()
    redact("r1")
    redact("r2")
    here[2], answers[FAR] = FAR, 500
    assert.equal(1, #run())
    assert.equal(2, left())
    answers[FAR] = 404
    assert.equal(2, #run())
    assert.equal(0, left())
  end)

  it("does not keep others on the host when it cannot be erased", function()
    for i = 1, 4 do
      redact("r" .. i)
    end
    function fleet.call(_, _, method, path)
      return { status = method == "DELETE" and path:find("/r[12]%.wav$") and 500 or 204 }
    end
    here[2] = FAR
    for _ = 1, 3 do
      api.now = api.now + 60000
      run()
    end
    assert.equal(2, left())
  end)

  it("goes out of the object store, where the host may have put it since", function()
    local vault = require("services.identity.vault")
    assert(app.store:upsert("system_settings", { _id = "system" }, { set = { minio = {
      endpoint = "store:9", access_key = vault.seal(app, "a"), secret_key = vault.seal(app, "s"),
      bucket = "b", region = "us-east-1" } } }))
    require("services.system.settings").drop(app)
    local status = 204
    rawset(cxb, "http", { request = function(options)
      asked[#asked + 1] = options.method .. " " .. options.url
      return { status = status, headers = {} }
    end })
    redact("r1")
    here[2], status = FAR, 503
    local object = "DELETE http://store:9/b/recordings/r1.wav"
    local both = { "DELETE http://far:1/recordings/recordings/r1.wav", object }
    assert.same({ both, 1 }, { run(), left() })
    status = 204
    assert.same({ both, 0 }, { run(), left() })
  end)

  it("is given up with the host after thirty days", function()
    redact("r1")
    api.now = api.now + 30 * 86400000 + 1
    assert(require("jobs.sweep").run(app))
    assert.equal(0, left())
  end)
end)
