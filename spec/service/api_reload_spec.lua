-- stores: both
-- SIGHUP: new scripts take over from old ones while requests come and go.
local process = require("support.api_process")
local support = require("support.world")

describe("a reload of the API", function()
  local world = support.new()
  after_each(function()
    world:close()
  end)

  it("answers all requests that run meanwhile, and keeps all results", function()
    local api = process.start(world)
    local run = { going = true, answered = 0, kept = {}, wrong = {} }
    local function check(answer)
      run.answered = run.answered + 1
      if answer.status ~= 200 then
        run.wrong[#run.wrong + 1] = answer.status .. " " .. tostring(answer.message or answer.body)
      end
      return answer.status == 200
    end
    local tasks = {}
    for n = 1, 6 do
      tasks[n] = cxb.task.spawn("asker", function()
        local i = 0
        while run.going do
          i = i + 1
          check(api:ask("GET", "/api/v1/bots"))
          local id = ("reload-%d-%d"):format(n, i)
          if check(api:ask("POST", "/api/v1/call-results",
            { body = { session_id = id, disconnected_by = "customer" } })) then
            run.kept[#run.kept + 1] = id
          end
        end
      end)
    end
    for generation = 2, 5 do
      local before = run.answered
      process.wait_until("requests", function()
        return run.answered >= before + 12
      end)
      api.process:kill("HUP")
      process.wait_until("generation " .. generation, function()
        return api:ask("GET", "/health").answer.generation == generation
      end)
    end
    run.going = false
    for _, task in ipairs(tasks) do
      task:wait(60000)
    end
    assert.same({}, run.wrong)
    for _, id in ipairs(run.kept) do
      assert.equal("completed", api:ask("GET", "/api/v1/calls/" .. id).answer.status, id)
    end
  end)

  it("keeps the routes there are when new ones do not load, and says where they are broken", function()
    local root = world:folder()
    local copy = world:start({ "cp", "-r", cxb.root .. "/lua", cxb.root .. "/api", root })
    assert.equal(0, copy:wait(30000))
    local api = process.start(world, { env = { CXB_ROOT = root } })
    local path = root .. "/api/routes/calls.lua"
    local good = world:read(path)
    world:write(path, good .. "\n}")
    api.process:kill("HUP")
    local health = process.wait_until("the failed reload", function()
      local answer = api:ask("GET", "/health").answer
      return answer.reload == "failed" and answer
    end)
    assert.matches("calls.lua:%d+: ", health.reload_error)
    assert.same({ "ok", 1 }, { health.status, health.generation })
    assert.equal(200, api:ask("GET", "/api/v1/calls").status)
    world:write(path, good)
    api.process:kill("HUP")
    process.wait_until("the reload", function()
      return api:ask("GET", "/health").answer.reload == "ok"
    end)
    assert.equal(200, api:ask("GET", "/api/v1/calls").status)
  end)
end)
