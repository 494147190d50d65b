-- What is old enough to be forgotten: services/system/retention.lua.
local retention = require("services.system.retention")

return {
  name = "retention", every_ms = 86400000,
  run = function(app)
    return retention.erase(app)
  end,
}
