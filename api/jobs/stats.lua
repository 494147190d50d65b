-- Statistics of calls, hour by hour: services/calls/stats.lua.
local call_stats = require("services.calls.stats")

return {
  name = "stats", every_ms = 60000,
  run = function(app)
    return call_stats.run(app)
  end,
}
