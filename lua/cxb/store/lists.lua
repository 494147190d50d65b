-- Long lists on SQLite. Beside the table of a collection that declares `lists` stands a narrow copy
-- of what its lists are ordered and filtered by, kept by triggers: NAME_lists(docid, _id, fields…),
-- and NAME_words, a full-text index of the elements of one array field. `docid` is the time in
-- milliseconds << 20 with a serial number below it, so that rows lie in the order they are listed
-- in, and so does what the words find. A string of the array is one word of the index: its bytes,
-- as they stand in JSON, in hexadecimal. Words go to NAME_words_new first and from there, those of
-- many documents at once, into the index (settling): one at a time costs it much more. Without
-- `words` there is none of both.
local json = require("cxb.json")
local sql = require("cxb.store.sql")

local quote = sql.quote

local M = {}
M.__index = M

local BITS, SETTLED = 20, 500

-- ["…","…"] without its ends, in hexadecimal: G for an escaped backslash (5C 5C), H for an escaped
-- quote (5C 22), then a blank for what stands between two strings (22 2C 22): no other quotes are
-- left. Begun in the middle of a byte the same digits are _5 C5 C_, _5 C2 2_ and _2 22 C2 2_, which
-- are no UTF-8. To take the list apart costs six times as much.
local function words_sql(self, row)
  local list = ("json_extract(%s.doc,%s)"):format(row, sql.json_path(self.words))
  return ("replace(replace(replace(hex(substr(%s,3,length(%s)-4)),'5C5C','G'),'5C22','H'),"
    .. "'222C22',' ')"):format(list, list)
end

-- Whether a document has any: without, it is neither in the index nor among what waits for it.
local function has_words(self, row)
  return ("json_array_length(%s.doc,%s)>0"):format(row, sql.json_path(self.words))
end

local function extract(row, field)
  return ("json_extract(%s.doc,%s)"):format(row, sql.json_path(field))
end

---@param name string
---@param declared {by: string, words?: string, fields: string[]}
---@param indexed table<string, "wide"|"plain"> fields that lists are often filtered by
function M.new(name, declared, indexed)
  local columns, fields, presence = {}, {}, {}
  for i, field in ipairs(declared.fields) do
    local plain, mark = field:match("^(.-)(%??)$")
    fields[i], columns[plain], presence[plain] = plain, true, mark == "?" or nil
  end
  return setmetatable({
    name = name, table = quote(name .. "_lists"), index = quote(name .. "_words"),
    fresh = quote(name .. "_words_new"),
    by = declared.by, words = declared.words, fields = fields, indexed = indexed,
    columns = columns, presence = presence, required = {}, as = "l.",
  }, M)
end

