-- Finishes what a crash has left of stop, restart and upload; counts contacts of running campaigns.
local campaign_steps = require("services.campaigns.steps")

return {
  name = "campaign_steps", every_ms = 5000,
  run = function(app)
    local ok, err = campaign_steps.sweep(app)
    if not ok then
      return nil, err
    end
    return campaign_steps.count_running(app)
  end,
}
