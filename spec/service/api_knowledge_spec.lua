-- stores: both
-- Knowledge bases in the real API: documents in, questions answered, what is no document refused.
local support = require("support.world")
local process = require("support.api_process")

local documents = cxb.root .. "/spec/support/documents/"

-- What callers ask, and words of the one passage that answers it.
local questions = {
  { "When is the customer centre open on Thursdays?", "on Thursday until 19:00" },
  { "Can I pay with a cheque?", "Cheques are no longer taken" },
  { "I pay by direct debit, do I get a discount?", "one euro fifty" },
  { "What does the second reminder cost?", "the second adds a fee of five euros" },
  { "Will you cut off my supply in winter?", "cut off between November and March" },
  { "Which digits of the meter do I have to report?", "Only the black digits count" },
  { "I am moving house, when do I have to tell you?", "ten working days before the keys" },
  { "There is a leak in my garden, do you reduce the bill?", "goodwill reduction of half" },
  { "How do I thaw a frozen pipe?", "warm towels or a hair dryer" },
  { "How hard is the water, how much detergent do I need?", "14.2 degrees" },
  { "Is there lead in my old building?", "built before 1973" },
  { "The pressure of the shower is weak", "clean the strainer in the mixer" },
  { "How long does a planned interruption last?", "six hours at most" },
  { "Brown water comes out of the tap", "iron particles" },
  { "I want to fill my swimming pool", "more than ten cubic metres" },
  { "What is the waste water charge per cubic metre?", "2.38 euros" },
  { "Who decides about complaints, is there an ombudsman?", "consumer arbitration board" },
  { "How do I apply for an apprenticeship?", "eight apprentices begin" },
  { "How long are recordings of calls kept?", "kept for ninety days" },
  { "Who gets the social tariff?", "housing benefit" },
}

