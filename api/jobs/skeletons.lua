-- Calls that no result ends: services/skeletons.lua.
local skeletons = require("services.skeletons")

return {
  name = "skeletons", every_ms = 60000,
  run = function(app)
    return skeletons.give_up(app, {})
  end,
}
