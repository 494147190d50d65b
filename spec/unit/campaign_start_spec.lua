-- stores: both
local api = require("support.api")
local campaign_start = require("services.campaigns.start")
local times = require("cxb.times")

describe("a campaign that is to be started", function()
  local app

  setup(api.install)
  teardown(api.restore)

  before_each(function()
    api.now = times.parse("2026-04-24T12:00:00+05:30")
    app = api.app({ LIVEKIT_URL = "ws://livekit.example" })
    assert(app.store:insert("bots", { _id = "b", name = "b", is_active = true }))
    assert(app.store:insert("carriers", { _id = "car_1", name = "c", dids = {
      { id = "d1", number = "+918000000001", direction = "outbound" } } }))
  end)

  local function reasons(config, zone_key)
    local campaign = { _id = app.store:id("cmp"), bot_id = "b", number_pool = { "d1" },
      status = "draft", run_number = 1, config = {
        concurrency_limit = 5, campaign_mode = "multi_day",
        time_window = { start = "09:00", ["end"] = "18:00", timezone = "Asia/Kolkata" },
        contact_window = { enabled = true, start = "08:00", ["end"] = "21:00" } } }
    for name, value in pairs(config or {}) do
      campaign.config[name] = value
    end
    assert(app.store:insert("campaign_calls", { campaign_id = campaign._id, upload_id = "u",
      run_number = 1, phone_number = "+919876543210", variables = {}, status = "pending",
      attempts_made = 0, zone_key = zone_key or "Asia/Kolkata" }))
    return table.concat(assert(campaign_start.reasons(app, campaign)), " ")
  end

  it("needs trunks of its carriers where LiveKit places the calls", function()
    assert.equal("carrier_without_trunk", reasons())
    assert(app.store:update("carriers", "car_1", { set = { lk_outbound_trunk_id = "ST_1" } }))
    assert.equal("", reasons())
    app.settings.LIVEKIT_URL = nil
    assert(app.store:update("carriers", "car_1", { unset = { "lk_outbound_trunk_id" } }))
    assert.equal("", reasons())
  end)

  it("needs a bot that is active and a window that is one", function()
    app.settings.LIVEKIT_URL = nil
    assert(app.store:update("bots", "b", { set = { is_active = false } }))
    assert.equal("bot_missing window_invalid", reasons({ time_window = { start = "noon",
      ["end"] = "18:00", timezone = "Asia/Kolkata" } }))
  end)

  it("for a single day needs that day's window", function()
    app.settings.LIVEKIT_URL = nil
    assert.equal("", reasons({ campaign_mode = "single_day" }))
    api.now = times.parse("2026-04-24T18:00:00+05:30")
    assert.equal("window_never_opens", reasons({ campaign_mode = "single_day" }))
    assert.equal("", reasons())
  end)

  it("needs a contact whose own window opens, too", function()
    app.settings.LIVEKIT_URL = nil
    local early = { time_window = { start = "09:00", ["end"] = "11:00",
      timezone = "Asia/Kolkata" } }
    assert.equal("window_never_opens", reasons(early, "America/New_York"))
    assert.equal("", reasons(early, "Asia/Dubai"))
  end)
end)
