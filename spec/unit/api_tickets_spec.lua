-- Tickets the API makes are the ones a call worker takes.
local api = require("spec.support.api")

describe("a ticket to listen in", function()
  before_each(api.install)
  after_each(api.restore)

  it("opens the monitor of its call at a worker, for a minute", function()
    local auth, tickets = require("cxb.core.auth"), require("services.identity.tickets")
    local c = { CXBCORE_SECRET = api.SECRET }
    local app = { secrets = { core = api.SECRET, jwt = ("j"):rep(32) } }
    local ticket, expires_at = tickets.listen(app, "demo", "s-1")
    local function take(session_id, secret)
      return auth.listen_ticket({ CXBCORE_SECRET = secret or c.CXBCORE_SECRET },
        { query = "ticket=" .. ticket }, session_id)
    end
    local claims = assert(take("s-1"))
    assert.same({ "demo", "s-1" }, { claims.bot_id, claims.session_id })
    assert.is_true(#claims.jti > 8)
    assert.is_true(expires_at <= api.now + 60000)
    assert.is_nil(take("s-2"))
    assert.is_nil(take("s-1", ("x"):rep(32)))
    assert.are_not.equal(ticket, (tickets.listen(app, "demo", "s-1")))
    api.now = api.now + 120000
    assert.is_nil(take("s-1"))
  end)
end)
