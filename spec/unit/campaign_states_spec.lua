local states = require("cxb.campaign.states")

local all = {}
for _, kind in ipairs({ "waiting", "active", "terminal" }) do
  for _, state in ipairs(states[kind]) do
    all[#all + 1] = state
  end
end

-- Rows 2–20 of the table of transitions, written out once more: from → to, by.
local legal = {
  leased = { pending = "D", scheduled = "D", retry_scheduled = "D", callback_scheduled = "D",
    dnc = "D", dialling = "D", manual_stopped = "D", window_closed = "D" },
  dialling = { ringing = "D", amd_screening = "D", attaching = "D", retry_scheduled = "D",
    exhausted = "D", pending = "D", scheduled = "D", callback_scheduled = "D" },
  ringing = { amd_screening = "D", attaching = "D", retry_scheduled = "D", exhausted = "D",
    pending = "D", scheduled = "D", callback_scheduled = "D" },
  amd_screening = { attaching = "D", amd_machine = "D", retry_scheduled = "D", exhausted = "D" },
  attaching = { in_progress = "D", abandoned = "D", retry_scheduled = "D", exhausted = "D",
    _processing = "A" },
  in_progress = { _processing = "AD" },
  _processing = { _processing = "D", completed = "AD", retry_scheduled = "AD", exhausted = "AD",
    callback_scheduled = "AD", dnc = "AD" },
}
for _, state in ipairs(states.waiting) do
  legal[state] = { leased = "D", window_closed = "AD", manual_stopped = "AD", dnc = "AD" }
end

describe("a contact's transition", function()
  it("is one of the table's or none, for every pair of states and every actor", function()
    for _, from in ipairs(all) do
      for _, to in ipairs(all) do
        for _, by in ipairs({ "A", "D" }) do
          local expected = ((legal[from] or {})[to] or ""):find(by, 1, true) ~= nil
          assert.equal(expected, states.allowed(from, to, by), from .. " " .. to .. " " .. by)
          assert.equal(expected, (pcall(states.check, from, to, by)))
        end
      end
    end
  end)
end)
