-- People: the records behind sign-ins (api.md §3.1, §5.2).
local bounded = require("cxb.bounded")
local errors = require("services.web.errors")
local passwords = require("services.identity.passwords")
local ranks = require("services.identity.ranks")

local M = {}

local IDS_MAX = 1000
local ids = setmetatable({}, { __mode = "k" }) -- by store

-- The first one: two who set up at once meet on this id, and one of them is refused.
local FIRST_ID = "usr_" .. ("0"):rep(23) .. "1"

-- Whose address it was when it was last asked for. Who has it now, the record says.
local function id_known(store, email)
  local known = ids[store]
  if not known then
    known = bounded.new(IDS_MAX)
    ids[store] = known
  end
  return known:get(email), known
end

---(waits) The user of an address; nil without an error when there is none.
---@return table? user, table? err of the store
function M.by_email(store, email)
  email = email:lower()
  local id, known = id_known(store, email)
  if id then
    local user, err = store:get("users", id)
    if user and user.email == email then
      return user
    elseif not user and err.code ~= "not_found" then
      return nil, err
    end
  end
  local found, err = store:find("users", { email = email }, { limit = 1 })
  if not found then
    return nil, err
  end
  known:set(email, found[1] and found[1]._id)
  return found[1]
end

---(waits) Whether there is anybody.
---@return boolean? any, table? err
function M.any(store)
  local n, err = store:count("users", {}, { max = 1 })
  if not n then
    return nil, err
  end
  return n > 0
end

---(waits)
---@param person table email, name, role, password; temporary?, agent_languages?,
---agent_primary_language?, first? (the very first user)
---@return table? user, api.error? err 422 password, 409 duplicate
function M.create(store, person)
  local wrong = passwords.wrong(person.password, person)
  if wrong then
    return nil, errors.invalid({ { path = "password", rule = "password", message = wrong } })
  end
  local user, err = store:insert("users", {
    _id = person.first and FIRST_ID or nil, email = person.email:lower(), name = person.name,
    role = person.role, is_active = true, password_hash = passwords.hash(person.password),
    token_version = 1, must_change_password = person.temporary or false,
    agent_languages = person.agent_languages or { "en" },
    agent_primary_language = person.agent_primary_language,
  })
  if not user then
    return nil, err.code == "duplicate"
      and errors.new(409, "duplicate", "There is a user of this email already.")
      or errors.of_store(err)
  end
  return user
end

---A new password as store operations; every session ends but the one that is kept.
---@param kept? string jti
function M.password_operations(user, text, temporary, kept)
  return {
    set = {
      password_hash = passwords.hash(text), must_change_password = temporary or false,
      token_version = user.token_version + 1, token_kept = kept,
    },
    unset = not kept and { "token_kept" } or nil,
  }
end

---(waits) Whether there is an active super_admin other than this user.
---@return boolean? others, api.error? err
function M.another_super(store, id)
  local n, err = store:count("users",
    { role = "super_admin", is_active = true, _id = { ne = id } }, { max = 1 })
  if not n then
    return nil, errors.of_store(err)
  end
  return n > 0
end

---A user as a principal of requests.
---@param claims? table of the token
function M.principal(user, claims)
  return {
    kind = "user", id = user._id, email = user.email, name = user.name, role = user.role,
    rank = ranks.of(user.role), must_change_password = user.must_change_password,
    jti = claims and claims.jti, exp = claims and claims.exp,
  }
end

return M
