-- A loan long overdue: what stands open is to be paid, or a way to it agreed.
local loan = require("cxb.policy.kinds.loan")

return {
  title = "Collections: recovery of an overdue loan",
  goal = "Reach a payment of the overdue amount on a day the customer names. Where that is not "
    .. "possible find out why and agree on a part payment or a later call.",
  facts = loan.joined(loan.facts, {
    { name = "outstanding_amount", label = "Outstanding in all", kind = "amount",
      variables = { "OUTSTANDING_AMOUNT", "outstanding_amount", "total_due" } },
    { name = "overdue_amount", label = "Overdue", kind = "amount",
      variables = { "OVERDUE_AMOUNT", "overdue_amount" } },
    { name = "late_fee", label = "Late fee", kind = "amount",
      variables = { "LATE_FEE", "late_fee", "penalty_amount" } },
    { name = "days_past_due", label = "Days past due", kind = "number",
      variables = { "DPD", "days_past_due", "dpd" } },
    { name = "last_payment_amount", label = "Last payment", kind = "amount",
      variables = { "LAST_PAYMENT_AMOUNT", "last_payment_amount" } },
    { name = "last_payment_date", label = "Last payment on", kind = "date",
      variables = { "LAST_PAYMENT_DATE", "last_payment_date" } },
    { name = "settlement_amount", label = "Settlement offered", kind = "amount",
      variables = { "SETTLEMENT_AMOUNT", "settlement_amount" } },
    { name = "settlement_valid_till", label = "Settlement valid until", kind = "date",
      variables = { "SETTLEMENT_VALID_TILL", "settlement_valid_till" } },
  }),
  conduct = loan.conduct,
  scenarios = loan.joined(loan.scenarios, {
    { id = "settlement", title = "A settlement is on offer",
      when = { { fact = "settlement_amount", is = "present" } },
      instructions = "Once the customer says that the whole sum cannot be paid, name the "
        .. "settlement amount and until when it stands." },
    { id = "hardship", title = "Hardship",
      trigger = "the customer has lost income, is ill or has had a death in the family",
      instructions = "Show understanding, do not press for a date, and offer that a colleague "
        .. "calls back about the possibilities." },
    { id = "promise_to_pay", title = "Promise to pay", trigger = "the customer names a day",
      instructions = "Ask for the amount and the way of payment and read all of it back." },
    { id = "refusal", title = "Refusal", trigger = "the customer refuses to pay",
      instructions = "Ask once for the reason, say once and plainly that charges go on while the "
        .. "amount is overdue, and end the call politely." },
  }),
}
