-- The people of the deployment (api.md §5.2), each changed only by who ranks above them.
local audit = require("services.identity.audit")
local desk_presence = require("services.desk.presence")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local lists = require("services.web.lists")
local passwords = require("services.identity.passwords")
local ranks = require("services.identity.ranks")
local schema = require("cxb.schema")
local user_schema = require("schemas.user")
local users = require("services.identity.users")

local fields = { type = "object", required = { "name", "role" }, properties = user_schema.fields }
local last_super = errors.new(409, "last_super_admin", "The last active super_admin stays.")

local function rank_error(message)
  return errors.new(403, "rank", message)
end

-- Somebody else whom the principal may change.
local function changeable(ctx, user)
  if not ranks.may_change(ctx.principal, user) then
    return nil, rank_error(user._id == ctx.principal.id and "Nobody does this to themself."
      or "This user's rank is not below yours.")
  end
  return true
end

-- Refuses what would leave no active super_admin.
local function keeps_super(ctx, user)
  if user.role ~= "super_admin" or not user.is_active then
    return true
  end
  local others, err = users.another_super(ctx.app.store, user._id)
  if others == nil then
    return nil, err
  end
  return others or nil, not others and last_super or nil
end

-- Somebody whom the principal may lower or switch off: never the last super_admin, who is told so,
-- or themself.
local function removable(ctx, user)
  local first, second = changeable, keeps_super
  if user._id == ctx.principal.id then
    first, second = second, first
  end
  local ok, refused = first(ctx, user)
  if ok then
    ok, refused = second(ctx, user)
  end
  return ok, refused
end

-- Two may take each other's rank at once: who leaves nobody behind gives it back.
local function undo_if_last(ctx, before, after)
  local n, err = ctx.app.store:count("users", { role = "super_admin", is_active = true },
    { max = 1 })
  if not n or n > 0 then
    return n ~= nil, err and errors.of_store(err)
  end
  ctx.app.store:update("users", after._id, { set = { role = before.role, is_active = true } })
  return false, last_super
end

local function note(ctx, before, after)
  local user = after or before
  ctx.audit = {
    target = { type = "user", id = user._id, name = user.email },
    changes = audit.changes(before, after),
  }
end

-- Reads, asks what to change, writes, and makes sure that a super_admin is left.
local function change(ctx, operations)
  local user, before = documents.change(ctx, "users", ctx.params.id, "user", function(found)
    return operations(found)
  end, user_schema.current)
  if not user then
    return nil, before
  end
  local kept, err = true, nil
  if before.role == "super_admin" then
    kept, err = undo_if_last(ctx, before, user)
  end
  if not kept then
    return nil, err
  end
  note(ctx, before, user)
  return user
end

local function demotes(found, patch)
  return patch.role ~= nil and ranks.of(patch.role) < ranks.of(found.role)
end

local function update(ctx)
  local patch = ctx.body
  local user, err = change(ctx, function(found)
    local may, refused = true, nil
    if demotes(found, patch) then
      may, refused = removable(ctx, found)
    elseif found._id ~= ctx.principal.id then
      may, refused = changeable(ctx, found)
    end
    if not may then
      return nil, refused
    end
    if patch.role and not ranks.may_give(ctx.principal, patch.role) then
      return nil, rank_error("A role above your own cannot be given.")
    end
    return documents.operations(patch, fields)
  end)
  if not user then
    return nil, err
  end
  return { body = user, headers = { etag = documents.etag(user) } }
end

local function toggle(ctx)
  local user, err = change(ctx, function(found)
    local may, refused = removable(ctx, found)
    if not may then
      return nil, refused
    end
    return { set = { is_active = not found.is_active, token_version = found.token_version + 1 },
      unset = { "token_kept" } }
  end)
  if user and not user.is_active then
    desk_presence.dismiss(ctx.app, user._id)
  end
  return user and { body = user }, err
end

