local json = require("cxb.json")

describe("a list of contacts", function()
  local path

  before_each(function()
    path = os.tmpname()
  end)
  after_each(function()
    os.remove(path)
  end)

  local function open(text, options)
    local file = assert(io.open(path, "wb"))
    file:write(text)
    file:close()
    return cxb.contacts.open(path, options or { region = "IN", zone = "Asia/Kolkata" })
  end

  local function scanned(text, options)
    local import = assert(open(text, options))
    repeat
      local done, code = import:scan()
      assert(done ~= nil, code)
    until done
    return import
  end

  it("becomes documents whose ids sort as its rows do", function()
    local rows = { "phone_number,name" }
    for i = 1, 50 do
      rows[i + 1] = ("98765%05d,Person %d"):format(99999 - i * 7, i)
    end
    local import = scanned(table.concat(rows, "\n"))
    local before, count = "", 0
    repeat
      local more, contacts = import:write(20, '{"campaign_id":"cmp_1"')
      for _, row in ipairs(json.decode(contacts)) do
        count = count + 1
        assert.is_true(row[1] > before)
        before = row[1]
        assert.equal("Person " .. count, row[2].variables.name)
        assert.equal("cmp_1", row[2].campaign_id)
        assert.equal("Asia/Calcutta", row[2].zone_key)
      end
    until not more
    assert.equal(50, count)
  end)

  it("is refused with a code, a sentence and a line", function()
    local import, code, message, line = open("phone_number,_x\n")
    assert.is_nil(import)
    assert.equal("csv_reserved_column", code)
    assert.truthy(message:find("_x", 1, true))
    assert.equal(1, line)
    import = open("phone_number\n9876543210\ncaf\233\n")
    local done, of_scan, _, line_of_scan = import:scan()
    assert.is_nil(done)
    assert.equal("csv_encoding", of_scan)
    assert.equal(3, line_of_scan)
    assert.is_nil(cxb.contacts.open("/nowhere.csv", {}))
  end)

  it("gives its numbers to ask about, and marks those that must not be called", function()
    local import = scanned("phone_number\n9876543210\nbad\n9876543211\n9876543212\n+14155552671\n")
    local numbers, row = import:numbers(0, 2)
    assert.same({ "+919876543210", "+919876543211" }, numbers)
    import:suppress({ "+919876543211", "+919999999999" })
    numbers = import:numbers(row, 10)
    assert.same({ "+919876543212", "+14155552671" }, numbers)
    assert.is_true(import:suppress_prefixes({ "+1415" }))
    local report = import:report()
    assert.equal(2, report.accepted)
    assert.equal(2, report.dnc)
    assert.equal(1, report.skipped_invalid)
    assert.same({ { line = 3, rule = "number", value = "•••" } }, report.errors)
    local _, contacts, rejects = import:write(10, "{", nil)
    assert.is_nil(rejects)
    local states = {}
    for i, doc in ipairs(json.decode((contacts:gsub("{,", "{")))) do
      states[i] = doc[2].status
    end
    assert.same({ "pending", "dnc", "pending", "dnc" }, states)
  end)

  it("may be a list of numbers and nothing else", function()
    local import = scanned("phone_number,name\n9876543210,A\n", { numbers_only = true })
    local _, numbers = import:write(10, '{"scope":"global"')
    local row = json.decode(numbers)[1]
    assert.truthy(row[1]:match("^dnc_%x+$"))
    assert.same({ scope = "global", number = "+919876543210" }, row[2])
  end)
end)
