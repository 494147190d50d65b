-- Search in the knowledge bases (api.md §5.16): by words, and by meaning where vectors are set up;
-- the two lists are joined by reciprocal rank. What the vectors cannot answer, words do alone.
local knowledge_index = require("services.knowledge.index")
local system_settings = require("services.system.settings")
local vectors = require("services.knowledge.vectors")

local M = {}

local RRF_K, CANDIDATES = 60, 30

---(waits) The index of this process.
---@return table? index, table? err
function M.index(app)
  if not app.knowledge_index then
    local path = knowledge_index.own_file(app.settings.CXB_STATE_DIR .. "/indexes")
    if not path then
      return nil, { code = "unavailable", message = "no index file is free" }
    end
    local index, err = knowledge_index.open(app.store, path)
    if not index then
      return nil, { code = "unavailable", message = err.message }
    end
    app.knowledge_index = app.knowledge_index or index
  end
  return app.knowledge_index
end

-- (waits) The ids of these bases that are there and active, with the index up to date on them.
local function ready(app, index, kb_ids)
  local bases, err = app.store:find("knowledge_bases",
    { _id = { ["in"] = kb_ids }, status = "active" }, { limit = #kb_ids })
  if not bases then
    return nil, err
  end
  local ids = {}
  for i, base in ipairs(bases) do
    local ok
    ok, err = index:follow(base)
    if not ok then
      return nil, err
    end
    ids[i] = base._id
  end
  return ids
end

-- (waits) Chunks that the vectors found and the words did not.
local function complete(app, by_id, hits)
  local missing = {}
  for _, hit in ipairs(hits) do
    if not by_id[hit.chunk_id] then
      missing[#missing + 1] = hit.chunk_id
    end
  end
  if not missing[1] then
    return true
  end
  local chunks, err = app.store:find("knowledge_chunks", { _id = { ["in"] = missing } },
    { limit = #missing })
  for _, chunk in ipairs(chunks or {}) do
    by_id[chunk._id] = { kb_id = chunk.kb_id, document_id = chunk.document_id,
      chunk_id = chunk._id, title = chunk.title, text = chunk.text, score = 0 }
  end
  return chunks and true, err
end

-- Both lists as one: Σ 1 ÷ (60 + rank), each rank from 1; a chunk's score is its better one.
local function join(by_id, words, hits)
  local rank, list = {}, {}
  for _, found in ipairs({ words, hits }) do
    for i, hit in ipairs(found) do
      local chunk = by_id[hit.chunk_id]
      if chunk then
        if not rank[chunk] then
          list[#list + 1] = chunk
        end
        rank[chunk] = (rank[chunk] or 0) + 1 / (RRF_K + i)
        chunk.score = math.max(chunk.score, math.min(hit.score, 1))
      end
    end
  end
  table.sort(list, function(a, b)
    if rank[a] ~= rank[b] then
      return rank[a] > rank[b]
    end
    return a.chunk_id < b.chunk_id
  end)
  return list
end

local function above(list, threshold, top_k)
  local out = {}
  for _, chunk in ipairs(list) do
    if chunk.score >= threshold and #out < top_k then
      out[#out + 1] = chunk
    end
  end
  return out
end

---(waits)
---@param app table
---@param wanted {kb_ids: string[], query: string, top_k: integer, score_threshold: number}
---@return {results: table[], mode: "fts"|"hybrid"|"fts_fallback"}? answer, table? err
function M.search(app, wanted)
  local settings, err = system_settings.get(app)
  local index = settings and M.index(app)
  if not index then
    return nil, err or { code = "unavailable", message = "the index cannot be opened" }
  end
  local meaning = vectors.wanted(settings) and cxb.task.spawn("vectors", function()
    return vectors.search(settings, wanted.kb_ids, wanted.query, CANDIDATES)
  end)
  local ids
  ids, err = ready(app, index, wanted.kb_ids)
  if not ids then
    return nil, err
  elseif not ids[1] then
    return { results = {}, mode = "fts" }
  end
  local words
  words, err = index:search(ids, wanted.query, CANDIDATES)
  if not words then
    return nil, { code = "unavailable", message = err.message }
  end
  local hits, why
  if meaning then
    hits, why = meaning:wait()
  end
  local by_id, mode = {}, "fts"
  for _, chunk in ipairs(words) do
    by_id[chunk.chunk_id] = chunk
  end
  if hits and complete(app, by_id, hits) then
    words, mode = join(by_id, words, hits), "hybrid"
  elseif meaning then
    mode = "fts_fallback"
    cxb.log.warn("vectors are away", { error = type(why) == "table" and why.message or why })
  end
  return { results = above(words, wanted.score_threshold, wanted.top_k), mode = mode }
end

return M
