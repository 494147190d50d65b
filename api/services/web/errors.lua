-- The one shape of an error answer (api.md §4).
local json = require("cxb.json")

local M = {}

-- Codes of the store as the client sees them.
local from_store = {
  unavailable = { 503, "store_unavailable", "The store cannot be reached." },
  not_found = { 404, "not_found", "There is no such object." },
  conflict = { 409, "conflict", "The object was changed meanwhile." },
  duplicate = { 409, "duplicate", "It exists already." },
  too_large = { 413, "too_large", "The object is larger than the store can hold." },
  bad_cursor = { 400, "invalid_query", "The cursor does not belong to this list." },
}

---@class api.error
---@field status integer
---@field code string
---@field message string
---@field fields? table[]
---@field headers? table<string, string>
---@field current? table the stored document, of a version conflict
---@field more? table other fields of the body, by name

---What is away, by its code `…_unavailable`, may be asked for again: Retry-After says when.
---@return api.error
function M.new(status, code, message, more)
  local err = { status = status, code = code, message = message }
  for key, value in pairs(more or {}) do
    err[key] = value
  end
  if code:match("_unavailable$") then
    err.headers = err.headers or { ["retry-after"] = "2" }
  end
  return err
end

local SAY_AGAIN_MS = 1000
local said_at, unsaid = nil, 0

-- While the store is away every request finds that out: one line a second says it for all.
local function say_unavailable(err)
  local now = cxb.time.mono()
  if said_at and now >= said_at and now - said_at < SAY_AGAIN_MS then
    unsaid = unsaid + 1
    return
  end
  cxb.log.error("store unavailable", { error = err.message, cause = err.cause, unlogged = unsaid })
  said_at, unsaid = now, 0
end

---An error of the store; what the client need not know goes to the log.
---@return api.error
function M.of_store(err)
  local known = from_store[err.code]
  if not known then
    error("store: " .. tostring(err.code) .. ": " .. tostring(err.message))
  end
  local out = M.new(known[1], known[2], known[3])
  if err.code == "unavailable" then
    say_unavailable(err)
  end
  return out
end

---@return api.error
function M.not_found(what)
  return M.new(404, "not_found", ("There is no such %s."):format(what or "object"))
end

---@return api.error
function M.invalid(fields)
  local paths = {}
  for i, field in ipairs(fields) do
    paths[i] = field.path
  end
  return M.new(422, "validation_failed", "Not valid: " .. table.concat(paths, ", ") .. ".",
    { fields = fields })
end

---@param err api.error
---@return string body
function M.body(err, request_id)
  local pairs_in_order = {
    { "error", err.code }, { "message", err.message }, { "detail", err.message },
    { "request_id", request_id }, { "fields", err.fields and json.array(err.fields) or nil },
    { "current", err.current },
  }
  for name, value in pairs(err.more or {}) do
    pairs_in_order[#pairs_in_order + 1] = { name, value }
  end
  return json.encode(json.object(pairs_in_order))
end

return M
