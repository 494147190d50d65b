-- Idempotency-Key (api.md §4): a request that is sent again within a day gets the first answer
-- again, and nothing happens twice. Kept by who asked, route and key.
local errors = require("services.web.errors")
local json = require("cxb.json")

local M = {}

local COLLECTION, KEPT_MS = "idempotency", 86400000

-- After these nothing has happened yet: the request may be tried again with the same key, or
-- corrected, whether its schema or its handler found what is not valid.
local passing = { [429] = true, [503] = true }

local function is_passing(err)
  return passing[err.status] or err.code == "validation_failed"
end

local function hash(...)
  return cxb.crypto.hex(cxb.crypto.sha256(table.concat({ ... }, "\n")))
end

local function id_of(ctx, key)
  local who = ctx.principal
  return hash(who.kind, who.id or "", ctx.req.method, ctx.req.path, key)
end

local function in_progress(message)
  return errors.new(409, "in_progress", message, { headers = { ["retry-after"] = "1" } })
end

local function replay(found, request_hash)
  if found.request_hash ~= request_hash then
    return nil, errors.new(422, "idempotency_mismatch",
      "This Idempotency-Key was used for another request.")
  elseif found.state ~= "done" then
    return nil, in_progress("The first request with this Idempotency-Key has not been answered;"
      .. " if it never is, use another key.")
  end
  return { replay = found }
end

---(waits) Before the handler: nil when the route has no key, {replay=} when it was answered before,
---{id=} when it is the first; false and the refusal.
function M.begin(route, ctx)
  local key = route.idempotent and ctx.req.headers["idempotency-key"]
  if not key then
    return nil
  elseif #key > 128 or #key < 1 then
    return false, errors.invalid({ { path = "Idempotency-Key", rule = "length",
      message = "1 to 128 characters" } })
  end
  local store, id = ctx.app.store, id_of(ctx, key)
  local request_hash = hash(ctx.raw or "")
  for _ = 1, 3 do
    local now = cxb.time.now()
    local doc, err = store:insert(COLLECTION, { _id = id, state = "running",
      request_hash = request_hash, expires_at = now + KEPT_MS })
    if doc then
      return { id = id }
    elseif err.code ~= "duplicate" then
      return false, errors.of_store(err)
    end
    local found
    found, err = store:get(COLLECTION, id)
    if found and found.expires_at > now then
      local answer, refused = replay(found, request_hash)
      return answer or false, refused
    elseif found then
      store:delete(COLLECTION, id, { expect = { v = found.v } })
    elseif err.code ~= "not_found" then
      return false, errors.of_store(err)
    end
  end
  return false, in_progress("Another request with this Idempotency-Key is being answered.")
end

---What is answered again.
---@return table answer
function M.again(found)
  return { status = found.status, body = found.body and found.body.text,
    headers = { ["idempotent-replay"] = "true" } }
end

---(waits) After the handler: keeps what is answered.
---@param answer? table {status?, body? text}
---@param err? api.error
function M.finish(ctx, id, answer, err)
  local store = ctx.app.store
  local ok
  if not answer and is_passing(err) then
    ok, err = store:delete(COLLECTION, id)
  else
    local status = answer and (answer.status or ctx.route.status or 200) or err.status
    local text = answer and answer.body or err and errors.body(err, ctx.request_id)
    ok, err = store:update(COLLECTION, id, { set = { state = "done", status = status,
      body = text and { text = text } or json.null } })
  end
  if not ok then
    cxb.log.error("an idempotent answer is not kept", { error = err.message })
  end
end

return M