describe("a knowledge base", function()
  local world, api, base

  setup(function()
    world = support.new()
    api = process.start(world, { env = { CXB_RATE_SCALE = "0" } })
    base = api:ask("POST", "/api/v1/knowledge-bases", { body = { name = "Water works" } }).answer
  end)

  teardown(function()
    world:close()
  end)

  -- `content` may be a function that gives pieces.
  local function upload(name, content, kb_id)
    local boundary = "----spec"
    local head = ("--%s\r\ncontent-disposition: form-data; name=\"file\"; filename=\"%s\"\r\n\r\n")
      :format(boundary, name)
    local tail = ("\r\n--%s--\r\n"):format(boundary)
    if type(content) == "string" then
      content = head .. content .. tail
    end
    return api:ask("POST", ("/api/v1/knowledge-bases/%s/documents"):format(kb_id or base.id), {
      headers = { ["content-type"] = "multipart/form-data; boundary=" .. boundary },
      body = content,
    })
  end

  local function made(kind)
    local path = world:folder() .. "/document"
    local p = world:start({ "python3", documents .. "make.py", kind, path })
    assert.equal(0, p:wait(60000), p:output())
    return world:read(path)
  end

  -- 21 MB of a file, a piece at a time.
  local function large()
    local left = 22
    return function()
      left = left - 1
      if left == 21 then
        return "------spec\r\ncontent-disposition: form-data; name=file; filename=a.txt\r\n\r\n"
      end
      return left >= 0 and ("x"):rep(1000000) or nil
    end
  end

  local function ask(question, more)
    local body = { kb_ids = { base.id }, query = question }
    for name, value in pairs(more or {}) do
      body[name] = value
    end
    return api:ask("POST", "/api/v1/knowledge/search", { body = body })
  end

  it("answers twenty questions with the right passage first, by words alone", function()
    local doc = upload("handbook.md", world:read(documents .. "handbook.md"))
    assert.same({ 201, "indexed" }, { doc.status, doc.answer.parse_status }, doc.body)
    assert.equal(201, upload("other.md", world:read(cxb.root .. "/docs/flows.md")).status)
    for _, case in ipairs(questions) do
      local answer = ask(case[1])
      assert.same({ 200, "fts" }, { answer.status, answer.answer.mode }, answer.body)
      local first = answer.answer.results[1]
      assert.truthy(first and first.text:find(case[2], 1, true),
        case[1] .. ": " .. (first and first.text or "nothing"))
      assert.is_true(#answer.answer.results <= 4)
      assert.equal(doc.answer.id .. "_chunk_", first.chunk_id:match("^.*_chunk_"))
      assert.is_true(first.score >= 0.2 and first.score < 1)
    end
  end)

  it("knows nothing of what is not in it", function()
    assert.same({}, ask("zeppelin").answer.results)
    assert.same({}, ask("what is the and where are you").answer.results)
    assert.same({}, ask("?!").answer.results)
    assert.same({}, ask("hydrant", { kb_ids = { "kb_000000000000000000000000" } }).answer.results)
    assert.equal(1, #ask("hydrant", { top_k = 1 }).answer.results)
    assert.same({}, ask("hydrant", { score_threshold = 1 }).answer.results)
  end)

  it("reads .pdf and .docx, and finds a word of a base that has one page", function()
    for name, case in pairs({
      ["menu.pdf"] = { made("pdf"), "lentil soup", "canteen serves lentil soup" },
      ["loans.docx"] = { made("docx"), "ukuleles", "ukuleles & banjos" },
    }) do
      local own = api:ask("POST", "/api/v1/knowledge-bases", { body = { name = name } }).answer
      local doc = upload(name, case[1], own.id)
      assert.same({ 201, "indexed", 1 },
        { doc.status, doc.answer.parse_status, doc.answer.chunk_count }, doc.body)
      local found = ask(case[2], { kb_ids = { own.id } }).answer.results
      assert.truthy(found[1] and found[1].text:find(case[3], 1, true), doc.body)
      assert.equal(name, found[1].title)
    end
    local both = api:ask("GET", "/api/v1/knowledge-bases?limit=10").answer.items
    assert.equal(3, #both)
  end)

  it("forgets what is deleted, and finds nothing once it is disabled", function()
    local own = api:ask("POST", "/api/v1/knowledge-bases", { body = { name = "Short" } }).answer
    local doc = upload("one.txt", "The xylophone is in room seven.", own.id).answer
    upload("two.csv", "instrument,room\nmarimba,eight\n", own.id)
    assert.equal(1, #ask("xylophone", { kb_ids = { own.id } }).answer.results)
    local path = "/api/v1/knowledge-bases/" .. own.id
    assert.equal(204, api:ask("DELETE", path .. "/documents/" .. doc.id).status)
    assert.equal(404, api:ask("DELETE", path .. "/documents/" .. doc.id).status)
    assert.same({}, ask("xylophone", { kb_ids = { own.id } }).answer.results)
    assert.equal(1, #ask("marimba", { kb_ids = { own.id } }).answer.results)
    local view = api:ask("GET", path).answer
    assert.same({ 1, 1, "active" }, { view.document_count, view.chunk_count, view.status })
    assert.equal(200, api:ask("PATCH", path, { body = { description = "x" } }).status)
    assert.equal(204, api:ask("DELETE", path).status)
    assert.same({}, ask("marimba", { kb_ids = { own.id } }).answer.results)
    assert.equal("disabled", api:ask("GET", path).answer.status)
  end)

  it("refuses what is no document, too much of one, or empty", function()
    local before = #api:ask("GET",
      "/api/v1/knowledge-bases/" .. base.id .. "/documents").answer.items
    for _, case in ipairs({
      { "a.pdf", "<html><body>Hello</body></html>", 422, "document_rejected" },
      { "a.docx", "%PDF-1.4 nothing", 422, "document_rejected" },
      { "a.txt", made("pdf"), 422, "document_rejected" },
      { "a.txt", "caf\233", 422, "document_rejected" },
      { "a.txt", "a\0b", 422, "document_rejected" },
      { "a.exe", "hello", 422, "document_rejected" },
      { "noname", "hello", 422, "document_rejected" },
      { "a.pdf", "%PDF-1.4 broken", 422, "document_rejected" },
      { "a.docx", made("bomb"), 422, "document_rejected" },
      { "a.docx", made("many"), 422, "document_rejected" },
      { "a.docx", made("doctype"), 422, "document_rejected" },
      { "a.docx", made("endless"), 422, "document_rejected" },
      { "a.docx", "PK\3\4 broken", 422, "document_rejected" },
      { "a.pdf", made("empty_pdf"), 422, "no_text" },
      { "a.txt", " \n\t\n ", 422, "no_text" },
      { "a.txt", "", 422, "validation_failed" },
      { "a.txt", large(), 413, "body_too_large" },
    }) do
      local answer = upload(case[1], case[2])
      assert.same({ case[3], case[4] }, { answer.status, answer.answer.error }, case[1] .. ": "
        .. tostring(answer.body):sub(1, 200))
    end
    assert.equal(404, upload("a.txt", "x", "kb_none").status)
    assert.equal(before, #api:ask("GET",
      "/api/v1/knowledge-bases/" .. base.id .. "/documents").answer.items)
    assert.same({}, cxb.fs.list(api.dir .. "/state/knowledge"))
  end)

  it("is found in by every process, also one that begins anew", function()
    api.process:stop()
    os.execute("rm -rf " .. api.dir .. "/state/indexes")
    api:run()
    assert.truthy(ask("frozen pipe").answer.results[1].text:find("hair dryer", 1, true))
  end)

  it("is asked with the secret by a call, with nothing but sensible questions", function()
    assert.equal(200, api:ask("POST", "/api/v1/knowledge/search", { secret = false, headers = {
      ["x-cxb-core-secret"] = process.SECRET }, body = { kb_ids = { base.id }, query = "x" } })
      .status)
    assert.equal(401, api:ask("POST", "/api/v1/knowledge/search", { secret = false,
      body = { kb_ids = { base.id }, query = "x" } }).status)
    for _, body in ipairs({ { query = "x" }, { kb_ids = {}, query = "x" },
      { kb_ids = { base.id } }, { kb_ids = { base.id }, query = "x", top_k = 11 } }) do
      assert.equal(422, api:ask("POST", "/api/v1/knowledge/search", { body = body }).status)
    end
  end)

  describe("with a store of vectors", function()
    local stall, url, simulator, own

    setup(function()
      stall = world:folder() .. "/stall"
      simulator = world:start({ "python3", cxb.root .. "/spec/sim/vectors.py", stall })
      url = "http://127.0.0.1:" .. world:wait_until("the simulator's port", function()
        return tonumber(simulator.log[1])
      end)
      assert.equal(200, api:ask("PUT", "/api/v1/settings/knowledge", { body = {
        vectordb_url = url, vectordb_api_key = "vector-key-of-the-spec",
        embedding_url = url .. "/v1", embedding_model = "spec-model", embedding_dimensions = 64,
      } }).status)
      assert.equal(200, api:ask("PUT", "/api/v1/settings/api-keys",
        { body = { openai = "model-key-of-the-spec" } }).status)
      own = api:ask("POST", "/api/v1/knowledge-bases", { body = { name = "Garage" } }).answer
      for name, text in pairs({
        ["one.txt"] = "Our automobile insurance covers hail.",
        ["two.txt"] = "A physician is on duty at night.",
        ["three.txt"] = "The garage closes at noon, and the car wash with it.",
      }) do
        assert.equal("indexed", upload(name, text, own.id).answer.parse_status)
      end
    end)

    local function asked(question, more)
      more = more or {}
      more.kb_ids = { own.id }
      return ask(question, more).answer
    end

    -- A caller waits a second for meaning, no more: a busy machine may be slower, and is asked again.
    local function meant(question, more)
      return support.wait_until("an answer by meaning", function()
        local answer = asked(question, more)
        return answer.mode == "hybrid" and answer
      end)
    end

    it("finds by meaning what shares no word, and first what both find", function()
      local answer = meant("vehicle")
      assert.matches("automobile", answer.results[1].text .. answer.results[2].text)
      assert.equal("two.txt", meant("doctor").results[1].title)
      assert.equal("three.txt", meant("car wash").results[1].title)
      local seen = support.get_json(url .. "/_seen")
      for _, request in ipairs(seen) do
        assert.equal(request.path:match("^/v1/") and "Bearer model-key-of-the-spec" or cxb.null,
          request.authorization)
        assert.equal(request.path:match("^/coll") and "vector-key-of-the-spec" or cxb.null, request.key)
      end
    end)

    it("falls back to words while that is slow or away", function()
      world:write(stall, "")
      local answer = asked("hail")
      assert.same({ "fts_fallback", "one.txt" }, { answer.mode, answer.results[1].title })
      os.remove(stall)
      meant("hail")
      local document = api:ask("GET", ("/api/v1/knowledge-bases/%s/documents"):format(own.id))
        .answer.items[1]
      assert.equal(204, api:ask("DELETE", ("/api/v1/knowledge-bases/%s/documents/%s"):format(
        own.id, document.id)).status)
      for _, result in ipairs(meant("vehicle", { score_threshold = 0, top_k = 10 }).results) do
        assert.not_equal(document.id, result.document_id)
      end
      simulator:kill("KILL")
      simulator:wait()
      answer = asked("hail car physician")
      assert.same({ "fts_fallback", 2 }, { answer.mode, #answer.results })
      assert.equal(502, upload("four.txt", "No vectors for this one.", own.id).status)
    end)
  end)
end)
