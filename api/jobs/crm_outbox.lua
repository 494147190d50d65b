-- Deliveries to CRMs: services/crm/outbox.lua. Every process sends; each row has one sender.
local crm_outbox = require("services.crm.outbox")

cxb.metrics.declare({
  { name = "cxb_crm_deliveries", type = "gauge", help = "Deliveries to CRMs that are not done." },
  { name = "cxb_crm_oldest_pending_seconds", type = "gauge",
    help = "Age of the oldest delivery that is not done." },
  { name = "cxb_crm_attempts_total", type = "counter", help = "Attempts by what came of them." },
})

local outbox

return {
  name = "crm_outbox", every_ms = 1000, everywhere = true,
  run = function(app)
    outbox = outbox or crm_outbox.new(app)
    outbox:measure()
    return outbox:turn()
  end,
}
