-- Lists of documents: `limit` with `after` (a cursor) or `page`, and a total that counts to 10,000
-- (api.md §4).
local errors = require("services.web.errors")
local json = require("cxb.json")

local M = {}

local COUNT_MAX, PAGE_ROWS_MAX = 10000, 100000

---The schema of a list's query string.
---@param properties? table<string, table> its filters
---@return table
function M.query(properties)
  local all = {
    limit = { type = "integer", minimum = 1, maximum = 200, default = 50 },
    after = { type = "string", maxLength = 2048, description = "`next` of the page before" },
    page = { type = "integer", minimum = 1, maximum = PAGE_ROWS_MAX },
  }
  for name, property in pairs(properties or {}) do
    all[name] = property
  end
  return { type = "object", properties = all }
end

---The schema of a list's answer.
---@param item table schema of one item
---@return table
function M.answer(item)
  return {
    type = "object", required = { "items", "next", "total", "total_exact" },
    properties = {
      items = { type = "array", items = item }, next = { type = "string", nullable = true },
      total = { type = "integer" }, total_exact = { type = "boolean" },
    },
  }
end

local function bad_page(rule)
  return errors.new(400, "invalid_query", "Query: page " .. rule .. ".",
    { fields = { { path = "page", rule = "range", message = rule } } })
end

-- Rows before the page asked for.
local function skip_of(query)
  if not query.page then
    return 0
  elseif query.after then
    return nil, bad_page("does not go with after")
  elseif query.page * query.limit > PAGE_ROWS_MAX then
    return nil, bad_page(("times limit is at most %d; use after"):format(PAGE_ROWS_MAX))
  end
  return (query.page - 1) * query.limit
end

---One page, by ctx.query, of rows that are all at hand.
---@param ctx table
---@param rows table[]
---@param field string a text of its own in each row, which sorts them
---@return table? answer {items, next, total, total_exact}, api.error? err
function M.cut(ctx, rows, field)
  local query = ctx.query
  local skip, refused = skip_of(query)
  if not skip then
    return nil, refused
  end
  table.sort(rows, function(a, b)
    return a[field] < b[field]
  end)
  local items, left = json.array(), 0
  for i, row in ipairs(rows) do
    if i > skip and (not query.after or row[field] > query.after) then
      if #items < query.limit then
        items[#items + 1] = row
      else
        left = left + 1
      end
    end
  end
  return {
    items = items, next = left > 0 and items[#items][field] or json.null, total = #rows,
    total_exact = true,
  }
end

-- (waits) How many documents match, up to one more than are counted. A page that is the last one
-- tells it itself: a filter that finds few reads what it has to read once.
local function total_of(store, collection, filter, query, last)
  if last and not query.after then
    return last
  end
  return store:count(collection, filter, { max = COUNT_MAX + 1 })
end

---(waits) One page of a collection by ctx.query.
---@param ctx table
---@param collection string
---@param filter table
---@param options? {sort?: string[], fields?: string[], show?: fun(doc: table): table}
---@return table? answer {items, next, total, total_exact}, api.error? err
function M.page(ctx, collection, filter, options)
  options = options or {}
  local store, query = ctx.app.store, ctx.query
  local skip, refused = skip_of(query)
  if not skip then
    return nil, refused
  end
  local docs, next_or_err = store:find(collection, filter, {
    sort = options.sort, fields = options.fields, limit = query.limit, after = query.after,
    skip = skip > 0 and skip or nil,
  })
  if not docs then
    return nil, errors.of_store(next_or_err)
  end
  local last = not next_or_err and (docs[1] or skip == 0) and skip + #docs or nil
  local total, err = total_of(store, collection, filter, query, last)
  if not total then
    return nil, errors.of_store(err)
  end
  for i, doc in ipairs(options.show and docs or {}) do
    docs[i] = options.show(doc)
  end
  return {
    items = json.array(docs), next = next_or_err or json.null,
    total = math.min(total, COUNT_MAX), total_exact = total <= COUNT_MAX,
  }
end

return M
