require("spec.support.pure")
local router = require("cxb.router")

local function request(method, path)
  local req = { method = method, path = path }
  function req:respond(status, body, headers)
    self.status, self.answer, self.answer_headers = status, body, headers
  end
  return req
end

describe("router", function()
  local r, hits
  before_each(function()
    hits = {}
    r = router.new()
    local function note(name)
      return function(_, params, extra)
        hits[#hits + 1] = { name, params, extra }
      end
    end
    r:get("/health", note("health"))
    r:get("/calls/{id}", note("call"))
    r:get("/calls/recent", note("recent"))
    r:post("/calls/{id}/hangup", note("hangup"))
    r:delete("/calls/{id}", note("delete"))
    r:get("/recordings/{key*}", note("recording"))
  end)

  it("prefers a literal segment to a parameter", function()
    r:handle(request("GET", "/calls/recent"), "x")
    r:handle(request("GET", "/calls/42"))
    assert.same({ { "recent", {}, "x" }, { "call", { id = "42" } } }, hits)
  end)

  it("falls back from a literal that leads nowhere", function()
    r:handle(request("POST", "/calls/recent/hangup"))
    assert.same({ { "hangup", { id = "recent" } } }, hits)
  end)

  it("gives the rest of the path with its slashes", function()
    r:handle(request("GET", "/recordings/2026/04/a.wav"))
    assert.same({ key = "2026/04/a.wav" }, hits[1][2])
  end)

  it("serves HEAD by GET", function()
    r:handle(request("HEAD", "/health"))
    assert.equal("health", hits[1][1])
  end)

  it("answers 404 and 405 as JSON, 405 with Allow", function()
    local req = request("GET", "/nothing")
    r:handle(req)
    assert.equal(404, req.status)
    assert.equal('{"error":"not_found"}', req.answer)
    req = request("PUT", "/calls/1")
    r:handle(req)
    assert.equal(405, req.status)
    assert.equal('{"error":"method_not_allowed"}', req.answer)
    assert.equal("DELETE, GET, HEAD", req.answer_headers.allow)
  end)

  it("refuses a route declared twice", function()
    assert.has_error(function()
      r:get("/health", print)
    end)
  end)
end)
