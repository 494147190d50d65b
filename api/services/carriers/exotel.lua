-- The Exotel integration (api.md §5.14): an account, its numbers and the bots that answer them, and
-- a call to try one.
local dids = require("services.carriers.dids")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local fleet = require("services.fleet")
local json = require("cxb.json")
local schemas = require("schemas.exotel")
local tenant_url = require("services.web.tenant_url")
local url = require("cxb.url")
local vault = require("services.identity.vault")

local M = {}

local TIMEOUT_MS, FIELD_MAX = 15000, 128

---(waits) The integration's document, made on first read.
---@return table? doc, api.error? err
function M.document(app)
  local doc, err = app.store:upsert("integrations", { type = "exotel" },
    { on_insert = { dids = json.array() } })
  if not doc then
    return nil, errors.of_store(err)
  end
  return doc
end

local function configured(doc)
  return doc.account_sid ~= nil and doc.api_key ~= nil and doc.api_token ~= nil
end

local function shown_did(did, base)
  local out = {}
  for name, value in pairs(did) do
    out[name] = value
  end
  out.websocket_url = did.bot_id and base
    and ("%s/exotel/%s"):format(fleet.socket_base(base), did.bot_id) or nil
  return out
end

---(waits) As it is shown: no credential.
function M.shown(app, doc)
  local base, list = fleet.first_base(app), json.array()
  for i, did in ipairs(doc.dids or {}) do
    list[i] = shown_did(did, base)
  end
  return {
    account_sid = doc.account_sid, configured = configured(doc), dids = list,
    api_base_url = doc.api_base_url or schemas.input.properties.api_base_url.default,
    api_key_configured = doc.api_key ~= nil, api_token_configured = doc.api_token ~= nil,
  }
end

---(waits)
---@return table? doc, api.error? err
function M.change(ctx, patch)
  local app = ctx.app
  local base = patch.api_base_url
  local why = base and base ~= json.null and tenant_url.refused(app, base)
  if why then
    return nil, errors.new(422, "url_not_allowed", "The address may not be reached.",
      { fields = { { path = "api_base_url", rule = "url_not_allowed", message = why } } })
  end
  for _, name in ipairs(schemas.secrets) do
    local value = patch[name]
    if value == "" then
      patch[name] = nil
    elseif value and value ~= json.null then
      patch[name] = vault.seal(app, value)
    end
  end
  local doc, err = M.document(app)
  if not doc then
    return nil, err
  end
  return documents.patch(ctx, "integrations", doc._id, "integration", patch, schemas.input)
end

local function with_dids(ctx, doc, change)
  return documents.change(ctx, "integrations", doc._id, "integration", function(found)
    local list = json.array({ unpack(found.dids or {}) })
    local ok, err = change(list, found)
    return ok and { set = { dids = list } }, err
  end)
end

local function check_did(app, did)
  local ok, err = dids.check_bot(app, did.bot_id)
  local why = ok and did.flow_url and tenant_url.refused(app, did.flow_url)
  if why then
    return nil, errors.new(422, "url_not_allowed", "The address may not be used.",
      { fields = { { path = "flow_url", rule = "url_not_allowed", message = why } } })
  end
  return ok, err
end

