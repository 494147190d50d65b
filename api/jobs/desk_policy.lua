-- The timers of the Agent Desk: services/desk/policy.lua.
local desk_policy = require("services.desk.policy")

return {
  name = "desk_policy", every_ms = 1000,
  run = function(app)
    return desk_policy.run(app)
  end,
}
