-- Chunks by their meaning (api.md §5.16): a model that makes vectors of texts (the /embeddings of
-- an OpenAI-compatible server) and a store of vectors that speaks Qdrant's REST. Both are set up by
-- the operator; without them search is by words alone.
local json = require("cxb.json")

local M = {}

local BATCH, SEARCH_MS, WRITE_MS, ANSWER_MAX = 64, 900, 30000, 32 * 1024 * 1024

---Whether settings ask for vectors.
---@param settings table of the deployment
---@return boolean
function M.wanted(settings)
  local k = settings.knowledge
  return k.vectordb_url ~= nil and k.embedding_model ~= nil and k.embedding_model ~= ""
end

local function call(method, target, headers, body, timeout_ms)
  headers["content-type"] = "application/json"
  local answer, code, message = cxb.http.request({
    url = target, method = method, headers = headers, body = body and json.encode(body),
    timeout_ms = timeout_ms, connect_timeout_ms = timeout_ms, max_body = ANSWER_MAX,
  })
  if not answer then
    return nil, { code = "vectors", message = ("%s: %s"):format(code, message or "") }
  elseif answer.status < 200 or answer.status > 299 then
    return nil, { code = "vectors", status = answer.status,
      message = ("%s answered %d"):format(target:match("^[^?]+"), answer.status) }
  end
  local decoded = json.decode_object(answer.body or "")
  return decoded, not decoded and { code = "vectors", message = "the answer is no JSON object" }
end

local function base(text)
  return (text:gsub("/+$", ""))
end

---(waits) A vector of each text.
---@return number[][]?, table? err
function M.embed(settings, texts, timeout_ms)
  local k, keys = settings.knowledge, settings.api_keys or {}
  local answer, err = call("POST", base(k.embedding_url) .. "/embeddings",
    { authorization = keys.openai and "Bearer " .. keys.openai or nil },
    { model = k.embedding_model, input = json.array(texts), dimensions = k.embedding_dimensions },
    timeout_ms or WRITE_MS)
  if not answer then
    return nil, err
  end
  local vectors = {}
  for at, item in ipairs(type(answer.data) == "table" and answer.data or {}) do
    local place = type(item.index) == "number" and item.index + 1 or at
    vectors[place] = type(item.embedding) == "table" and item.embedding or nil
  end
  for i = 1, #texts do
    if not vectors[i] or #vectors[i] ~= k.embedding_dimensions then
      return nil, { code = "vectors", message = ("the model gave no vector of %d numbers"):format(
        k.embedding_dimensions) }
    end
  end
  return vectors
end

local function qdrant(settings, method, path, body, timeout_ms)
  local k = settings.knowledge
  return call(method, ("%s/collections/%s%s"):format(base(k.vectordb_url), k.vectordb_collection,
    path), { ["api-key"] = k.vectordb_api_key }, body, timeout_ms or WRITE_MS)
end

-- (waits) Makes the collection if it is not there.
local function ensure(settings)
  local found, err = qdrant(settings, "GET", "")
  if found or err.status ~= 404 then
    return found and true, err
  end
  local made
  made, err = qdrant(settings, "PUT", "",
    { vectors = { size = settings.knowledge.embedding_dimensions, distance = "Cosine" } })
  return (made or err.status == 409) and true, err
end

---(waits) Writes the vectors of chunks; the same chunk again takes the place of the former.
---@param chunks table[] as stored
---@return true?, table? err
function M.put(settings, chunks)
  local ok, err = ensure(settings)
  if not ok then
    return nil, err
  end
  for first = 1, #chunks, BATCH do
    local texts, points = {}, json.array()
    for i = first, math.min(first + BATCH - 1, #chunks) do
      texts[#texts + 1] = chunks[i].text
    end
    local vectors
    vectors, err = M.embed(settings, texts)
    if not vectors then
      return nil, err
    end
    for i, vector in ipairs(vectors) do
      local chunk = chunks[first + i - 1]
      points[i] = { id = cxb.crypto.uuid5(chunk._id), vector = vector, payload = {
        kb_id = chunk.kb_id, document_id = chunk.document_id, chunk_id = chunk._id,
      } }
    end
    ok, err = qdrant(settings, "PUT", "/points?wait=true", { points = points })
    if not ok then
      return nil, err
    end
  end
  return true
end

---(waits) Forgets the vectors of a document.
---@return true?, table? err
function M.remove(settings, document_id)
  local ok, err = qdrant(settings, "POST", "/points/delete?wait=true", { filter = {
    must = { { key = "document_id", match = { value = document_id } } } } })
  return (ok or err.status == 404) and true, err
end

---(waits at most about a second) Ids of the chunks nearest to a question, the nearest first.
---@return {chunk_id: string, score: number}[]?, table? err
function M.search(settings, kb_ids, query, limit)
  local vectors, err = M.embed(settings, { query }, SEARCH_MS)
  if not vectors then
    return nil, err
  end
  local answer
  answer, err = qdrant(settings, "POST", "/points/search", {
    vector = vectors[1], limit = limit, with_payload = true,
    filter = { must = { { key = "kb_id", match = { any = json.array(kb_ids) } } } },
  }, SEARCH_MS)
  if not answer then
    return nil, err
  end
  local found = {}
  for _, hit in ipairs(type(answer.result) == "table" and answer.result or {}) do
    local chunk_id = type(hit.payload) == "table" and hit.payload.chunk_id
    if type(chunk_id) == "string" and type(hit.score) == "number" then
      found[#found + 1] = { chunk_id = chunk_id, score = hit.score }
    end
  end
  return found
end

return M
