-- Copies of erased recordings on hosts that were away: services/recordings/erasures.lua.
local erasures = require("services.recordings.erasures")

return {
  name = "erasures", every_ms = 60000,
  run = function(app)
    return erasures.run(app)
  end,
}
