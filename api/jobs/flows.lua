-- Roll-outs of flows under way, and what a crash left behind: services/flows/rollout.lua.
return {
  name = "flows", every_ms = 2000,
  run = function(app)
    return require("services.flows.rollout").watch(app, require("services.flows.publishing").ended)
  end,
}
