-- Calls that no result ends: services/system/skeletons.lua.
local fleet = require("services.fleet")
local skeletons = require("services.system.skeletons")

return {
  name = "skeletons", every_ms = 60000,
  run = function(app)
    local hosts, err = fleet.hosts(app)
    if not hosts then
      return nil, err
    end
    local live = {}
    for _, host in ipairs(hosts) do
      for _, worker in ipairs(host.info.workers or {}) do
        live[worker.session_id or ""] = true
      end
    end
    return skeletons.give_up(app, live)
  end,
}
