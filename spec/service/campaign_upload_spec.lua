-- stores: both
local Campaigns = require("support.campaigns")
local support = require("support.world")

describe("a campaign's list", function()
  local world, site

  setup(function()
    world = support.new()
    site = Campaigns.start(world)
  end)

  teardown(function()
    site:close()
    world:close()
  end)

  local function refused(text, code, line)
    local campaign = site:campaign()
    local answer = site:upload(campaign.id, text)
    assert.same({ 422, code }, { answer.status, answer.answer.error }, answer.body)
    assert.equal(line, answer.answer.line)
    assert.equal(0, #site:contacts(campaign.id))
  end

  it("is taken with every row judged, counted and masked", function()
    local id = site:campaign().id
    local answer = site:upload(id, table.concat({
      "phone_number;name;timezone;external_id",
      '98765 43210;"Asha; ""A""\nRao";Europe/Berlin;x-1',
      "09876543211;=1+1;Mars/Base;",
      "+919876543210;Again;;",
      "12345;Short;;",
      "+14155552671;;;",
      "9876543212;More;;;cells",
      "9876543213;" .. ("x"):rep(4097) .. ";;", "" }, "\r\n"))
    assert.equal(200, answer.status, answer.body)
    local report = answer.answer
    assert.same({ 7, 3, 3, 1, 0, 0, 1 }, { report.rows_total, report.accepted,
      report.skipped_invalid, report.skipped_duplicate, report.dnc, report.over_limit,
      report.unknown_timezone })
    assert.same({ "phone_number", "name", "timezone", "external_id" }, report.columns)
    assert.same({ line = 5, rule = "duplicate", value = "+91••••••3210" }, report.errors[1])
    assert.same({ "number", "columns", "cell_length" }, { report.errors[2].rule,
      report.errors[3].rule, report.errors[4].rule })
    local rows = site:contacts(id)
    assert.same({ "+14155552671", "America/Los_Angeles", nil }, { rows[1].phone_number,
      rows[1].zone_key, rows[1].variables.name })
    assert.same({ "Europe/Berlin", "Europe/Berlin", "x-1", 'Asha; "A"\nRao', "+919876543210" },
      { rows[2].zone_key, rows[2].timezone, rows[2].external_id, rows[2].variables.name,
        rows[2].variables.phone_number })
    assert.same({ "Asia/Calcutta", "=1+1", "pending", 0, 1 }, { rows[3].zone_key,
      rows[3].variables.name, rows[3].status, rows[3].attempts_made, rows[3].run_number })
    local csv = site:ask("GET", "/campaigns/" .. id .. "/upload-report.csv")
    assert.equal("text/csv; charset=utf-8", csv.headers["content-type"])
    assert.matches("^line,rule,value\r\n5,duplicate,'%+91[^\r]+3210\r\n6,number,[^\r]+\r\n", csv.body)
    assert.equal(5, select(2, csv.body:gsub("\r\n", "")))
  end)

  it("is refused as a whole when the file is not what it should be", function()
    refused("phone_number,name\n9876543210,Asha\n9876543211,Jos\233\n", "csv_encoding", 3)
    refused('phone_number,name\n9876543210,"Asha\n9876543211,B\n', "csv_quote", 2)
    assert.equal(422, site:upload(site:campaign().id, "").status)
  end)

  it("needs a header with its one column and without ours", function()
    refused("name,city\nAsha,Pune\n", "csv_missing_column", 1)
    refused("9876543210,Asha\n", "csv_header", 1)
    refused("phone_number,_skip_post_push\n9876543210,true\n", "csv_reserved_column", 1)
    refused("phone_number,name,name\n9876543210,a,b\n", "csv_header", 1)
    refused("phone_number\n123\nabc\n", "no_valid_rows")
  end)

  it("takes one contact of a number that stands in every row", function()
    local id = site:campaign().id
    local answer = site:upload(id, "phone_number\n" .. ("9876543210\n"):rep(1000))
    assert.same({ 200, 1000, 1, 999, 0 }, { answer.status, answer.answer.rows_total,
      answer.answer.accepted, answer.answer.skipped_duplicate, answer.answer.skipped_invalid })
    assert.equal(1, #site:contacts(id))
  end)

  it("may come with a byte order mark, as a form's field, or as a trial", function()
    local id = site:campaign().id
    local text = "\239\187\191phone_number\tname\n9876543210\tAsha\n"
    local answer = site:upload(id, text, "?dry_run=true")
    assert.same({ 200, 1 }, { answer.status, answer.answer.accepted })
    assert.equal(0, #site:contacts(id))
    local body = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/x/l.csv\"\r\n"
      .. "Content-Type: text/csv\r\n\r\n" .. text .. "\r\n--b--\r\n"
    answer = site:ask("POST", "/campaigns/" .. id .. "/upload", body,
      { headers = { ["content-type"] = "multipart/form-data; boundary=b" } })
    assert.equal(200, answer.status, answer.body)
    assert.equal("l.csv", site:settled(id).upload.file_name)
    assert.equal("Asha", site:contacts(id)[1].variables.name)
  end)

  it("of 500,001 rows is taken but for the last", function()
    if require("support.backing").mongo then
      return -- a matter of the reader; the wire's server takes minutes for it
    end
    local id, n = site:campaign().id, 0
    local answer = site:ask("POST", "/campaigns/" .. id .. "/upload?dry_run=true", function()
      n = n + 1
      if n == 1 then
        return "phone_number\n9876543210\n"
      end
      return n <= 501 and ("1\n"):rep(1000) or nil
    end, { headers = { ["content-type"] = "text/csv" }, timeout_ms = 120000 })
    assert.equal(200, answer.status, answer.body)
    assert.same({ 500001, 1, 499999, 1 }, { answer.answer.rows_total, answer.answer.accepted,
      answer.answer.skipped_invalid, answer.answer.over_limit })
    assert.equal(100, #answer.answer.errors)
  end)

  it("larger than 50 MB is refused before it is read", function()
    local id = site:campaign().id
    local n = 0
    local answer = site:ask("POST", "/campaigns/" .. id .. "/upload", function()
      n = n + 1
      return n <= 900 and ("x"):rep(65536) or nil
    end, { headers = { ["content-type"] = "text/csv" }, timeout_ms = 120000 })
    assert.is_true(answer.status == 413 or answer.status == 0, answer.body)
    assert.equal(0, #(cxb.fs.list(site.api.dir .. "/state/uploads") or {}))
  end)

  it("replaces the one before, whole", function()
    local id = site:campaign().id
    site:upload(id, Campaigns.numbers(250))
    site:settled(id)
    assert.equal(422, site:upload(id, "phone_number\n1\n").status)
    assert.equal(250, #site:contacts(id))
    assert.equal(200, site:upload(id, Campaigns.numbers(3, 20000000)).status)
    site:settled(id)
    assert.equal(3, #site:contacts(id))
    assert.equal(3, site:ask("GET", "/campaigns/" .. id).answer.stats.total)
  end)

  it("holds numbers of the DNC list as such", function()
    local numbers = { "+919811111111", "+919822222222", "+919833*" }
    assert.equal(200, site:ask("POST", "/dnc", { numbers = numbers }).status)
    local campaign = site:campaign()
    assert.equal(200, site:ask("POST", "/dnc", { numbers = { "9844444444" },
      scope = campaign.id }).status)
    local answer = site:upload(campaign.id, "phone_number\n9811111111\n9822222222\n9833333333\n"
      .. "9844444444\n9855555555\n")
    assert.same({ 200, 1, 4 }, { answer.status, answer.answer.accepted, answer.answer.dnc })
    local states = {}
    for i, contact in ipairs(site:contacts(campaign.id)) do
      states[i] = contact.status
    end
    assert.same({ "dnc", "dnc", "dnc", "dnc", "pending" }, states)
  end)
end)

describe("a crash", function()
  local world

  before_each(function()
    world = support.new()
  end)
  after_each(function()
    world:close()
  end)

  -- The API again, without a fault; what it was at is nobody's.
  local function again(site, id)
    site.api.env.CXB_CRASH_AT = nil
    site.api:run()
    site:set(id, { ["job.until"] = 1 })
    return site:settled(id)
  end

  -- Uploads a second list to an API that dies at a point; what is there after its restart.
  local function crash(point)
    local site = Campaigns.start(world)
    local id = site:campaign().id
    site:upload(id, Campaigns.numbers(3))
    site:settled(id)
    site.api.process:stop()
    site.api.env.CXB_DEV, site.api.env.CXB_CRASH_AT = "1", point
    site.api:run()
    local answer = site:upload(id, Campaigns.numbers(900, 20000000))
    assert.equal(0, answer.status)
    local campaign = again(site, id)
    local rows = site:contacts(id)
    assert.equal(200, site:upload(id, Campaigns.numbers(2)).status)
    site:close()
    return #rows, campaign
  end

  it("while a list is loaded leaves the old list when the new one was not whole", function()
    local rows, campaign = crash("campaign_upload.rows:2")
    assert.same({ 3, 3 }, { rows, campaign.upload.accepted })
  end)

  it("while a list is loaded leaves the new list when the campaign pointed to it", function()
    local rows, campaign = crash("campaign_upload.pointed")
    assert.same({ 900, 900 }, { rows, campaign.upload.accepted })
  end)

  it("in the middle of a stop and of a restart is made good by the next process", function()
    local site = Campaigns.start(world)
    local id = site:campaign().id
    site:upload(id, Campaigns.numbers(3))
    site:settled(id)
    local function die(action)
      site.api.process:stop()
      site.api.env.CXB_DEV, site.api.env.CXB_CRASH_AT = "1", "campaign_action.written"
      site.api:run()
      assert.equal(0, site:ask("POST", "/campaigns/" .. id .. "/" .. action).status)
      return again(site, id)
    end
    assert.equal(200, site:ask("POST", "/campaigns/" .. id .. "/start").status)
    local campaign = die("stop")
    assert.same({ "completed", 3, 0 }, { campaign.status, campaign.stats.finished,
      campaign.stats.waiting })
    campaign = die("restart")
    assert.same({ "draft", 2, 3 }, { campaign.status, campaign.run_number,
      campaign.stats.waiting })
    assert.equal(6, #site:contacts(id))
    campaign = die("cancel-restart")
    assert.same({ "completed", 1, 3 }, { campaign.status, campaign.run_number,
      #site:contacts(id) })
    site:close()
  end)
end)
