-- The four ranks of people and who may change whom (api.md §3.1).
local M = {}

M.names = { "agent", "supervisor", "admin", "super_admin" }

local ranks = { agent = 0, supervisor = 1, admin = 2, super_admin = 3 }

---@param role string
---@return integer? 0 to 3
function M.of(role)
  return ranks[role]
end

---Whether `actor` may give this role to somebody.
function M.may_give(actor, role)
  return ranks[role] <= actor.rank
end

---Whether `actor` may change `user`: somebody below, or as super_admin another super_admin.
---@param actor {id: string, rank: integer}
---@param user {_id: string, role: string}
function M.may_change(actor, user)
  return actor.rank > ranks[user.role] or (actor.rank == ranks.super_admin and actor.id ~= user._id)
end

return M
