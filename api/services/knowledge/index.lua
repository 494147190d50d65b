-- The words of the knowledge bases, for one process (api.md §5.16): an SQLite FTS5 file in
-- {state}/indexes that is made anew, base by base, from the chunks in the store whenever a base's
-- revision is another. It is no record of anything; losing it costs the time to make it.
local everyday_words = require("services.identity.everyday_words")
local text = require("cxb.text")

local M = {}
M.__index = M

local WORDS_MAX, PAGE, FILES_MAX, PAGES_OF_WORDS = 32, 500, 64, 64

local schema = {
  "CREATE TABLE IF NOT EXISTS bases(kb_id TEXT PRIMARY KEY, revision INTEGER NOT NULL)",
  "CREATE TABLE IF NOT EXISTS rows(id INTEGER PRIMARY KEY, kb_id TEXT NOT NULL, "
    .. "document_id TEXT NOT NULL, chunk_id TEXT NOT NULL, title TEXT NOT NULL)",
  "CREATE INDEX IF NOT EXISTS rows_kb ON rows(kb_id)",
  "CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, "
    .. "tokenize=\"porter unicode61 remove_diacritics 2 categories 'L* N* Co Mc Mn'\")",
}

---(waits) A file of a folder that no other process of this machine has, the same over reloads.
---@param folder string
---@return string? path nil: none is free
function M.own_file(folder)
  local kept = cxb.process.keep("knowledge.index")
  if kept then
    return kept
  end
  cxb.fs.mkdir(folder, 448)
  for n = 1, FILES_MAX do
    local path = ("%s/knowledge-%d.db"):format(folder, n)
    if cxb.fs.lock(path .. ".lock") then
      return cxb.process.keep("knowledge.index", path)
    end
  end
  return nil
end

local function run(self, sql, ...)
  local rows, code, message = self.db:exec(sql, ...)
  if not rows then
    return nil, { code = "index", message = ("%s: %s"):format(tostring(code), tostring(message)) }
  end
  return rows
end

-- Pages of everyday words, below every row of a base.
local function background(self)
  local rows, err = run(self, "SELECT count(*) AS n FROM words")
  if not rows or rows[1].n > 0 then
    return rows, err
  end
  local list = {}
  for n = 1, PAGES_OF_WORDS do
    list[n] = { "INSERT INTO words(rowid, text) VALUES(?, ?)", -n, everyday_words }
  end
  return self.db:batch(list)
end

---(waits) Opens the index of this process.
---@param store table the document store
---@param path string
---@return table? index, table? err
function M.open(store, path)
  local db, _, message = cxb.sqlite.open(path, { sync = "normal" })
  if not db then
    return nil, { code = "index", message = ("%s: %s"):format(path, message) }
  end
  local self = setmetatable({ store = store, db = db, building = {} }, M)
  for _, sql in ipairs(schema) do
    local ok, err = run(self, sql)
    if not ok then
      return nil, err
    end
  end
  local ok, err = background(self)
  if not ok then
    return nil, err
  end
  return self
end

-- (waits) Statements that put a base's chunks in the place of what the index has of it.
local function rebuild(self, kb_id, revision)
  local list = {
    { "DELETE FROM words WHERE rowid IN (SELECT id FROM rows WHERE kb_id = ?)", kb_id },
    { "DELETE FROM rows WHERE kb_id = ?", kb_id },
  }
  local after
  repeat
    local chunks, next_or_err = self.store:find("knowledge_chunks", { kb_id = kb_id },
      { sort = { "_id" }, limit = PAGE, after = after })
    if not chunks then
      return nil, next_or_err
    end
    for _, chunk in ipairs(chunks) do
      list[#list + 1] = { "INSERT INTO rows(kb_id, document_id, chunk_id, title) VALUES(?,?,?,?)",
        kb_id, chunk.document_id, chunk._id, chunk.title or "" }
      list[#list + 1] = { "INSERT INTO words(rowid, text) VALUES(last_insert_rowid(), ?)",
        chunk.text }
    end
    after = next_or_err
  until not after
  list[#list + 1] = { "INSERT INTO bases(kb_id, revision) VALUES(?,?) ON CONFLICT(kb_id) "
    .. "DO UPDATE SET revision = excluded.revision", kb_id, revision }
  local done, code, message = self.db:batch(list)
  if not done then
    return nil, { code = "index", message = ("%s: %s"):format(code, message) }
  end
  return true
end

---(waits) Has the index say what the store says of a base.
---@param base table {_id, revision}
---@return true?, table? err
function M:follow(base)
  while self.building[base._id] do
    self.building[base._id]:wait()
  end
  local rows, err = run(self, "SELECT revision FROM bases WHERE kb_id = ?", base._id)
  if not rows or (rows[1] and rows[1].revision >= (base.revision or 0)) then
    return rows and true, err
  end
  local task = cxb.task.spawn("knowledge index", function()
    local ok, why = rebuild(self, base._id, base.revision or 0)
    self.building[base._id] = nil
    return ok, why
  end)
  self.building[base._id] = task
  local ok, why = task:wait()
  self.building[base._id] = nil
  return ok, why
end

-- The words of a question as an FTS5 expression; nil when it has none.
local function expression(query)
  local parts, seen = {}, {}
  for _, word in ipairs(text.words(query)) do
    if not seen[word] and #parts < WORDS_MAX then
      seen[word] = true
      parts[#parts + 1] = '"' .. word .. '"'
    end
  end
  return parts[1] and table.concat(parts, " OR ") or nil
end

---(waits) Chunks of these bases by BM25, the best first; score = b ÷ (b + 4), b = −bm25.
---@param kb_ids string[]
---@param query string
---@param limit integer
---@return {kb_id: string, document_id: string, chunk_id: string, title: string, text: string,
--- score: number}[]?, table? err
function M:search(kb_ids, query, limit)
  local wanted = expression(query)
  if not wanted then
    return {}
  end
  local places = ("?,"):rep(#kb_ids):sub(1, -2)
  local params = { wanted, unpack(kb_ids) }
  params[#params + 1] = limit
  local rows, err = run(self, "SELECT r.kb_id, r.document_id, r.chunk_id, r.title, w.text, "
    .. "bm25(words) AS rank FROM words w JOIN rows r ON r.id = w.rowid "
    .. "WHERE words MATCH ? AND r.kb_id IN (" .. places .. ") ORDER BY rank LIMIT ?",
    unpack(params))
  if not rows then
    return nil, err
  end
  for _, row in ipairs(rows) do
    local b = math.max(-row.rank, 0)
    row.score, row.rank = b / (b + 4), nil
  end
  return rows
end

return M
