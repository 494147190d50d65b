-- Documents of a knowledge base: taken in, cut into chunks, forgotten (api.md §5.16). The steps of
-- each are done in an order that can be taken up again: a document is `indexing` until its chunks
-- are there and `deleting` until they are gone, and a base's revision rises last.
local chunks = require("services.knowledge.chunks")
local errors = require("services.web.errors")
local extract = require("services.knowledge.extract")
local system_settings = require("services.system.settings")
local text_tools = require("cxb.text")
local vectors = require("services.knowledge.vectors")

local M = {}

local ANSWER_MS, BATCH, STALE_MS = 20000, 500, 600000
local HEAD_BYTES = 1024

local function raise_revision(store, kb_id)
  return store:update("knowledge_bases", kb_id, { inc = { revision = 1 } })
end

-- (waits) The chunks of a text, written.
local function write(app, doc, text, settings)
  local k = settings.knowledge
  local pieces = chunks.split(text, k.chunk_size_chars, k.chunk_overlap_chars)
  local docs = {}
  for i, piece in ipairs(pieces) do
    docs[i] = { _id = ("%s_chunk_%d"):format(doc._id, i - 1), kb_id = doc.kb_id,
      document_id = doc._id, title = doc.name, n = i - 1, text = piece }
  end
  for first = 1, #docs, BATCH do
    local done, err = app.store:insert_many("knowledge_chunks",
      { unpack(docs, first, math.min(first + BATCH - 1, #docs)) })
    if not done then
      return nil, err
    end
  end
  if vectors.wanted(settings) then
    local ok, err = vectors.put(settings, docs)
    if not ok then
      return nil, errors.new(502, "upstream_failed", "The vectors cannot be made: " .. err.message)
    end
  end
  return #docs
end

-- (waits) Everything between an uploaded file and a document that can be found.
local function take_in(app, doc, kind, path)
  local text, err = extract.text(kind, path)
  if not text then
    return nil, err
  end
  text = chunks.tidy(text)
  if not text:find("%w") and not text:find("[\128-\255]") then
    return nil, errors.new(422, "no_text", "There is no text in this document.")
  end
  local settings
  settings, err = system_settings.get(app)
  local n = settings and nil
  if settings then
    n, err = write(app, doc, text, settings)
  end
  if not n then
    return nil, err.status and err or errors.of_store(err)
  end
  local done
  done, err = app.store:update("knowledge_documents", doc._id, { set = {
    parse_status = "indexed", chunk_count = n, characters = text_tools.length(text) } })
  if done then
    local raised
    raised, err = raise_revision(app.store, doc.kb_id)
    done = raised and done
  end
  return done, err and errors.of_store(err)
end

---(waits) Forgets a document; harmless when it is half gone.
---@return true?, table? err
function M.remove(app, doc)
  local store = app.store
  local marked, err = store:update("knowledge_documents", doc._id,
    { set = { parse_status = "deleting" } })
  if not marked then
    return err.code == "not_found" or nil, err
  end
  local settings = system_settings.get(app)
  if settings and vectors.wanted(settings) then
    local ok, why = vectors.remove(settings, doc._id)
    if not ok then -- a point without a chunk is found by nobody
      cxb.log.warn("vectors of a document are left behind", { document = doc._id,
        error = why.message })
    end
  end
  for _, step in ipairs({
    function() return store:delete_many("knowledge_chunks", { document_id = doc._id }) end,
    function() return raise_revision(store, doc.kb_id) end,
    function() return store:delete("knowledge_documents", doc._id) end,
  }) do
    local ok
    ok, err = step()
    if not ok and err.code ~= "not_found" then
      return nil, err
    end
  end
  return true
end

-- A task that outlives the request says of its document how it ended.
local function failed(app, doc, err, answered)
  if answered then
    app.store:delete_many("knowledge_chunks", { document_id = doc._id })
    app.store:update("knowledge_documents", doc._id, { set = { parse_status = "failed",
      parse_error = err.message } })
  else
    M.remove(app, doc)
  end
end

---(waits 20 s at most) Takes an uploaded file in.
---@param ctx table with ctx.upload
---@param base table
---@return table? doc as far as it is, api.error? err
function M.add(ctx, base)
  local app, upload = ctx.app, ctx.upload
  local file = io.open(upload.path, "rb")
  local head = file and file:read(HEAD_BYTES) or ""
  if file then
    file:close()
  end
  local kind, err = extract.kind(upload.name, head)
  if not kind then
    return nil, err
  end
  local folder = app.settings.CXB_STATE_DIR .. "/knowledge"
  cxb.fs.mkdir(folder, 448)
  local doc
  doc, err = app.store:insert("knowledge_documents", {
    kb_id = base._id, name = upload.name, bytes = upload.bytes, parse_status = "indexing",
  })
  if not doc then
    return nil, errors.of_store(err)
  end
  local path, answered = ("%s/%s"):format(folder, doc._id), false
  cxb.fs.rename(upload.path, path)
  local task = cxb.task.spawn("knowledge document", function()
    local ok, done, why = xpcall(take_in, debug.traceback, app, doc, kind, path)
    cxb.fs.remove(path)
    if not ok then
      cxb.log.error("document cannot be read", { document = doc._id, error = done })
      done, why = nil, errors.new(500, "internal", "Something went wrong here; it was logged.")
    end
    if not done then
      failed(app, doc, why, answered)
    end
    return done, why
  end)
  local done, why = task:wait(ANSWER_MS)
  if not done and why == "timeout" then
    answered = true
    return doc
  end
  return done, why
end

---(waits) Takes up what a process that died has left: the rest of a deletion goes on, a document
---whose file is gone has failed.
---@return integer? n, table? err
function M.resume(app)
  local docs, err = app.store:find("knowledge_documents", {
    parse_status = { ["in"] = { "indexing", "deleting" } },
    updated_at = { lte = cxb.time.now() - STALE_MS } }, { limit = 100 })
  for _, doc in ipairs(docs or {}) do
    if doc.parse_status == "deleting" then
      M.remove(app, doc)
    else
      failed(app, doc, { message = "It was interrupted; upload it again." }, true)
    end
  end
  return docs and #docs, err
end

return M
