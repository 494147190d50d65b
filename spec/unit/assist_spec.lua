local Desk = require("spec.support.desk")
local api = require("spec.support.api")
local json = require("cxb.json")

describe("Agent Assist", function()
  local desk
  local base = "/api/v1/agent-assist/moments"

  before_each(function()
    api.install()
    desk = Desk.new()
    desk:agent("ann")
    desk:person("sue", "supervisor")
    assert(desk.app.store:upsert("system_settings", { _id = "system" },
      { set = { agent_assist = { enabled = true, suggestion_cooldown_seconds = 20 } } }))
    require("services.system.settings").drop(desk.app)
  end)

  after_each(api.restore)

  local function moment(fields)
    local body = { name = "Refund", enabled = true, trigger_phrases = { "money back" },
      suggestion = "Offer the refund form." }
    for name, value in pairs(fields or {}) do
      body[name] = value
    end
    local made = desk:as("sue", "POST", base, body)
    assert(made.status == 201, made.text)
    return made.answer
  end

  local serial = 0
  local function says(text, role)
    serial = serial + 1
    local sent = desk:core("POST", "/calls/c1/transcript",
      { seq = serial, transcript = { { role = role or "customer", text = text } } })
    assert.equal(200, sent.status)
    local titles = {}
    for i, tip in ipairs(desk:call("c1").tips or {}) do
      titles[i] = tip.title
    end
    return table.concat(titles, ",")
  end

  local function talk()
    desk:enqueue("c1")
    desk:as("ann", "POST", "/calls/c1/accept")
  end

  it("lists moments by priority, a page at a time", function()
    for i = 1, 3 do moment({ name = "m" .. i, priority = i * 10 }) end
    local page = desk:as("sue", "GET", base .. "?limit=2").answer
    assert.same({ "m3", "m2", 2, 3, true }, { page.items[1].name, page.items[2].name, #page.items,
      page.total, page.total_exact })
    page = desk:as("sue", "GET", base .. "?limit=2&after=" .. page.next).answer
    assert.same({ "m1", json.null }, { page.items[1].name, page.next })
  end)

  it("keeps moments with their defaults and changes them", function()
    local made = moment()
    assert.same({ "general", 50, "customer", 60, true, 1, "Refund", false }, { made.category,
      made.priority, made.speaker, made.cooldown_seconds, made.once_per_call, made.max_per_call,
      made.card_title, made.compliance_required })
    local path = base .. "/" .. made.id
    assert.equal(9, desk:as("sue", "PATCH", path, { priority = 9 }).answer.priority)
    assert.same({ 400, "empty_patch" }, (function(req)
      return { req.status, req.answer.error }
    end)(desk:as("sue", "PATCH", path, {})))
    for _, wrong in ipairs({ { trigger_phrases = {} }, { priority = 1001 }, { nonsense = 1 } }) do
      assert.equal(422, desk:as("sue", "PATCH", path, wrong).status)
    end
    assert.equal(403, desk:as("ann", "GET", base).status)
    assert.equal(1, #desk:as("sue", "GET", base).answer.items)
    assert.equal(204, desk:as("sue", "DELETE", path).status)
    assert.equal(404, desk:as("sue", "PATCH", path, { priority = 1 }).status)
    assert.equal(404, desk:as("sue", "DELETE", path).status)
  end)

  it("brings a card for whole words, whatever their case and punctuation", function()
    moment()
    talk()
    assert.equal("", says("That is my money backup plan."))
    assert.equal("", says("Money? Come back!"))
    assert.equal("Refund", says("I want my MONEY, back!"))
    local tip = desk:call("c1").tips[1]
    assert.same({ "Offer the refund form.", "general", false, api.now }, { tip.suggestion,
      tip.category, tip.compliance_required, tip.at })
    assert.equal("Refund", desk:as("ann", "GET", "/calls/c1").answer.tips[1].title)
  end)

  it("brings one card a line, the most important, unless a negative phrase is said", function()
    moment({ name = "low", priority = 1 })
    moment({ name = "high", priority = 99, negative_phrases = { "no money back" } })
    talk()
    assert.equal("low", says("So there is no money back?"))
    api.now = api.now + 20000
    assert.equal("low,high", says("my money back"))
  end)

  it("listens to whom a moment is for, in its languages", function()
    moment({ name = "agent", speaker = "agent" })
    moment({ name = "hindi", language_codes = { "hi" } })
    talk()
    assert.equal("", says("money back"))
    assert.equal("", says("money back", "bot"))
    assert.equal("agent", says("money back", "agent"))
  end)

  it("waits between cards, and shows one as often as it may", function()
    moment({ name = "A", once_per_call = false, max_per_call = 2, cooldown_seconds = 60 })
    moment({ name = "B", trigger_phrases = { "lawyer" } })
    moment({ name = "C", trigger_phrases = { "record" }, compliance_required = true })
    talk()
    says("money back")
    assert.equal("A", says("my lawyer"))
    assert.equal("A,C", says("do you record this"))
    api.now = api.now + 20000
    assert.equal("A,C,B", says("my lawyer wants my money back"))
    api.now = api.now + 20000
    assert.equal("A,C,B", says("money back"))
    api.now = api.now + 20000
    assert.equal("A,C,B,A", says("money back"))
    api.now = api.now + 3600000
    assert.equal("A,C,B,A", says("money back"))
  end)

  it("says nothing for disabled moments, or when it is off", function()
    moment({ enabled = false })
    talk()
    assert.equal("", says("money back"))
    moment()
    desk.app.store:update("system_settings", "system", { set = { ["agent_assist.enabled"] = false } })
    require("services.system.settings").drop(desk.app)
    assert.equal("", says("money back"))
  end)

  it("tries a sentence without a call", function()
    local made = moment()
    moment({ name = "off", enabled = false, priority = 100 })
    local tried = desk:as("sue", "POST", base .. "/test", { text = "money back" }).answer
    assert.same({ made.id, 2, "off", false }, { tried.tip.moment_id, #tried.matches,
      tried.matches[1].name, tried.matches[1].enabled })
    tried = desk:as("sue", "POST", base .. "/test", { text = "x", speaker = "agent" }).answer
    assert.equal(0, #tried.matches)
  end)
end)
