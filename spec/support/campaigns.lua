-- Campaigns for specs that run a real API: made over the wire, their contacts' states set in the
-- store as the Dialler would.
local process = require("support.api_process")

local M = {}
M.__index = M

---@param world table
---@param options? table of support.api_process
function M.start(world, options)
  local self = setmetatable({ world = world, api = process.start(world, options) }, M)
  local env = self.api.env
  self.store = assert(require("cxb.store").open({
    path = env.CXB_STATE_DIR .. "/cxb.db", uri = env.MONGODB_URI, database = env.MONGODB_DB,
  }))
  self.did = "did_1"
  assert(self.store:insert("carriers", { name = "Carrier", dids = {
    { id = self.did, number = "+918000000001", direction = "both" },
    { id = "did_in", number = "+918000000002", direction = "inbound" } } }))
  return self
end

function M:close()
  self.store:close()
end

---(waits) A request below /api/v1.
function M:ask(verb, path, body, more)
  local options = { body = body }
  for name, value in pairs(more or {}) do
    options[name] = value
  end
  return self.api:ask(verb, "/api/v1" .. path, options)
end

---(waits) A draft whose windows are always open.
function M:campaign(config, fields)
  local all_day = { start = "00:00", ["end"] = "00:00", timezone = "Asia/Kolkata" }
  local body = { name = "March", bot_id = "demo", number_pool = { self.did }, config = {
    campaign_mode = "multi_day", time_window = all_day, contact_window = { enabled = false },
  } }
  for name, value in pairs(config or {}) do
    body.config[name] = value
  end
  for name, value in pairs(fields or {}) do
    body[name] = value
  end
  local made = self:ask("POST", "/campaigns", body)
  assert(made.status == 201, made.body)
  return made.answer
end

---(waits) Uploads a CSV text.
function M:upload(id, text, query)
  return self:ask("POST", "/campaigns/" .. id .. "/upload" .. (query or ""), text,
    { headers = { ["content-type"] = "text/csv" } })
end

---A list of n different numbers.
function M.numbers(n, first)
  local rows = { "phone_number,name" }
  for i = 1, n do
    rows[i + 1] = ("98%08d,Person %d"):format((first or 10000000) + i, i)
  end
  return table.concat(rows, "\n") .. "\n"
end

---(waits) The campaign once nothing works on its contacts.
function M:settled(id)
  local found
  process.wait_until("nothing works on the contacts", function()
    found = self:ask("GET", "/campaigns/" .. id).answer
    return found.job == require("cxb.json").null or found.job == nil
  end)
  return found
end

---(waits) Sets a campaign's fields as if somebody else had.
function M:set(id, fields)
  return assert(self.store:update("campaigns", id, { set = fields }))
end

---(waits) The contacts of a campaign by number.
function M:contacts(id)
  local found = assert(self.store:find("campaign_calls", { campaign_id = id },
    { limit = 1000, sort = { "run_number", "phone_number" } }))
  return found
end

return M
