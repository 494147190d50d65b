-- An instalment that is due soon: a reminder, nothing is owed yet.
local loan = require("cxb.policy.kinds.loan")

return {
  title = "Collections: an instalment due soon",
  goal = "Remind the customer of the instalment and its day, and that the balance should be there.",
  facts = loan.joined(loan.facts, {
    { name = "days_to_due", label = "Days until it is due", kind = "number",
      variables = { "DAYS_TO_DUE", "days_to_due" } },
    { name = "payment_mode", label = "Way of payment", kind = "text",
      variables = { "PAYMENT_MODE", "payment_mode" } },
  }),
  conduct = loan.joined(loan.conduct, {
    "Nothing is overdue: never speak of a delay, a fee or consequences.",
  }),
  scenarios = loan.joined(loan.scenarios, {
    { id = "due_today", title = "It is due today",
      when = { { fact = "days_to_due", is = "equals", value = 0 } },
      instructions = "Say that today is the day, and until when a payment counts for today." },
    { id = "will_be_short", title = "The customer will not have the money",
      trigger = "the customer says that it will not be there in time",
      instructions = "Ask for the day on which it will be, and offer that a colleague calls "
        .. "back." },
  }),
}
