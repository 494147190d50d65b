local api = require("spec.support.api")
local times = require("cxb.times")

describe("the day of kept prompts", function()
  local day, app

  before_each(function()
    api.install()
    day = require("services.bots.prompt_cache_day")
    app = api.app({ LIVE_PROMPT_CACHE_PREWARM_HOUR = 7, LIVE_PROMPT_CACHE_CLEANUP_HOUR = 23,
      LIVE_PROMPT_CACHE_TTL_HOURS = 25, LIVE_PROMPT_CACHE_TIMEZONE = "Asia/Kolkata" })
  end)

  after_each(api.restore)

  local function at(moment)
    api.now = times.parse(moment)
    assert(day.run(app))
  end

  local function bot(id, fields)
    fields._id, fields.name, fields.is_active = id, id, true
    fields.llm = { provider = "openai", model = "m", base_url = "http://127.0.0.1:1" }
    assert(app.store:insert("bots", fields))
  end

  -- What was done since the last time, oldest first.
  local seen
  local function done()
    local out = {}
    for _, event in ipairs((app.store:find("live_prompt_cache_events", {}, { sort = { "at" },
      limit = 200 }))) do
      if not seen[event._id] then
        seen[event._id] = true
        out[#out + 1] = ("%s %s %s%s"):format(event.bot_id, event.action, event.result,
          event.reason and " " .. event.reason or "")
      end
    end
    table.sort(out)
    return out
  end

  before_each(function()
    seen = {}
  end)

  local direct = { mode = "direct", cache_enabled = true, static_system_prompt = "S" }
  local kept = { prompt_cache_key = "cachedContents/x", provider = "google", version = "1",
    status = "ready", expires_at = 2 ^ 45, at = 1 }

  it("knows when an hour was last, also where the clock jumps over it", function()
    local function last(zone, hour, now)
      return times.format(day.last(zone, hour, times.parse(now)))
    end
    assert.equal("2026-04-24T01:30:00.000Z", last("Asia/Kolkata", 7, "2026-04-24T01:30:00Z"))
    assert.equal("2026-04-23T01:30:00.000Z", last("Asia/Kolkata", 7, "2026-04-24T01:29:59Z"))
    assert.equal("2026-04-23T17:30:00.000Z", last("Asia/Kolkata", 23, "2026-04-24T09:00:00Z"))
    assert.equal("2026-03-29T01:00:00.000Z", last("Europe/Berlin", 2, "2026-03-29T12:00:00Z"))
    assert.equal("2026-03-29T05:00:00.000Z", last("Europe/Berlin", 7, "2026-03-29T12:00:00Z"))
  end)

  it("makes the prompts of direct bots without a policy in the morning, once", function()
    bot("a", { prompt_parts = direct })
    bot("off", { prompt_parts = { mode = "direct", static_system_prompt = "S" } })
    bot("legacy", { prompt_parts = { mode = "legacy", static_system_prompt = "S" } })
    bot("policy", { prompt_parts = direct, conversation_policy = { type = "collection_pre_due" } })
    at("2026-04-24T01:29:00Z")
    done()
    at("2026-04-24T01:30:30Z")
    assert.same({ "a prewarm ok" }, done())
    at("2026-04-24T01:31:30Z")
    at("2026-04-24T17:29:00Z")
    assert.same({}, done())
    at("2026-04-25T01:30:00Z")
    assert.same({ "a prewarm ok" }, done())
  end)

  it("forgets at night those that are not kept for good", function()
    at("2026-04-24T17:29:00Z")
    bot("day", { prompt_parts = direct, live_prompt_cache_state = kept })
    bot("good", { prompt_parts = direct, live_prompt_cache_state = kept,
      live_prompt_cache = { enabled = true } })
    bot("none", { prompt_parts = direct })
    at("2026-04-24T17:30:00Z")
    assert.same({ "day cleanup ok" }, done())
    assert.equal("none", app.store:get("bots", "day").live_prompt_cache_state.status)
    assert.equal("ready", app.store:get("bots", "good").live_prompt_cache_state.status)
  end)

  it("catches up what was missed, in its order, and says so", function()
    bot("a", { prompt_parts = direct })
    at("2026-04-24T01:30:00Z")
    done()
    app.store:update("bots", "a", { set = { live_prompt_cache_state = kept } })
    at("2026-04-26T09:00:00Z")
    assert.same({ "a cleanup ok catchup_triggered", "a prewarm ok catchup_triggered" }, done())
    assert.equal("implicit", app.store:get("bots", "a").live_prompt_cache_state.status)
  end)

  it("notes its events for 90 days", function()
    bot("a", { prompt_parts = direct })
    at("2026-04-24T01:30:00Z")
    local events = app.store:find("live_prompt_cache_events", {})
    assert.equal(90 * 86400000, events[1].expires_at - events[1].at)
  end)
end)
