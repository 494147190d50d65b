-- Steps after results that were left unfinished: services/fanout.lua.
local fanout = require("services.fanout")

return {
  name = "fanout", every_ms = 10000,
  run = function(app)
    return fanout.sweep(app)
  end,
}
