-- cxb.sqlite as scripts see it.

local World = require "support.world"

describe("cxb.sqlite", function()
  local world, dir, db

  before_each(function()
    world = World.new()
    dir = world:folder()
    db = assert(cxb.sqlite.open(dir .. "/a.db"))
  end)

  after_each(function()
    db:close()
    world:close()
  end)

  it("gives every value back as it was", function()
    assert(db:exec("CREATE TABLE t(a, b, c, d, e, f)"))
    assert(db:exec("INSERT INTO t VALUES(?,?,?,?,?,?)", 2 ^ 53, -0.5, "a\0ü", cxb.null, true,
      { blob = "\255\0" }))
    local rows, changes = db:exec("SELECT *, typeof(f) AS kind, a * 4 AS big FROM t")
    assert.same({ {
      a = 2 ^ 53, b = -0.5, c = "a\0ü", e = 1, f = "\255\0", kind = "blob",
      big = "36028797018963968",
    } }, rows)
    assert.equal(0, changes)
    assert.is_nil(rows[1].d)
  end)

  it("counts the rows that a statement changed", function()
    assert(db:exec("CREATE TABLE t(a)"))
    local rows, changes = db:exec("INSERT INTO t VALUES(1),(2),(3) RETURNING a")
    assert.equal(3, #rows)
    assert.equal(3, changes)
    assert.equal(2, select(2, db:exec("DELETE FROM t WHERE a > 1")))
  end)

  it("says in a word why a statement failed", function()
    assert(db:exec("CREATE TABLE t(a PRIMARY KEY, b CHECK (b > 0))"))
    assert(db:exec("INSERT INTO t VALUES(1, 1)"))
    local function code(...)
      local ok, word, message = db:exec(...)
      assert.is_nil(ok)
      assert.is_string(message)
      return word
    end
    assert.equal("duplicate", code("INSERT INTO t VALUES(1, 1)"))
    assert.equal("constraint", code("INSERT INTO t VALUES(2, 0)"))
    assert.equal("sql", code("SELEC 1"))
    assert.equal("sql", code("SELECT ?", 1, 2))
    assert.equal("sql", code("BEGIN"))
    assert.has_error(function() db:exec("SELECT ?", print) end)
  end)

  it("does all of a batch or nothing of it", function()
    assert(db:exec("CREATE TABLE t(a PRIMARY KEY)"))
    local answers = assert(db:batch {
      { "INSERT INTO t VALUES(?)", 1 }, { "INSERT INTO t VALUES(?),(?) RETURNING a", 2, 3 },
    })
    assert.same({ 1, 2 }, { answers[1].changes, answers[2].changes })
    assert.same({ { a = 2 }, { a = 3 } }, answers[2].rows)
    local ok, code, message = db:batch { { "INSERT INTO t VALUES(4)" }, { "INSERT INTO t VALUES(1)" } }
    assert.is_nil(ok)
    assert.equal("duplicate", code)
    assert.truthy(message:find("statement 2", 1, true))
    assert.equal(3, db:exec("SELECT count(*) AS n FROM t")[1].n)
    assert.same({}, db:batch {})
  end)

  it("answers each of many tasks, whatever becomes of the others", function()
    assert(db:exec("CREATE TABLE t(a INTEGER PRIMARY KEY)"))
    local handles = {}
    for i = 1, 100 do
      handles[i] = cxb.task.spawn("writer", function()
        return select(2, db:exec("INSERT INTO t VALUES(?)", i % 90))
      end)
    end
    local duplicates = 0
    for _, handle in ipairs(handles) do
      if handle:wait() == "duplicate" then duplicates = duplicates + 1 end
    end
    assert.equal(10, duplicates)
    assert.equal(90, db:exec("SELECT count(*) AS n FROM t")[1].n)
  end)

  it("does not keep a write waiting for a long read", function()
    assert(db:exec("CREATE TABLE t(a)"))
    local read = false
    cxb.task.spawn("reader", function()
      db:exec("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1e9) "
        .. "SELECT sum(i) FROM n")
      read = true
    end)
    for _ = 1, 10 do assert(db:exec("INSERT INTO t VALUES(1)")) end
    assert.is_false(read)
    db:close() -- ends it
    World.wait_until("the read to end", function() return read end)
  end)

  it("shares one connection between all who open a path", function()
    local other = assert(cxb.sqlite.open(dir .. "/./a.db"))
    assert(db:exec("CREATE TEMP TABLE only_here(a)"))
    assert(other:exec("INSERT INTO only_here VALUES(1)"))
    other:close()
    assert.same({ nil, "closed" }, { (other:exec("SELECT 1")), (select(2, other:exec("SELECT 1"))) })
    assert(db:exec("SELECT 1"))
  end)

  it("keeps a locked file from other processes", function()
    local path = dir .. "/locked.db"
    local mine = assert(cxb.sqlite.open(path, { lock = true }))
    world:write(dir .. "/open.lua", ([[
      local db, code = cxb.sqlite.open(%q, { lock = true })
      cxb.process.print(db and "opened" or code)]]):format(path))
    local function other()
      local p = world:start({ World.program, dir .. "/open.lua" })
      assert.equal(0, p:wait())
      return p:output()
    end
    assert.equal("busy", other())
    mine:close()
    World.wait_until("the lock to go", function() return other() == "opened" end)
  end)

  it("names a file that is damaged or cannot be", function()
    world:write(dir .. "/junk.db", ("no database "):rep(100))
    local ok, code, message = cxb.sqlite.open(dir .. "/junk.db")
    assert.is_nil(ok)
    assert.equal("corrupt", code)
    assert.truthy(message:find(dir .. "/junk.db", 1, true))
    ok, code = cxb.sqlite.open(dir .. "/none.db", { readonly = true })
    assert.is_nil(ok)
    assert.equal("not_found", code)
  end)

  it("gives a look at a document its answer however little memory the script has left", function()
    world:write(dir .. "/tight.lua", ([[
      local db = assert(cxb.sqlite.open(%q))
      assert(db:exec("CREATE TABLE t(id INTEGER PRIMARY KEY, text TEXT)"))
      assert(db:exec("INSERT INTO t VALUES(1, ?)", ("x"):rep(1048576)))
      local held = {}
      pcall(function()
        while true do held = { held, ("y"):rep(10000) .. math.random() } end
      end)
      local ok, rows = pcall(db.look, db, "SELECT text FROM t WHERE id=1")
      held = nil
      print(ok and #rows[1].text or rows)
    ]]):format(dir .. "/tight.db"))
    local p = world:start({ World.program, dir .. "/tight.lua" }, { CXB_MAX_SCRIPT_MB = "16" })
    assert.equal(0, p:wait(30000))
    assert.equal("1048576", p:output())
  end)
end)