local function reset_password(ctx)
  local given = ctx.body.password
  local temporary = given == nil and passwords.temporary() or nil
  local user, err = change(ctx, function(found)
    local may, refused = changeable(ctx, found)
    if not may then
      return nil, refused
    end
    local wrong = passwords.wrong(given or temporary, found)
    if wrong then
      return nil, errors.invalid({ { path = "password", rule = "password", message = wrong } })
    end
    return users.password_operations(found, given or temporary, temporary ~= nil)
  end)
  return user and { body = { temporary_password = temporary } }, err
end

-- (waits) How many calls an agent is on.
local function on_call(ctx, id)
  return ctx.app.store:count("agent_desk_calls",
    { agent_id = id, state = { ["in"] = { "assigned", "active", "wrap_up" } } }, { max = 1 })
end

-- First switched off, so that two who remove each other leave one behind.
local function remove(ctx)
  local user, err = change(ctx, function(found)
    local may, refused = removable(ctx, found)
    if not may then
      return nil, refused
    end
    local busy, failed = on_call(ctx, found._id)
    if not busy then
      return nil, errors.of_store(failed)
    elseif busy > 0 then
      return nil, errors.new(409, "on_call", "The user is on a call.")
    end
    return { set = { is_active = false, token_version = found.token_version + 1 },
      unset = { "token_kept" } }
  end)
  if not user then
    return nil, err
  end
  local gone, failed = ctx.app.store:delete("users", user._id)
  if not gone then
    return nil, errors.of_store(failed)
  end
  desk_presence.leave(ctx.app, user._id)
  note(ctx, user, nil)
  return { status = 204 }
end

return {
  {
    verb = "GET", path = "/api/v1/users", guard = "admin", summary = "The users, by email.",
    query = lists.query({
      role = user_schema.fields.role,
      q = { type = "string", minLength = 1, maxLength = 120,
        description = "how the email or the name begins" },
    }),
    output = lists.answer(user_schema.output),
    handler = function(ctx)
      local query = ctx.query
      local filter = { role = query.role }
      if query.q then
        filter.any_of = { { email = { prefix = query.q:lower() } },
          { name = { prefix = query.q } } }
      end
      local body, err = lists.page(ctx, "users", filter, { sort = { "email" } })
      return body and { body = body }, err
    end,
  },
  {
    verb = "GET", path = "/api/v1/users/{id}", guard = "admin", summary = "One user.",
    output = user_schema.output,
    handler = function(ctx)
      local user, err = documents.get(ctx, "users", ctx.params.id, "user")
      if not user then
        return nil, err
      end
      return { body = user, headers = { etag = documents.etag(user) } }
    end,
  },
  {
    verb = "PUT", path = "/api/v1/users/{id}", guard = "admin", audit = "user.update",
    summary = "Changes name, role and languages.", input = schema.partial(fields),
    output = user_schema.output, errors = { "rank", "last_super_admin", "version_conflict" },
    example = { name = "Asha" }, handler = update,
  },
  {
    verb = "POST", path = "/api/v1/users/{id}/deactivate", guard = "admin",
    audit = "user.deactivate", summary = "Switches a user off, or on again; sessions end.",
    output = user_schema.output, errors = { "rank", "last_super_admin" }, handler = toggle,
  },
  {
    verb = "POST", path = "/api/v1/users/{id}/reset-password", guard = "admin",
    audit = "user.reset_password", optional = true,
    summary = "Gives a user a new password, by default one that has to be changed at sign-in.",
    input = { type = "object", properties = { password = user_schema.password } },
    output = { type = "object", properties = { temporary_password = { type = "string" } } },
    errors = { "rank" }, handler = reset_password,
  },
  {
    verb = "DELETE", path = "/api/v1/users/{id}", guard = "super", audit = "user.delete",
    summary = "Removes a user; the audit keeps the name.", status = 204,
    errors = { "rank", "last_super_admin", "on_call" }, handler = remove,
  },
}
