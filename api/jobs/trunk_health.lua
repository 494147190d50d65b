-- Each minute: LiveKit's trunks exist and match the carriers, else they are made so.
local livekit = require("cxb.livekit")
local sync = require("services.carriers.sync")

return {
  name = "trunk_health", every_ms = 60000,
  run = function(app)
    if not livekit.configured(app.settings) then
      return true
    end
    return sync.all(app)
  end,
}
