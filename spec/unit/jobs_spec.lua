-- stores: both
local api = require("spec.support.api")

describe("a job", function()
  local Jobs, app, runs, job

  before_each(function()
    api.install()
    Jobs = require("services.system.jobs")
    app = api.app()
    runs = 0
    job = { name = "work", every_ms = 10000, run = function(given)
      assert.equal(app, given)
      runs = runs + 1
    end }
  end)

  after_each(api.restore)

  local function process()
    return Jobs.new(app, { job })
  end

  it("is done by the process that holds its lock, and by nobody else", function()
    local one, two = process(), process()
    one:tick("work")
    two:tick("work")
    assert.equal(1, runs)
    api.now = api.now + 10000
    two:tick("work")
    assert.equal(1, runs)
    one:tick("work")
    assert.equal(2, runs)
  end)

  it("is taken over when its holder has not been heard of for 15 s, with what was due", function()
    local one, two = process(), process()
    one:tick("work")
    api.now = api.now + 14999
    two:tick("work")
    assert.equal(1, runs)
    api.now = api.now + 1
    two:tick("work")
    assert.equal(2, runs)
    one:tick("work")
    assert.equal(2, runs)
  end)

  it("is another's at once when its holder stops", function()
    local one, two = process(), process()
    one:tick("work")
    one:stop()
    api.now = api.now + 10000
    two:tick("work")
    assert.equal(2, runs)
    one:tick("work")
    assert.equal(2, runs)
  end)

  it("stays its holder's while it runs, however long that takes", function()
    local one, two = process(), process()
    job.run = function()
      runs = runs + 1
      for _ = 1, 10 do
        api.now = api.now + 5000
        one:renew("work")
        two:tick("work")
      end
    end
    one:tick("work")
    assert.equal(1, runs)
  end)

  it("is not due before its time, also after a restart", function()
    local one = process()
    one:tick("work")
    api.now = api.now + 5000
    one:tick("work")
    assert.equal(1, runs)
    one:stop()
    local two = process()
    two:tick("work")
    assert.equal(1, runs)
    api.now = api.now + 5000
    two:tick("work")
    assert.equal(2, runs)
  end)

  it("that fails is logged, counted, and done again at its next time", function()
    local logged, counted = {}, 0
    rawset(cxb.log, "error", function(_, fields)
      logged[#logged + 1] = fields.error
    end)
    rawset(cxb.metrics, "count", function(name, labels)
      counted = counted + (name == "cxb_job_failures_total" and labels.job == "work" and 1 or 0)
    end)
    local failing = { function() error("broken") end, function() return nil, { message = "away" } end }
    job.run = function()
      runs = runs + 1
      if failing[runs] then
        return failing[runs]()
      end
    end
    local one = process()
    for _ = 1, 3 do
      one:tick("work")
      one:tick("work")
      api.now = api.now + 10000
    end
    assert.equal(3, runs)
    assert.equal(2, counted)
    assert.matches("broken", logged[1])
    assert.equal("away", logged[2])
    assert.equal(api.now - 10000, app.store:get("system_runtime", "work").last_run_at)
  end)

  it("of every process needs no lock", function()
    job.everywhere = true
    process():tick("work")
    process():tick("work")
    assert.equal(2, runs)
    assert.equal(0, app.store:count("locks", {}))
  end)

  it("is not begun twice, and what woke it meanwhile is seen to", function()
    local one = process()
    job.run = function()
      runs = runs + 1
      if runs == 1 then
        one:tick("work")
        one:tick("work", true)
      end
    end
    one:tick("work")
    assert.equal(2, runs)
  end)

  it("without a name or a time does not load", function()
    local folder = os.tmpname()
    os.remove(folder)
    assert(cxb.fs.mkdir(folder))
    package.loaded["jobs.nameless"] = { run = print }
    assert(cxb.fs.write(folder .. "/nameless.lua", ""))
    local ok, why = pcall(Jobs.load, folder)
    package.loaded["jobs.nameless"] = nil
    cxb.fs.remove(folder .. "/nameless.lua")
    cxb.fs.remove(folder)
    assert.is_false(ok)
    assert.matches("nameless", why)
  end)
end)
