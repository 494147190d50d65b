-- Steps after results that were left unfinished: services/results/fanout.lua.
local fanout = require("services.results.fanout")

return {
  name = "fanout", every_ms = 10000,
  run = function(app)
    return fanout.sweep(app)
  end,
}
