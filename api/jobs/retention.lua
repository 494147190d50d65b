-- What is old enough to be forgotten: services/retention.lua.
local retention = require("services.retention")

return {
  name = "retention", every_ms = 86400000,
  run = function(app)
    return retention.erase(app)
  end,
}
