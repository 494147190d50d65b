-- Knowledge bases, their documents, and the search that calls ask for (api.md §5.16).
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local knowledge = require("services.knowledge")
local knowledge_documents = require("services.knowledge.documents")
local json = require("cxb.json")
local lists = require("services.web.lists")
local schema = require("cxb.schema")
local shapes = require("schemas.knowledge")
local system_settings = require("services.system.settings")

local UPLOAD_MB = 20

local function get_base(ctx)
  return documents.get(ctx, "knowledge_bases", ctx.params.kb_id, "knowledge base")
end

-- (waits) With what is in it.
local function shown(ctx, base)
  local store = ctx.app.store
  base.id = base._id
  base.document_count = store:count("knowledge_documents", { kb_id = base._id }) or 0
  base.chunk_count = store:count("knowledge_chunks", { kb_id = base._id }) or 0
  return base
end

local function shown_document(doc)
  doc.id = doc._id
  return doc
end

local function create(ctx)
  local settings = system_settings.get(ctx.app)
  local fresh = ctx.body
  fresh.tenant_id = fresh.tenant_id or (settings and settings.knowledge.tenant_id)
  fresh.status, fresh.revision = "active", 0
  local base, err = ctx.app.store:insert("knowledge_bases", fresh)
  if not base then
    return nil, errors.of_store(err)
  end
  ctx.audit = { target = { type = "knowledge_base", id = base._id, name = base.name } }
  return { status = 201, body = shown(ctx, base), headers = { etag = documents.etag(base) } }
end

local function change(ctx)
  local base, err = documents.patch(ctx, "knowledge_bases", ctx.params.kb_id, "knowledge base",
    ctx.body, shapes.base)
  if not base then
    return nil, err
  end
  ctx.audit = { target = { type = "knowledge_base", id = base._id, name = base.name } }
  return { body = shown(ctx, base), headers = { etag = documents.etag(base) } }
end

local function disable(ctx)
  local base, err = documents.change(ctx, "knowledge_bases", ctx.params.kb_id, "knowledge base",
    function()
      return { set = { status = "disabled" } }
    end)
  if not base then
    return nil, err
  end
  ctx.audit = { target = { type = "knowledge_base", id = base._id, name = base.name } }
  return {}
end

local function upload(ctx)
  local base, err = get_base(ctx)
  if not base then
    return nil, err
  end
  local doc
  doc, err = knowledge_documents.add(ctx, base)
  if not doc then
    return nil, err
  end
  ctx.audit = { target = { type = "knowledge_document", id = doc._id, name = doc.name } }
  return { status = 201, body = shown_document(doc) }
end

local function forget(ctx)
  local doc, err = documents.get(ctx, "knowledge_documents", ctx.params.document_id, "document")
  if doc and doc.kb_id ~= ctx.params.kb_id then
    doc, err = nil, errors.not_found("document")
  end
  if not doc then
    return nil, err
  end
  local gone
  gone, err = knowledge_documents.remove(ctx.app, doc)
  if not gone then
    return nil, errors.of_store(err)
  end
  ctx.audit = { target = { type = "knowledge_document", id = doc._id, name = doc.name } }
  return {}
end

local function search(ctx)
  local from = cxb.time.mono()
  local answer, err = knowledge.search(ctx.app, ctx.body)
  if not answer then
    return nil, errors.of_store(err)
  end
  answer.results = json.array(answer.results)
  answer.took_ms = math.floor(cxb.time.mono() - from + 0.5)
  return { body = answer }
end

local base_path = "/api/v1/knowledge-bases/{kb_id}"

return {
  {
    verb = "POST", path = "/api/v1/knowledge-bases", guard = "admin", status = 201,
    summary = "A new knowledge base.", audit = "knowledge_base.create",
    input = shapes.base, output = shapes.base_shown, handler = create,
  },
  {
    verb = "GET", path = "/api/v1/knowledge-bases", guard = "admin",
    summary = "Knowledge bases by name.",
    query = lists.query({ status = shapes.base_shown.properties.status }),
    output = lists.answer(shapes.base_shown),
    handler = function(ctx)
      local answer, err = lists.page(ctx, "knowledge_bases", { status = ctx.query.status },
        { sort = { "name" }, show = function(base)
          return shown(ctx, base)
        end })
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "GET", path = base_path, guard = "admin",
    summary = "One knowledge base.", output = shapes.base_shown,
    handler = function(ctx)
      local base, err = get_base(ctx)
      return base and { body = shown(ctx, base), headers = { etag = documents.etag(base) } }, err
    end,
  },
  {
    verb = "PATCH", path = base_path, guard = "admin",
    summary = "Changes the fields given.", audit = "knowledge_base.update",
    input = schema.partial(shapes.base), output = shapes.base_shown,
    errors = { "version_conflict" }, handler = change,
  },
  {
    verb = "DELETE", path = base_path, guard = "admin", status = 204,
    summary = "Disables a knowledge base: nothing in it is found any more.",
    audit = "knowledge_base.delete", handler = disable,
  },
  {
    verb = "POST", path = base_path .. "/documents", guard = "admin", status = 201,
    summary = "A document: .pdf, .docx, .txt, .md or .csv.", audit = "knowledge_document.create",
    errors = { "document_rejected", "no_text" }, limit = "upload",
    upload = { max = function(ctx)
      local settings = system_settings.get(ctx.app)
      return (settings and settings.knowledge.max_upload_mb or UPLOAD_MB) * 1024 * 1024
    end },
    output = shapes.document_shown, handler = upload,
  },
  {
    verb = "GET", path = base_path .. "/documents", guard = "admin",
    summary = "The documents of a knowledge base, the newest first.",
    query = lists.query(), output = lists.answer(shapes.document_shown),
    handler = function(ctx)
      local base, err = get_base(ctx)
      if not base then
        return nil, err
      end
      local answer
      answer, err = lists.page(ctx, "knowledge_documents", { kb_id = base._id },
        { sort = { "-created_at" }, show = shown_document })
      return answer and { body = answer }, err
    end,
  },
  {
    verb = "DELETE", path = base_path .. "/documents/{document_id}", guard = "admin", status = 204,
    summary = "Forgets a document.", audit = "knowledge_document.delete", handler = forget,
  },
  {
    verb = "POST", path = "/api/v1/knowledge/search", guard = { "admin", "secret" },
    audit = false, summary = "The chunks that answer a question best.",
    input = shapes.search, output = shapes.found,
    example = { kb_ids = { "kb_000000000000000000000000" }, query = "When do you open?" },
    handler = search,
  },
}
