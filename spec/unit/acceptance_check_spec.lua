describe("the acceptance map's check", function()
  local check = require("spec.acceptance_check").check

  local sources = {
    ["spec/unit/a_spec.lua"] = 'it("counts to two", function() end)\npending("counts to three")',
    ["spec/c/test_a.c"] = "static void adds_up(void **s) {}\n... cmocka_unit_test(adds_up),",
  }
  local function faults_of(...)
    local rows = { "| statement | proof |", "| --- | --- |" }
    for _, row in ipairs({ ... }) do rows[#rows + 1] = row end
    return check(table.concat(rows, "\n"), function(path) return sources[path] end)
  end

  it("accepts a spec's title, a C test's name and a command with its output", function()
    local faults, statements = faults_of(
      '| one | `spec/unit/a_spec.lua` "counts to two" |',
      '| two | `spec/c/test_a.c` "adds_up" |',
      "| three | `$ make up` → `http://127.0.0.1:8080` |")
    assert.same({}, faults)
    assert.equal(3, statements)
  end)

  it("refuses a title that stands in no spec", function()
    local faults = faults_of('| one | `spec/unit/a_spec.lua` "counts to four" |')
    assert.equal(1, #faults)
    assert.matches('no test "counts to four"', faults[1], 1, true)
  end)

  it("refuses a test that is pending", function()
    assert.equal(1, #faults_of('| one | `spec/unit/a_spec.lua` "counts to three" |'))
  end)

  it("refuses a C function that is no registered test", function()
    assert.equal(1, #faults_of('| one | `spec/c/test_a.c` "adds" |'))
  end)

  it("refuses a file that does not exist", function()
    assert.matches("no file spec/unit/b_spec.lua",
      faults_of('| one | `spec/unit/b_spec.lua` "x" |')[1], 1, true)
  end)

  it("refuses a statement without proof and a command without output", function()
    assert.equal(2, #faults_of("| one | later |", "| two | `$ make up` |"))
  end)

  it("refuses a page without statements", function()
    assert.equal(1, #faults_of())
  end)
end)
