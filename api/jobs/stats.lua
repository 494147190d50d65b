-- Statistics of calls, hour by hour: services/call_stats.lua.
local call_stats = require("services.call_stats")

return {
  name = "stats", every_ms = 60000,
  run = function(app)
    return call_stats.run(app)
  end,
}
