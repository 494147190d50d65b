-- Roll-outs of flows under way, and a revision that a crash left behind: services/flow_rollout.lua.
return {
  name = "flows", every_ms = 2000,
  run = function(app)
    return require("services.flow_rollout").watch(app, require("services.flow_publishing").ended)
  end,
}
