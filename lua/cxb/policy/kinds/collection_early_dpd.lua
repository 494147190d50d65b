-- A loan a few days past due: mostly forgotten, so a reminder more than a demand.
local loan = require("cxb.policy.kinds.loan")

return {
  title = "Collections: an instalment just past due",
  goal = "Remind the customer kindly of the missed instalment and agree on the day it is paid.",
  facts = loan.joined(loan.facts, {
    { name = "overdue_amount", label = "Overdue", kind = "amount",
      variables = { "OVERDUE_AMOUNT", "overdue_amount" } },
    { name = "late_fee", label = "Late fee", kind = "amount",
      variables = { "LATE_FEE", "late_fee", "penalty_amount" } },
    { name = "days_past_due", label = "Days past due", kind = "number",
      variables = { "DPD", "days_past_due", "dpd" } },
  }),
  conduct = loan.conduct,
  scenarios = loan.joined(loan.scenarios, {
    { id = "late_fee", title = "A late fee has come up",
      when = { { fact = "late_fee", is = "present" } },
      instructions = "Mention the late fee once, together with the amount, and not as a threat." },
    { id = "mandate_failed", title = "The automatic debit failed",
      trigger = "the customer says that the amount is debited automatically",
      instructions = "Say that the debit did not go through, ask to keep the balance ready or to "
        .. "pay in another way." },
    { id = "promise_to_pay", title = "Promise to pay", trigger = "the customer names a day",
      instructions = "Read the day and the amount back." },
  }),
}
