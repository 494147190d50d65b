local api = require("support.api")
local multipart = require("services.web.multipart")
local upload = require("services.web.upload")

local CRLF = "\r\n"

local function form(parts, boundary)
  local out = {}
  for _, part in ipairs(parts) do
    out[#out + 1] = ("--%s\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n"):format(
      boundary, part[1], part[2])
  end
  return table.concat(out) .. "--" .. boundary .. "--" .. CRLF
end

-- Feeds a body in pieces of `size` bytes.
local function read(body, size, boundary)
  local got = {}
  local parts = multipart.new(boundary or "xyz", "file", function(piece)
    got[#got + 1] = piece
    return true
  end)
  for at = 1, #body, size do
    local ok, why = parts:feed(body:sub(at, at + size - 1))
    if not ok then
      return nil, why
    end
  end
  return table.concat(got), parts:finish(), parts
end

describe("multipart/form-data", function()
  it("gives the field's bytes whatever the size of the pieces it comes in", function()
    local content = "a,b\r\n--xy\r\n\n--xyz1\r-\r\n" .. ("z"):rep(300)
    local body = form({ { 'name="other"', "no" },
      { 'name="file"; filename="../people.csv"\r\nContent-Type: text/csv', content },
      { 'name="file"', "second" } }, "xyz")
    for _, size in ipairs({ 1, 2, 3, 7, 64, 100000 }) do
      local got, outcome, parts = read(body, size)
      assert.equal(content, got)
      assert.equal("complete", outcome)
      assert.equal("../people.csv", parts.name)
      assert.equal("text/csv", parts.type)
    end
  end)

  it("may hold an empty file, text before the first part and after the last", function()
    local body = "preamble\r\n" .. form({ { 'name="file"', "" } }, "xyz") .. "epilogue"
    for _, size in ipairs({ 1, 5, 1000 }) do
      local got, outcome = read(body, size)
      assert.equal("", got)
      assert.equal("complete", outcome)
    end
  end)

  it("is malformed when it ends before its end, or has no field of that name", function()
    local body = form({ { 'name="file"', "abc" } }, "xyz")
    assert.equal("malformed", select(2, read(body:sub(1, -8), 10)))
    assert.equal("missing", select(2, read(form({ { 'name="x"', "abc" } }, "xyz"), 10)))
    assert.equal("malformed", select(2, read("--xyz\r\nX: 1\r\n\r\nabc\r\n--xyz--", 10)))
    assert.equal("malformed", select(2, read("--xyz\r\n" .. ("h"):rep(9000), 1000)))
  end)
end)

describe("a client's file name", function()
  it("is shown by its last part only", function()
    assert.equal("passwd", upload.shown_name("../../etc/passwd"))
    assert.equal("a.csv", upload.shown_name("C:\\lists\\a.csv"))
    assert.equal("ab.csv", upload.shown_name("a\0\nb.csv"))
    assert.is_nil(upload.shown_name("x/"))
  end)
end)

describe("an upload", function()
  local app, folder

  setup(api.install)
  before_each(function()
    folder = "/tmp/cxb-spec-" .. cxb.crypto.hex(cxb.crypto.random(6))
    app = api.app({})
    app.settings.CXB_STATE_DIR = folder
  end)
  after_each(function()
    for _, name in ipairs(cxb.fs.list(folder .. "/uploads") or {}) do
      cxb.fs.remove(folder .. "/uploads/" .. name)
    end
    cxb.fs.remove(folder .. "/uploads")
    cxb.fs.remove(folder)
  end)
  teardown(api.restore)

  -- A request whose body comes in `pieces`; "gone": the peer leaves.
  local function receive(pieces, headers, max)
    local at = 0
    local req = api.request("POST", "/x", { headers = headers })
    function req.read()
      at = at + 1
      if pieces[at] == "gone" then
        return nil, "closed"
      end
      return pieces[at]
    end
    local ctx = { app = app, req = req }
    local ok, err = upload.receive(ctx, { max = max or 100 })
    local kept = ok and cxb.fs.read(ctx.upload.path)
    upload.discard(ctx)
    return ok, ok and kept or err, ctx.upload
  end

  local function left()
    return #(cxb.fs.list(folder .. "/uploads") or {})
  end

  it("raw or as a field is the same file, and gone afterwards", function()
    local ok, kept, file = receive({ "hello ", "world" }, { ["content-type"] = "text/csv" })
    assert.truthy(ok)
    assert.equal("hello world", kept)
    assert.equal(11, file.bytes)
    local body = form({ { 'name="file"; filename="x.csv"', "hello world" } }, "b")
    ok, kept, file = receive({ body:sub(1, 40), body:sub(41) },
      { ["content-type"] = "multipart/form-data; boundary=b" })
    assert.truthy(ok)
    assert.equal("hello world", kept)
    assert.equal("x.csv", file.name)
    assert.equal(0, left())
  end)

  it("that is too large, announced or not, is a 413 and leaves nothing", function()
    local _, err = receive({ ("x"):rep(60), ("x"):rep(60) }, { ["content-length"] = "10" })
    assert.equal(413, err.status)
    _, err = receive({}, { ["content-length"] = "3000000000" })
    assert.equal(413, err.status)
    local body = form({ { 'name="file"', ("x"):rep(101) } }, "b")
    _, err = receive({ body }, { ["content-type"] = "multipart/form-data; boundary=b" })
    assert.equal(413, err.status)
    assert.equal(0, left())
  end)

  it("that its client leaves, that is empty, or that is no file leaves nothing", function()
    local _, err = receive({ "abc", "gone" })
    assert.equal(408, err.status)
    _, err = receive({})
    assert.equal(422, err.status)
    _, err = receive({ "{}" }, { ["content-type"] = "application/json" })
    assert.equal(415, err.status)
    _, err = receive({ "--b\r\nbroken" }, { ["content-type"] = "multipart/form-data; boundary=b" })
    assert.equal("invalid_multipart", err.code)
    assert.equal(0, left())
  end)

  it("sweeps away what a killed process has left", function()
    cxb.fs.mkdir(folder .. "/uploads")
    cxb.fs.write(folder .. "/uploads/old", "x")
    receive({ "abc" })
    assert.equal(1, left())
    api.now = cxb.fs.stat(folder .. "/uploads/old").mtime + 3600000
    receive({ "abc" })
    assert.equal(0, left())
  end)
end)
