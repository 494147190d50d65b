-- cxb.sqlite for specs that run outside the host: the same calls over libsqlite3, answered at once.
local ffi = require("ffi")

ffi.cdef([[
typedef struct sqlite3 sqlite3;
typedef struct sqlite3_stmt sqlite3_stmt;
int sqlite3_open(const char *, sqlite3 **);
int sqlite3_close(sqlite3 *);
int sqlite3_prepare_v2(sqlite3 *, const char *, int, sqlite3_stmt **, const char **);
int sqlite3_bind_int64(sqlite3_stmt *, int, int64_t);
int sqlite3_bind_double(sqlite3_stmt *, int, double);
int sqlite3_bind_text(sqlite3_stmt *, int, const char *, int, intptr_t);
int sqlite3_bind_null(sqlite3_stmt *, int);
int sqlite3_step(sqlite3_stmt *);
int sqlite3_finalize(sqlite3_stmt *);
int sqlite3_column_count(sqlite3_stmt *);
int sqlite3_column_type(sqlite3_stmt *, int);
const char *sqlite3_column_name(sqlite3_stmt *, int);
const char *sqlite3_column_text(sqlite3_stmt *, int);
int sqlite3_column_bytes(sqlite3_stmt *, int);
double sqlite3_column_double(sqlite3_stmt *, int);
int sqlite3_changes(sqlite3 *);
int sqlite3_extended_errcode(sqlite3 *);
const char *sqlite3_errmsg(sqlite3 *);
]])
local C = ffi.load("sqlite3.so.0")
local TRANSIENT = -1
local ROW, DONE = 100, 101

local db = {}
db.__index = db

local function bind(stmt, i, value)
  if type(value) == "number" and value == math.floor(value) then
    C.sqlite3_bind_int64(stmt, i, value)
  elseif type(value) == "number" then
    C.sqlite3_bind_double(stmt, i, value)
  elseif type(value) == "string" then
    C.sqlite3_bind_text(stmt, i, value, #value, TRANSIENT)
  elseif type(value) == "boolean" then
    C.sqlite3_bind_int64(stmt, i, value and 1 or 0)
  else
    C.sqlite3_bind_null(stmt, i)
  end
end

local function fetch(stmt)
  local row = {}
  for i = 0, C.sqlite3_column_count(stmt) - 1 do
    local kind, name = C.sqlite3_column_type(stmt, i), ffi.string(C.sqlite3_column_name(stmt, i))
    if kind == 1 or kind == 2 then
      row[name] = tonumber(C.sqlite3_column_double(stmt, i))
    elseif kind ~= 5 then
      row[name] = ffi.string(C.sqlite3_column_text(stmt, i), C.sqlite3_column_bytes(stmt, i))
    end
  end
  return row
end

function db:exec(sql, ...)
  local out = ffi.new("sqlite3_stmt *[1]")
  if C.sqlite3_prepare_v2(self.handle, sql, #sql, out, nil) ~= 0 then
    return nil, "sql", ffi.string(C.sqlite3_errmsg(self.handle)) .. " in " .. sql
  end
  for i = 1, select("#", ...) do
    bind(out[0], i, (select(i, ...)))
  end
  local rows = {}
  local code = C.sqlite3_step(out[0])
  while code == ROW do
    rows[#rows + 1] = fetch(out[0])
    code = C.sqlite3_step(out[0])
  end
  local extended = C.sqlite3_extended_errcode(self.handle)
  local message = ffi.string(C.sqlite3_errmsg(self.handle))
  C.sqlite3_finalize(out[0])
  if code ~= DONE then
    local unique = extended == 2067 or extended == 1555
    return nil, unique and "duplicate" or "io", message
  end
  return rows, C.sqlite3_changes(self.handle)
end

function db:close()
  C.sqlite3_close(self.handle)
end

local M = {}

function M.open(path)
  local out = ffi.new("sqlite3 *[1]")
  if C.sqlite3_open(path, out) ~= 0 then
    return nil, "io", "cannot open " .. path
  end
  return setmetatable({ handle = out[0] }, db)
end

return M
