-- Commands of the store on MongoDB: how they are asked, and what their failures mean.
local words = require("cxb.store.mongo_query")

local own = words.own

local M = { DUPLICATE = 11000 }

---A write counts once a majority has it in its journal.
M.concern = own("w", "majority", "j", true, "wtimeout", 5000)

---What a failed command means to the store's callers.
---@return {code: string, message: string, cause?: string}
function M.failure(code, message)
  if code == "too_large" then
    return { code = code, message = message }
  end
  return { code = "unavailable", message = tostring(message or code), cause = code }
end

-- Which unique key `doc` breaks: the server's word for it or, where a look-alike has none, what is
-- found.
local function broken_key(self, name, doc, reply)
  local text = reply and reply.errmsg or ""
  if reply and reply.keyPattern and reply.keyPattern._id then
    return "_id"
  end
  local unique = self.collections[name].unique
  for _, index in ipairs(unique) do
    if text:find("[ _]" .. index.name:gsub("%-", "%%-") .. "[ ']") then
      return table.concat(index.fields, ",")
    end
  end
  local keys = { { "_id" } }
  for i, index in ipairs(unique) do
    keys[i + 1] = index.fields
  end
  for _, fields in ipairs(keys) do
    local filter = own()
    for i, field in ipairs(fields) do
      filter[i] = { field, words.document(self.collections[name], doc)[field] }
    end
    local found = self.client:run(self.database, own("count", name, "query", filter, "limit", 1))
    if found and found.n > 0 then
      return table.concat(fields, ",")
    end
  end
  return "_id"
end

---The error of a document that breaks a unique key.
---@param doc table what was to be written
---@param reply table the server's complaint
function M.duplicate(self, name, doc, reply)
  local key = broken_key(self, name, doc, reply)
  return { code = "duplicate", key = key, message = key .. " exists already" }
end

-- One of our look-alikes knows a broken unique key in an update only by its text.
local function is_duplicate(code, message)
  return code == "duplicate" or (code == "server" and message:find("UNIQUE constraint", 1, true))
end

---(waits)
---@return table? reply, table? err, string? code, table? reply_of_error
function M.run(self, command)
  local reply, code, message, more = self.client:run(self.database, command)
  if not reply then
    return nil, M.failure(code, message), code, more
  end
  return reply
end

---(waits) A write, which may answer with a list of what went wrong.
---@return table? reply, table? err, table? broken the server's complaint about a unique key
function M.write(self, command)
  command[#command + 1] = { "writeConcern", M.concern }
  local reply, err, code, more = M.run(self, command)
  if not reply then
    return nil, err, is_duplicate(code, err.message) and (more or {})
  end
  local wrong = reply.writeErrors and reply.writeErrors[1]
  if wrong and wrong.code == M.DUPLICATE then
    return nil, nil, wrong
  elseif wrong then
    return nil, M.failure("server", wrong.errmsg)
  end
  return reply
end

---(waits) The documents of a cursor.
---@return table[]? docs, table? err
function M.list(self, command)
  local docs, code, message = self.client:list(self.database, command)
  if not docs then
    return nil, M.failure(code, message)
  end
  for _, doc in ipairs(docs) do
    words.read(doc)
  end
  return docs
end

return M