-- Several values of a document as one JSON array: it is parsed once for all of them.
local function values_sql(row, ...)
  local paths = {}
  for _, fields in ipairs({ ... }) do
    for _, field in ipairs(fields) do
      paths[#paths + 1] = sql.json_path(field)
    end
  end
  return ("json_extract(%s.doc,%s)"):format(row, table.concat(paths, ","))
end

-- The fields as columns of one row `j`, behind the time.
local function fields_of_j(self)
  local out = {}
  for i, field in ipairs(self.fields) do
    out[i] = (self.presence[field] and "iif(j->>%d IS NULL,NULL,1)" or "j->>%d"):format(i)
  end
  return table.concat(out, ",")
end

local function field_names(self)
  local out = {}
  for i, field in ipairs(self.fields) do
    out[i] = quote(field)
  end
  return table.concat(out, ",")
end

local function add_row(self, row, when)
  local first = ("(ifnull(CAST(j->>0 AS INTEGER),0)<<%d)"):format(BITS)
  return ("INSERT INTO %s(docid,_id,%s) SELECT ifnull((SELECT max(docid)+1 FROM %s WHERE docid>=%s "
    .. "AND docid<%s+(1<<%d)),%s),%s._id,%s FROM (SELECT %s AS j)%s"):format(self.table,
    field_names(self), self.table, first, first, BITS, first, row, fields_of_j(self),
    values_sql(row, { self.by }, self.fields), when and " WHERE " .. when or "")
end

local function add_words(self, row)
  return ("INSERT INTO %s(docid,words) SELECT docid,%s FROM %s WHERE _id=%s._id AND %s"):format(
    self.fresh, words_sql(self, row), self.table, row, has_words(self, row))
end

-- Out of the index or, if they are not in it yet, out of what waits for it.
local function remove_words(self)
  return ("INSERT INTO %s(%s,rowid,words) SELECT 'delete',docid,%s FROM %s l WHERE _id=old._id "
    .. "AND %s AND NOT EXISTS (SELECT 1 FROM %s n WHERE n.docid=l.docid)"):format(self.index,
    self.index, words_sql(self, "old"), self.table, has_words(self, "old"), self.fresh)
end

local function forget_words(self)
  return ("DELETE FROM %s WHERE docid=(SELECT docid FROM %s WHERE _id=old._id)"):format(self.fresh,
    self.table)
end

local function triggers(self)
  local ordered = { self.by, self.words }
  local function differ(...)
    local new, old = values_sql("new", ...), values_sql("old", ...)
    return "(" .. new .. " IS NOT " .. old .. ")"
  end
  local moved = differ(ordered)
  local function trigger(suffix, event, when, steps)
    return ("CREATE TRIGGER %s AFTER %s ON %s%s BEGIN %s; END"):format(
      quote(self.name .. "_lists_" .. suffix), event, quote(self.name),
      when and " WHEN " .. when or "", table.concat(steps, ";"))
  end
  local gone = "DELETE FROM " .. self.table .. " WHERE _id=old._id"
  local here = ("UPDATE %s SET (%s)=(SELECT %s FROM (SELECT %s AS j)) WHERE _id=new._id AND NOT %s")
    :format(self.table, field_names(self), fields_of_j(self),
    values_sql("new", { self.by }, self.fields), moved)
  local insert, delete, update = { add_row(self, "new") }, {}, {}
  if self.words then
    insert[2] = add_words(self, "new")
    delete[1], update[1] = remove_words(self), remove_words(self) .. " AND " .. moved
    delete[2], update[2] = forget_words(self), forget_words(self) .. " AND " .. moved
  end
  delete[#delete + 1] = gone
  update[#update + 1] = gone .. " AND " .. moved
  update[#update + 1] = add_row(self, "new", moved)
  if self.words then
    update[#update + 1] = add_words(self, "new") .. " AND " .. moved
  end
  update[#update + 1] = here
  return {
    trigger("insert", "INSERT", nil, insert), trigger("delete", "DELETE", nil, delete),
    trigger("update", "UPDATE OF doc", differ(ordered, self.fields), update),
  }
end

-- A wide index also holds what else rows are judged by, in the order of time: what a filter passes
-- over is not looked up in the table. Rows without the field are not in its index.
local function indexes(self)
  local judged = {}
  for _, field in ipairs(self.fields) do
    if self.indexed[field] ~= "plain" then
      judged[#judged + 1] = field
    end
  end
  local out = {}
  for _, field in ipairs(self.fields) do
    local kind, keys = self.indexed[field], { quote(field) }
    if kind == "wide" then
      keys[2] = "docid"
      for _, other in ipairs(judged) do
        keys[#keys + 1] = other ~= field and quote(other) or nil
      end
    end
    if kind then
      out[#out + 1] = ("CREATE INDEX %s ON %s(%s) WHERE %s IS NOT NULL"):format(
        quote(self.name .. "_lists_" .. field), self.table, table.concat(keys, ","), quote(field))
    end
  end
  return out
end

-- The rows of a table that was there before.
local function fill(self)
  local values = {}
  for i, field in ipairs(self.fields) do
    local value = extract("t", field)
    values[i] = self.presence[field] and ("iif(%s IS NULL,NULL,1)"):format(value) or value
  end
  local at = ("ifnull(CAST(%s AS INTEGER),0)"):format(extract("t", self.by))
  local texts = {
    ("INSERT INTO %s SELECT (%s<<%d)+row_number() OVER (PARTITION BY %s ORDER BY t._id)-1,t._id,%s "
      .. "FROM %s t"):format(self.table, at, BITS, at, table.concat(values, ","),
      quote(self.name)),
  }
  if self.words then
    texts[2] = ("INSERT INTO %s(rowid,words) SELECT l.docid,%s FROM %s l JOIN %s t "
      .. "ON t._id=l._id WHERE %s ORDER BY l.docid"):format(self.index, words_sql(self, "t"),
      self.table, quote(self.name), has_words(self, "t"))
  end
  return texts
end

---Statements that make all of it anew, or nil when `present` (name → SQL of the tables, indexes and
---triggers of the file) has it as it should be.
---@return table[]? batch
function M:missing(present)
  local columns = { "docid INTEGER PRIMARY KEY", "_id TEXT NOT NULL UNIQUE" }
  for _, field in ipairs(self.fields) do
    columns[#columns + 1] = quote(field)
  end
  local wanted = {
    ("CREATE TABLE %s (%s)"):format(self.table, table.concat(columns, ",")),
    self.words and ("CREATE VIRTUAL TABLE %s USING fts5(words,content='',columnsize=0,detail=none,"
      .. "tokenize='ascii')"):format(self.index) or nil,
    self.words and ("CREATE TABLE %s (docid INTEGER PRIMARY KEY,words TEXT)"):format(self.fresh)
      or nil,
  }
  for _, list in ipairs({ indexes(self), triggers(self) }) do
    for _, text in ipairs(list) do
      wanted[#wanted + 1] = text
    end
  end
  local complete = true
  for _, text in ipairs(wanted) do
    local name = text:match('"([^"]+)"')
    complete = complete and present[name] == text
  end
  if complete then
    return nil
  end
  local batch = {}
  for _, suffix in ipairs({ "insert", "delete", "move", "update" }) do -- move: of older files
    batch[#batch + 1] = { "DROP TRIGGER IF EXISTS " .. quote(self.name .. "_lists_" .. suffix) }
  end
  batch[#batch + 1] = { "DROP TABLE IF EXISTS " .. self.table }
  batch[#batch + 1] = { "DROP TABLE IF EXISTS " .. self.index }
  batch[#batch + 1] = { "DROP TABLE IF EXISTS " .. self.fresh }
  for _, list in ipairs({ wanted, fill(self) }) do
    for _, text in ipairs(list) do
      batch[#batch + 1] = { text }
    end
  end
  return batch
end

---The question whether words wait for the index, and the statements that put those of some
---documents into it.
---@return string question, table[] batch
function M:settling()
  local some = ("FROM %s ORDER BY docid LIMIT %d"):format(self.fresh, SETTLED)
  return "SELECT 1 AS one FROM " .. self.fresh .. " LIMIT 1", {
    { ("INSERT INTO %s(rowid,words) SELECT docid,words %s"):format(self.index, some) },
    { ("DELETE FROM %s WHERE docid IN (SELECT docid %s)"):format(self.fresh, some) },
  }
end

-- A bound on the time as bounds on the position.
local bounds = {
  eq = { { ">=", 0 }, { "<", 1 } }, gte = { { ">=", 0 } }, gt = { { ">=", 1 } },
  lt = { { "<", 0 } }, lte = { { "<", 1 } },
}

-- Whether the narrow table can judge a condition.
local function listed(self, condition)
  if condition.op == "any_of" then
    for _, part in ipairs(condition.value) do
      for _, inner in ipairs(part) do
        if not self.columns[inner.field]
          or (self.presence[inner.field] and inner.op ~= "exists") then
          return false
        end
      end
    end
    return true
  elseif condition.field == self.by then
    return bounds[condition.op] ~= nil and type(condition.value) == "number"
  elseif condition.field == self.words then
    return condition.op == "has_all"
  end
  return condition.field == "_id" or (self.columns[condition.field] ~= nil
    and (not self.presence[condition.field] or condition.op == "exists"))
end

local function match_of(words)
  local out = {}
  for i, word in ipairs(words) do
    local digits = json.encode(word):sub(2, -2):gsub(".", function(c)
      return ("%02X"):format(c:byte())
    end)
    out[i] = '"' .. digits:gsub("5C5C", "G"):gsub("5C22", "H") .. '"'
  end
  return table.concat(out, " AND ")
end

-- Where to begin: at the first of the declared fields that the filter names. The planner knows no
-- figures.
local function hint(self, conditions)
  local by_field = {}
  for _, condition in ipairs(conditions) do
    local narrow = condition.op == "eq" and condition.value ~= json.null
      or condition.op == "prefix" and condition.value ~= ""
    by_field[condition.field or ""] = narrow and self.indexed[condition.field] or nil
  end
  for _, field in ipairs(self.fields) do
    if by_field[field] then
      return " INDEXED BY " .. quote(self.name .. "_lists_" .. field)
    end
  end
  return ""
end

---Where a filter is looked up: FROM and WHERE, what gives the order, and the id of the row there.
---@param whole? boolean the row `l` itself is wanted, too
---@return {from: string, where: string, position: string, id: string}
function M:source(main, conditions, params, whole)
  local own, rest, words = {}, {}, nil
  for _, condition in ipairs(conditions) do
    local list = listed(self, condition) and own or rest
    if condition.op == "has_all" and list == own then
      words = condition.value
    else
      list[#list + 1] = condition
    end
  end
  local parts, position = {}, words and self.index .. ".rowid" or "l.docid"
  if words then
    parts[1] = self.index .. " MATCH ?"
    params[#params + 1] = match_of(words)
  end
  local only_words = not rest[1] and not whole -- and times: the index of words knows them
  for _, condition in ipairs(own) do
    if condition.field == self.by then
      for _, bound in ipairs(bounds[condition.op]) do
        parts[#parts + 1] = ("%s%s((CAST(? AS INTEGER)+%d)<<%d)"):format(position, bound[1],
          bound[2], BITS)
        params[#params + 1] = condition.value
      end
    else
      only_words = false
      parts[#parts + 1] = sql.where(self, { condition }, params)
    end
  end
  if rest[1] then
    parts[#parts + 1] = ("EXISTS (SELECT 1 FROM %s t WHERE t._id=l._id AND %s)"):format(
      quote(self.name), sql.where(main, rest, params))
  end
  local from, id = self.table .. " l" .. hint(self, own), "l._id"
  if words and only_words then
    from = self.index
    id = ("(SELECT _id FROM %s WHERE docid=%s)"):format(self.table, position)
  elseif words then
    from = ("%s CROSS JOIN %s l ON l.docid=%s.rowid"):format(self.index, self.table, self.index)
  end
  return {
    from = from, where = parts[1] and table.concat(parts, " AND ") or "1", position = position,
    id = id,
  }
end

---Whether `keys` is the order of the lists.
function M:ordered(keys)
  return keys[1].field == self.by and (not keys[2] or keys[2].field == "_id")
    and (not keys[2] or keys[1].descending == keys[2].descending)
end

---The narrow column (or time) of a field; nil: it has none.
---@return string?
function M:column(field)
  if field == self.by then
    return ("(l.docid>>%d)"):format(BITS)
  end
  return self.columns[field] and "l." .. quote(field) or nil
end

---What comes after a cursor in the order of the lists.
function M:after(position, keys, values, params)
  local descending = keys[1].descending
  params[#params + 1] = values[2] or ""
  params[#params + 1] = values[1] or 0
  return ("%s%sifnull((SELECT docid FROM %s WHERE _id=?),(CAST(? AS INTEGER)+%d)<<%d)"):format(
    position, descending and "<" or ">", self.table, descending and 0 or 1, BITS)
end

return M
