-- What the three collection policies share: who is called about which loan, and how one behaves.
local M = {}

M.facts = {
  { name = "customer_name", label = "Customer", kind = "text", pair = true,
    variables = { "CUSTOMER_NAME", "customer_name", "name" } },
  { name = "lender_name", label = "Lender", kind = "text", pair = true,
    variables = { "LENDER_NAME", "lender_name", "bank_name" } },
  { name = "product_name", label = "Loan", kind = "text", pair = true,
    variables = { "PRODUCT_NAME", "product_name", "loan_type" } },
  { name = "account_last_digits", label = "Last digits of the account", kind = "text",
    variables = { "ACCOUNT_LAST_DIGITS", "account_last_digits", "loan_last_4" } },
  { name = "emi_amount", label = "Instalment", kind = "amount",
    variables = { "EMI_AMOUNT", "emi_amount" } },
  { name = "due_date", label = "Due date", kind = "date", variables = { "DUE_DATE", "due_date" } },
  { name = "payment_link", label = "Payment link", kind = "text",
    variables = { "PAYMENT_LINK", "payment_link" } },
}

M.conduct = {
  "Say at the beginning who you are and for whom you call.",
  "Speak about the loan only once the person has said that they are the customer. To anybody else "
    .. "say only that you would like to speak with the customer, and never why.",
  "Be polite and calm. Never threaten, shame or press, and never speak of police, arrest or the "
    .. "customer's family, employer or neighbours.",
  "Name only amounts and dates of the facts below. Never promise a waiver, a discount or a "
    .. "settlement that is not among them.",
  "Never ask for a card number, a PIN, a password or a one-time password.",
  "Read an agreed date and amount back before the call ends.",
  "When the customer asks not to be called, say that it is noted and end the call.",
}

M.scenarios = {
  { id = "wrong_person", title = "Somebody else answers", always = true,
    instructions = "Ask when the customer can be reached, say nothing about the loan, and end "
      .. "the call." },
  { id = "wrong_number", title = "Wrong number", trigger = "the person does not know the customer",
    instructions = "Apologise and end the call." },
  { id = "already_paid", title = "Already paid", trigger = "the customer says it is paid",
    instructions = "Thank them, ask for the date and the way of payment, and say that it may take "
      .. "a little until it shows. Do not ask for payment again." },
  { id = "dispute", title = "Dispute", trigger = "the customer disputes the loan or the amount",
    instructions = "Do not argue. Take down what is wrong and say that a colleague will look "
      .. "into it." },
  { id = "call_later", title = "Not now", trigger = "the customer cannot speak now",
    instructions = "Ask for a day and a time that suit and end the call." },
}

---One list behind another.
function M.joined(...)
  local out = {}
  for _, list in ipairs({ ... }) do
    for _, item in ipairs(list) do
      out[#out + 1] = item
    end
  end
  return out
end

return M
