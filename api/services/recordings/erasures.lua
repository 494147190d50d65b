-- Erased recordings of which a host may have a copy that said nothing when their call was erased
-- (api.md §5.8): it is asked when it is there again, and what it has uploaded since goes out of the
-- object store. A host that does not come back in thirty days is given up.
local fleet = require("services.fleet")
local recording_store = require("services.recordings.store")

local M = {}

local KEPT_MS, BATCH = 30 * 86400000, 200

---(waits) Notes hosts to be asked; may be repeated.
---@param key? string nil: there is no recording
---@param addresses string[] base URLs
---@return true?, table? err of the store
function M.remember(app, key, addresses)
  for _, base_url in ipairs(key and addresses or {}) do
    local row, err = app.store:upsert("erasures", { base_url = base_url, key = key },
      { set = { expires_at = cxb.time.now() + KEPT_MS } })
    if not row then
      return nil, err
    end
  end
  return true
end

-- (waits) What a host that is there was not asked for yet, up to what fails: that comes after all
-- others the next time.
local function ask(app, base_url)
  repeat
    local rows, err = app.store:find("erasures", { base_url = base_url },
      { sort = { "updated_at" }, limit = BATCH })
    if not rows then
      return nil, err
    end
    for _, row in ipairs(rows) do
      local gone, why = recording_store.remove_copy(app, base_url, row.key)
      if not gone then
        cxb.log.warn("a copy of an erased recording stays for now", { error = why })
        local last, failed = app.store:update("erasures", row._id,
          { set = { expires_at = row.expires_at } })
        return last and true, failed
      end
      local done, failed = app.store:delete("erasures", row._id)
      if not done and failed.code ~= "not_found" then
        return nil, failed
      end
    end
  until #rows < BATCH
  return true
end

---(waits) Asks the hosts that are there.
---@return true?, table? err
function M.run(app)
  local one, err = app.store:find("erasures", {}, { limit = 1 })
  local hosts = one and one[1] and fleet.hosts(app) or {}
  for _, host in ipairs(hosts) do
    local done, failed = ask(app, host.base_url)
    if not done then
      return nil, failed
    end
  end
  return one and true, err
end

return M
