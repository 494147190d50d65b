-- waits: 15
-- Background jobs of several processes on one store.
local Campaigns = require("support.campaigns")
local process = require("support.api_process")
local support = require("support.world")

describe("jobs of two processes", function()
  local world, site, one, two

  before_each(function()
    world = support.new()
    site = Campaigns.start(world)
    one = site.api
    local env = {}
    for name, value in pairs(one.env) do
      env[name] = value
    end
    local dir = world:folder()
    env.CXB_RUN_DIR, env.CXB_API_LISTEN = dir, "unix:" .. dir .. "/api.sock"
    two = process.start(world, { dir = dir, env = env })
  end)

  after_each(function()
    site:close()
    world:close()
  end)

  local function owner(job)
    local lock = site.store:get("locks", job)
    local lease = lock and lock.lease
    return lease and lease["until"] > cxb.time.now() and lease.owner:match("^%d+") or nil
  end

  local function held_by(api, job)
    return function()
      return owner(job) == tostring(api.process.pid)
    end
  end

  -- Which of the two has a job, and the other.
  local function holder(job)
    process.wait_until("a holder", function()
      return owner(job)
    end)
    if held_by(one, job)() then
      return one, two
    end
    return two, one
  end

  it("are one's; the other's at once when that is told to end; the next generation's", function()
    one, two = holder("sweep")
    one.process:kill("TERM")
    assert.equal(0, (one.process:wait(60000)))
    for _, job in ipairs({ "sweep", "fanout", "skeletons", "retention" }) do
      assert.not_equal(tostring(one.process.pid), owner(job), job)
    end
    process.wait_until("the other", held_by(two, "sweep"))
    process.wait_until("a run", function()
      local row = site.store:get("system_runtime", "sweep")
      return row and row.last_run_at
    end)
    two.process:kill("HUP")
    process.wait_until("the next generation", function()
      local lock = site.store:get("locks", "sweep").lease
      return lock["until"] > cxb.time.now()
        and lock.owner:match("^" .. two.process.pid .. "%-2%-")
    end)
    process.wait_until("the time of a run in the metrics", function()
      return two:ask("GET", "/metrics").body:match(
        'cxb_job_last_success_timestamp_seconds{job="sweep"} %d')
    end)
  end)
end)
