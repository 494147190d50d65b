-- Labels of metrics: as a table, or as the text that is made of one.
describe("labels made once", function()
  local name = "cxb_spec_labels_total"

  it("count with those that come as a table", function()
    cxb.metrics.declare({ { name = name, type = "counter", help = "Of a spec." } })
    local labels = cxb.metrics.labels({ route = "GET /a/{id}", answer = "200" })
    assert.equal('answer="200",route="GET /a/{id}"', labels)
    cxb.metrics.count(name, labels)
    cxb.metrics.count(name, { answer = "200", route = "GET /a/{id}" }, 2)
    cxb.metrics.count(name, labels, 4)
    local text = cxb.metrics.render("worker")
    assert.equal("7", text:match("\n" .. name .. '{answer="200",route="GET /a/{id}"} (%d+)'))
    local _, series = text:gsub("\n" .. name .. "{", "")
    assert.equal(1, series)
  end)

  it("are without what would break their text", function()
    assert.equal('a="?"', cxb.metrics.labels({ a = 'x"} 1\n' }))
    assert.equal("", cxb.metrics.labels({}))
  end)

  it("are without what is too long for them, and end", function()
    assert.equal('a="?"', cxb.metrics.labels({ a = ("x"):rep(200) }))
    assert.equal('a="?",b="1"', cxb.metrics.labels({ a = ("x"):rep(92), b = "1" }))
    local long = ("n"):rep(60)
    assert.equal(long .. '1="1"', cxb.metrics.labels({ [long .. "1"] = "1", [long .. "2"] = "2" }))
  end)
end)
