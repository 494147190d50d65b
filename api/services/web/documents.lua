-- Reading and changing one document as the wire asks for it: 404, ETag, If-Match, and null as the
-- way back to a field's default (api.md §4).
local api_keys = require("services.identity.api_keys")
local errors = require("services.web.errors")
local json = require("cxb.json")
local schema = require("cxb.schema")
local text = require("cxb.text")

local M = {}

-- A change that was read before it is written: an update by somebody else in between is met again.
local ATTEMPTS = 10
local NAME_MAX, COPY = 120, " (copy)"

---The ETag of a stored document.
---@return string
function M.etag(doc)
  return ('"%d"'):format(doc.v)
end

-- Whether the principal may see a document at all: a key sees what belongs to its bots.
local function is_visible(ctx, doc)
  if doc.deleted_at then
    return false
  end
  return doc.bot_id == nil or api_keys.reaches(ctx.principal, doc.bot_id)
end

---(waits) A document as far as the principal may see it: else there is none.
---@param what string the kind of object, for the message: "bot"
---@param options? {bulk?: boolean} of the store's get
---@return table? doc, api.error? err
function M.get(ctx, collection, id, what, options)
  local doc, err = ctx.app.store:get(collection, id, options)
  if not doc and err.code == "not_found" or (doc and not is_visible(ctx, doc)) then
    return nil, errors.not_found(what)
  elseif not doc then
    return nil, errors.of_store(err)
  end
  return doc
end

local least = {
  type = "object", properties = { id = { type = "string" }, v = { type = "integer" } },
}

-- The document as the client may see it: by `shown`, else what the route's answer lists of it.
local function visible(ctx, doc, shown)
  if shown then
    return shown(doc)
  end
  return schema.shape(ctx.route.output or least, doc)
end

---Whether If-Match, when it is given, names the document's version.
---@param shown? fun(doc: table): table as a client may see it; default: what the route answers
---@return true?, api.error? err 409 version_conflict with `current`
function M.matches(ctx, doc, shown)
  local wanted = ctx.req.headers["if-match"]
  if not wanted or wanted == "*" then
    return true
  end
  for tag in wanted:gmatch("[^,%s]+") do
    if tag:gsub("^W/", "") == M.etag(doc) then
      return true
    end
  end
  return nil, errors.new(409, "version_conflict", "The object was changed meanwhile.",
    { current = visible(ctx, doc, shown) })
end

---Parts a checked patch into {set=, unset=}; null goes back to the default.
---@param fields table object schema with the defaults
---@return {set: table, unset: string[]}
function M.operations(patch, fields)
  local ops = { set = {}, unset = {} }
  for name, value in pairs(patch) do
    local default = fields.properties[name] and fields.properties[name].default
    if value ~= json.null then
      ops.set[name] = value
    elseif default ~= nil then
      ops.set[name] = default
    else
      ops.unset[#ops.unset + 1] = name
    end
  end
  return ops
end

---(waits) Reads a document, asks what to change, writes it if it is still the one that was read.
---@param ctx table
---@param collection string
---@param id string
---@param what string
---@param change fun(doc: table): table|false|nil, api.error? {set=, unset=}; false: nothing is
--- written; nil and an error refuses
---@param shown? fun(doc: table): table for `current` of a version conflict
---@return table? doc after, table|api.error before_or_err
function M.change(ctx, collection, id, what, change, shown)
  for _ = 1, ATTEMPTS do
    local doc, err = M.get(ctx, collection, id, what)
    if not doc then
      return nil, err
    end
    local ok, refused = M.matches(ctx, doc, shown)
    if not ok then
      return nil, refused
    end
    local ops
    ops, refused = change(doc)
    if ops == false then
      return doc, doc
    elseif not ops then
      return nil, refused
    end
    local after
    after, err = ctx.app.store:update(collection, id, ops, { expect = { v = doc.v } })
    if after then
      return after, doc
    elseif err.code ~= "conflict" and err.code ~= "not_found" then
      return nil, errors.of_store(err)
    end
  end
  return nil, errors.new(409, "conflict", "The object is changed by too many at once.")
end

---(waits) Changes the fields of a checked patch.
---@param fields table object schema with the defaults
---@param shown? fun(doc: table): table
---@return table? doc after, table|api.error before_or_err
function M.patch(ctx, collection, id, what, patch, fields, shown)
  return M.change(ctx, collection, id, what, function()
    return M.operations(patch, fields)
  end, shown)
end

---How a copy is called that nobody gave a name.
---@return string
function M.name_of_copy(name)
  return text.limit_characters(name, NAME_MAX - #COPY) .. COPY
end

return M
