-- Knowledge bases, their documents, and the search in them (api.md §5.16).
local id = { type = "string", format = "id" }
local time = { type = "string", format = "time" }
local count = { type = "integer", minimum = 0 }

local function text(min, max)
  return { type = "string", minLength = min, maxLength = max }
end

local M = {}

---What an operator writes.
M.base = {
  title = "KnowledgeBase", type = "object", required = { "name" },
  properties = {
    name = text(1, 120), description = text(0, 2000), default_language = text(1, 16),
    tenant_id = text(1, 64),
  },
}

M.base_shown = {
  title = "KnowledgeBaseView", type = "object",
  required = { "id", "name", "status", "document_count", "chunk_count" },
  properties = {
    id = id, v = count, name = M.base.properties.name,
    description = M.base.properties.description,
    default_language = M.base.properties.default_language,
    tenant_id = M.base.properties.tenant_id,
    status = { type = "string", enum = { "active", "disabled" } },
    document_count = count, chunk_count = count, created_at = time, updated_at = time,
  },
}

M.document_shown = {
  title = "KnowledgeDocument", type = "object",
  required = { "id", "kb_id", "name", "parse_status", "bytes" },
  properties = {
    id = id, kb_id = id, name = { type = "string" }, bytes = count,
    parse_status = { type = "string",
      enum = { "uploaded", "indexing", "indexed", "failed", "deleting" } },
    parse_error = { type = "string" }, chunk_count = count, characters = count,
    created_at = time, updated_at = time,
  },
}

M.search = {
  type = "object", required = { "kb_ids", "query" },
  properties = {
    kb_ids = { type = "array", items = id, minItems = 1, maxItems = 50 },
    query = text(1, 2000),
    top_k = { type = "integer", minimum = 1, maximum = 10, default = 4 },
    score_threshold = { type = "number", minimum = 0, maximum = 1, default = 0.2 },
  },
}

M.found = {
  type = "object", required = { "results", "mode", "took_ms" },
  properties = {
    results = { type = "array", items = {
      title = "KnowledgeResult", type = "object",
      required = { "kb_id", "document_id", "chunk_id", "title", "text", "score" },
      properties = {
        kb_id = id, document_id = id, chunk_id = { type = "string" },
        title = { type = "string" }, text = { type = "string" }, score = { type = "number" },
      },
    } },
    mode = { type = "string", enum = { "fts", "hybrid", "fts_fallback" } },
    took_ms = count,
  },
}

return M
