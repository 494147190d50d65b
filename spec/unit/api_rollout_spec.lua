-- stores: both
local api = require("spec.support.api")

describe("a roll-out of a flow", function()
  local app, fleet_hosts, publishing, rollout, events

  before_each(function()
    api.install()
    fleet_hosts = require("services.fleet.hosts")
    publishing = require("services.flows.publishing")
    rollout = require("services.flows.rollout")
    app = api.app()
    events = {}
    local publish = app.events.publish
    function app.events.publish(self, topic, name, data)
      events[#events + 1] = topic == "flows" and ("%s %s"):format(name, data.status or data.revision)
        or nil
      return publish(self, topic, name, data)
    end
  end)

  after_each(api.restore)

  -- A heartbeat; `runs`: revision or error text of each worker.
  local function beat(...)
    local workers = {}
    for i, runs in ipairs({ ... }) do
      workers[i] = { id = tostring(i), state = "idle", calls = 0, max = 1, pid = i }
      if type(runs) == "number" then
        workers[i].flows_revision = runs
      else
        workers[i].flows_revision, workers[i].flows_error = 0, runs
      end
    end
    return assert(fleet_hosts.register(app, { host_id = "h", boot_id = "12345678",
      base_url = "http://h:1", fleet_max = 2, fleet_calls = 0, fleet_available = 2,
      workers = workers, consumed = {}, draining = false }))
  end

  -- Publishes without the check, which needs a process of its own.
  local function put(name, source, previous)
    local flow = require("services.flows").stored(app, name)
      or assert(app.store:insert("flows", { name = name }))
    local version = (previous or 0) + 1
    assert(app.store:insert("flow_versions", { name = name, version = version, source = source,
      sha256 = "x", by = "me", status = "published" }))
    assert(app.store:update("flows", flow._id, { set = { active_version = version } }))
    return assert(rollout.settle(app, { name = name, version = version, previous = previous,
      by = "me" })).revision
  end

  local function look(seconds)
    api.now = api.now + (seconds or 0) * 1000
    assert(rollout.watch(app, publishing.ended))
  end

  local function status(name)
    return rollout.progress(app, name or "mine").status
  end

  local function version_status(version)
    return require("services.flows").version(app, "mine", version).status
  end

  it("is under way until every worker has it, and counts them", function()
    local revision = put("mine", "one")
    assert.equal(revision, beat(0, 0).desired.flows_revision)
    look()
    assert.equal("rolling", status())
    beat(revision, 0)
    local progress = rollout.progress(app, "mine")
    assert.same({ 2, 1, "rolling" }, { progress.workers_total, progress.workers_loaded,
      progress.status })
    beat(revision, revision)
    look()
    assert.equal("done", status())
    assert.same({ "flows.revision 1", "flows.rollout done" }, events)
  end)

  it("that no worker has loaded within 30 s goes back by itself, and is a draft again", function()
    beat(1)
    look()
    put("mine", "one")
    beat(1)
    look()
    put("mine", "two", 1)
    beat("flows/mine.lua:1: no")
    look(29)
    assert.equal("rolling", status())
    beat("flows/mine.lua:1: no")
    look(2)
    local flow = require("services.flows").stored(app, "mine")
    assert.same({ 1, "two", 1 }, { flow.active_version, flow.draft.source,
      flow.draft.base_version })
    local progress = rollout.progress(app, "mine")
    assert.same({ "failed", "flows/mine.lua:1: no" }, { progress.status, progress.reason })
    assert.same({ "published", "failed" }, { version_status(1), version_status(2) })
    assert.equal(3, rollout.revision(app))
    assert.equal("one", rollout.bundle(app).files[1].content)
  end)

  it("that was the first leaves no flow behind", function()
    put("mine", "one")
    api.now = api.now + 31000
    beat("no")
    look()
    assert.is_nil(require("services.flows").stored(app, "mine").active_version)
    assert.same({}, rollout.bundle(app).files)
  end)

  it("that some workers have loaded stays, and says who has not", function()
    local revision = put("mine", "one")
    api.now = api.now + 31000
    beat(revision, "flows/mine.lua:1: no")
    look()
    local progress = rollout.progress(app, "mine")
    assert.equal("partial", progress.status)
    assert.same({ host = "h", worker = "2", error = "flows/mine.lua:1: no" }, progress.failed[1])
    assert.equal("partial", version_status(1))
  end)

  it("without a host that takes flows ends without going back", function()
    put("mine", "one")
    look(31)
    assert.equal("no_workers", status())
    assert.equal(1, require("services.flows").stored(app, "mine").active_version)
  end)

  it("gets its revision from whoever looks next when a crash came in between", function()
    put("mine", "one")
    local flow = require("services.flows").stored(app, "mine")
    assert(app.store:insert("flow_versions", { name = "mine", version = 2, source = "two",
      sha256 = "x", by = "me", status = "published" }))
    assert(app.store:update("flows", flow._id, { set = { active_version = 2 } }))
    assert.equal(1, rollout.revision(app))
    look()
    assert.equal(2, rollout.revision(app))
    look()
    assert.equal(2, rollout.revision(app))
    assert.equal("two", rollout.bundle(app).files[1].content)
  end)
end)
