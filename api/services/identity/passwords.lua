-- Passwords (api.md §3.1): what is accepted, what is stored.
local M = {}

local MIN, MAX = 10, 128

-- Verified for an address nobody has, so that its answer takes as long as another's.
local DUMMY = "$argon2id$v=19$m=19456,t=2,p=1$c8wp7dEl/f2YabRgu/kPMg"
  .. "$bfAjCryQIDL4yQPjjeLo/7/Azqpk67Ug1g+K2a+EF3w"

---What is wrong with a new password; nil: nothing.
---@param text string
---@param person {email: string, name?: string}
---@return string?
function M.wrong(text, person)
  local _, continuation = text:gsub("[\128-\191]", "")
  local characters = #text - continuation
  if characters < MIN or characters > MAX then
    return ("must be %d to %d characters"):format(MIN, MAX)
  end
  local lower = text:lower()
  if lower == person.email:lower() or (person.name and lower == person.name:lower()) then
    return "must not be the email or the name"
  end
end

---(waits) argon2id, PHC.
---@return string? hash, api.error? err
function M.hash(text)
  local hash, code, message = cxb.crypto.password_hash(text)
  if not hash then
    error(("password hash: %s: %s"):format(code, message))
  end
  return hash
end

---(waits) As long for nobody's hash as for somebody's.
---@param hash? string
---@return boolean
function M.verify(text, hash)
  local same = cxb.crypto.password_verify(text, hash or DUMMY)
  return hash ~= nil and same
end

---Whether a hash is an older kind than new ones.
function M.is_old(hash)
  return hash:sub(1, 31) ~= DUMMY:sub(1, 31)
end

---One that a person types once.
function M.temporary()
  return cxb.crypto.base64url(cxb.crypto.random(12))
end

return M