---(waits)
---@return table? did, api.error? err
function M.add_did(ctx, did)
  local app = ctx.app
  local doc, err = M.document(app)
  local ok = doc
  if ok then
    ok, err = check_did(app, did)
  end
  if not ok then
    return nil, err
  end
  did.id = app.store:id("did")
  ok, err = dids.claim(app, did, "exotel", doc._id)
  if ok then
    ok, err = with_dids(ctx, doc, function(list)
      list[#list + 1] = did
      return true
    end)
    if not ok then
      dids.release(app, did)
    end
  end
  if not ok then
    return nil, err
  end
  return shown_did(did, fleet.first_base(app))
end

local function find_did(ctx, did_id)
  local doc, err = M.document(ctx.app)
  if not doc then
    return nil, err
  end
  local did = dids.of(doc, did_id)
  if not did then
    return nil, errors.not_found("number")
  end
  return doc, did
end

---(waits)
---@return table? did, api.error? err
function M.change_did(ctx, did_id, patch)
  local app = ctx.app
  local doc, old = find_did(ctx, did_id)
  if not doc then
    return nil, old
  end
  local new = {}
  for name, value in pairs(old) do
    new[name] = value
  end
  for name, value in pairs(patch) do
    new[name] = value ~= json.null and value or nil
  end
  if not new.number then
    return nil, errors.invalid({ { path = "number", rule = "required", message = "is required" } })
  end
  local moved = new.number ~= old.number
  local ok, err = check_did(app, new)
  if ok and moved then
    ok, err = dids.claim(app, new, "exotel", doc._id)
  end
  if not ok then
    return nil, err
  end
  ok, err = with_dids(ctx, doc, function(list, found)
    local _, at = dids.of(found, did_id)
    if at then
      list[at] = new
    end
    return at, not at and errors.not_found("number") or nil
  end)
  if moved then
    dids.release(app, ok and old or new)
  end
  if not ok then
    return nil, err
  end
  dids.assign(app, new)
  return shown_did(new, fleet.first_base(app))
end

---(waits)
---@return table? did, api.error? err
function M.remove_did(ctx, did_id)
  local doc, did = find_did(ctx, did_id)
  if not doc then
    return nil, did
  end
  local ok, err = with_dids(ctx, doc, function(list, found)
    local _, at = dids.of(found, did_id)
    if at then
      table.remove(list, at)
    end
    return true
  end)
  if not ok then
    return nil, err
  end
  dids.release(ctx.app, did)
  return did
end

---(waits) The numbers that can be tried, and why others cannot.
---@return table? options, api.error? err
function M.options(app)
  local doc, err = M.document(app)
  if not doc then
    return nil, err
  end
  local list = json.array()
  for i, did in ipairs(doc.dids or {}) do
    local why = not configured(doc) and "not_configured" or not did.flow_url and "flow_url_missing"
      or not did.bot_id and "bot_missing" or nil
    list[i] = { did_id = did.id, number = did.number, label = did.label, bot_id = did.bot_id,
      ready = why == nil, reason = why }
  end
  return { configured = configured(doc), items = list }
end

-- What the provider says, in either of its formats.
local function message_of(answer)
  local body = json.decode_object(answer.body or "") or {}
  local told = type(body.RestException) == "table" and body.RestException.Message
    or (answer.body or ""):match("<Message>(.-)</Message>")
  return type(told) == "string" and told:sub(1, 300)
    or ("Exotel answered %d."):format(answer.status)
end

local function sid_of(answer)
  local body = json.decode_object(answer.body or "") or {}
  local call = type(body.Call) == "table" and body.Call or {}
  return call.Sid or (answer.body or ""):match("<Sid>(.-)</Sid>")
end

---(waits) Exotel calls `to_number` and connects it with the number's flow.
---@return {status: string, call_sid: string}? answer, api.error? err
function M.test_call(ctx, did_id, to_number)
  local app = ctx.app
  local doc, did = find_did(ctx, did_id)
  if not doc then
    return nil, did
  elseif not configured(doc) or not did.flow_url then
    return nil, errors.new(409, "not_configured",
      "The account's credentials and the number's flow_url are needed.")
  end
  local base = (doc.api_base_url or schemas.input.properties.api_base_url.default):gsub("/+$", "")
  local login = ("%s:%s"):format(vault.open(app, doc.api_key) or "",
    vault.open(app, doc.api_token) or "")
  local answer, code, message = cxb.http.request({
    url = ("%s/v1/Accounts/%s/Calls/connect"):format(base, url.escape(doc.account_sid)),
    method = "POST", timeout_ms = TIMEOUT_MS, max_body = 65536,
    public_only = tenant_url.exceptions(app),
    headers = { authorization = "Basic " .. cxb.crypto.base64(login),
      ["content-type"] = "application/x-www-form-urlencoded" },
    body = url.encode_query({ { "From", to_number }, { "CallerId", did.number },
      { "Url", did.flow_url }, { "CallType", "trans" },
      { "CustomField", ("cxb-test:" .. did.id):sub(1, FIELD_MAX) } }),
  })
  if not answer then
    cxb.log.warn("Exotel cannot be reached", { code = code, error = message })
    return nil, errors.new(502, "upstream_failed",
      ("Exotel cannot be reached: %s."):format(code))
  elseif answer.status < 200 or answer.status > 299 then
    return nil, errors.new(502, "upstream_failed", message_of(answer))
  end
  return { status = "ok", call_sid = sid_of(answer) }
end

return M
