-- Signing in and out, oneself, the first administrator (api.md §3.4, §5.2).
local attempts = require("services.identity.attempts")
local documents = require("services.web.documents")
local errors = require("services.web.errors")
local first_admin = require("services.identity.first_admin")
local json = require("cxb.json")
local passwords = require("services.identity.passwords")
local ranks = require("services.identity.ranks")
local schema = require("cxb.schema")
local sessions = require("services.identity.sessions")
local user_schema = require("schemas.user")
local users = require("services.identity.users")

local PREFS_MAX = 32 * 1024

local session_output = {
  type = "object", title = "Session",
  properties = {
    access_token = { type = "string" }, token_type = { type = "string" },
    expires_in = { type = "integer", description = "seconds" }, user = user_schema.output,
  },
}
local me_output = user_schema.output_with({
  prefs = { type = "object", additionalProperties = true },
})

local function session(ctx, user)
  local body = sessions.issue(ctx.app, user)
  body.user = user
  return { body = body }
end

-- What a good sign-in leaves on the record; an old hash becomes a new one.
local function signed_in(ctx, user, password)
  local set = { last_login_at = cxb.time.now() }
  if passwords.is_old(user.password_hash) then
    set.password_hash = passwords.hash(password)
  end
  local after, err = ctx.app.store:update("users", user._id, { set = set },
    { expect = { password_hash = user.password_hash } })
  if not after and err.code == "unavailable" then
    return nil, errors.of_store(err)
  end
  return after or user
end

-- Whom a sign-in names, for the audit: what is no address may be a password in the wrong field.
local function attempted(email)
  return { type = "user", name = email:match("^[^%s@]+@[^%s@]+$") }
end

local function login(ctx)
  local app, input = ctx.app, ctx.body
  ctx.audit = { target = attempted(input.email), changes = {} }
  local attempt, refused = attempts.begin(app, input.email, ctx.client)
  if not attempt then
    return nil, refused
  end
  local user, err = users.by_email(app.store, input.email)
  if err then
    return nil, errors.of_store(err)
  end
  local same = passwords.verify(input.password, user and user.password_hash)
  if not same or not user.is_active then
    return nil, errors.new(401, "invalid_credentials", "Email or password is wrong.")
  end
  attempts.succeeded(app, attempt)
  user, refused = signed_in(ctx, user, input.password)
  if not user then
    return nil, refused
  end
  ctx.principal = users.principal(user)
  ctx.audit.target.id = user._id
  return session(ctx, user)
end

local function register(ctx)
  local input = ctx.body
  if not ranks.may_give(ctx.principal, input.role) then
    return nil, errors.new(403, "rank", "A role above your own cannot be given.")
  end
  local temporary = input.password == nil and passwords.temporary() or nil
  local user, err = users.create(ctx.app.store, {
    email = input.email, name = input.name, role = input.role,
    password = input.password or temporary, temporary = temporary ~= nil,
    agent_languages = input.agent_languages, agent_primary_language = input.agent_primary_language,
  })
  if not user then
    return nil, err
  end
  ctx.audit = { target = { type = "user", id = user._id, name = user.email } }
  user.temporary_password = temporary
  return { body = user }
end

local function own_record(ctx)
  return documents.get(ctx, "users", ctx.principal.id, "user")
end

local my_fields = {
  type = "object", required = { "name" },
  properties = {
    name = user_schema.fields.name, agent_languages = user_schema.fields.agent_languages,
    agent_primary_language = user_schema.fields.agent_primary_language,
    prefs = {
      type = "object", additionalProperties = true, default = {},
      description = "saved views and the like, at most 32 KiB",
      rule = function(value)
        if #json.encode(value) > PREFS_MAX then
          return "must be at most 32 KiB"
        end
      end,
    },
  },
}

local function show_me(user)
  user.prefs = user.prefs or {}
  return { body = user, headers = { etag = documents.etag(user) } }
end

local function change_password(ctx)
  local input = ctx.body
  local user, err = own_record(ctx)
  if not user then
    return nil, err
  end
  local attempt
  attempt, err = attempts.begin(ctx.app, user.email, ctx.client)
  if not attempt then
    return nil, err
  elseif not passwords.verify(input.current_password, user.password_hash) then
    return nil, errors.new(403, "wrong_password", "The current password is wrong.")
  end
  attempts.succeeded(ctx.app, attempt)
  local wrong = passwords.wrong(input.new_password, user)
  if wrong then
    return nil, errors.invalid({ { path = "new_password", rule = "password", message = wrong } })
  end
  local changed, failed = ctx.app.store:update("users", user._id,
    users.password_operations(user, input.new_password, false, ctx.principal.jti),
    { expect = { password_hash = user.password_hash } })
  if not changed then
    return nil, errors.of_store(failed)
  end
  ctx.audit = { target = { type = "user", id = user._id, name = user.email }, changes = {} }
  return { status = 204 }
end

return {
  {
    verb = "POST", path = "/api/v1/auth/login", guard = "open", limit = "sign_in",
    audit = "auth.login", summary = "Signs in.",
    input = {
      type = "object", required = { "email", "password" },
      properties = {
        email = { type = "string", minLength = 1, maxLength = 254 },
        password = user_schema.password,
      },
    },
    output = session_output, errors = { "invalid_credentials", "rate_limited" },
    handler = login,
  },
  {
    verb = "POST", path = "/api/v1/auth/logout", guard = "any", audit = "auth.logout",
    summary = "Ends this session.", status = 204,
    handler = function(ctx)
      sessions.deny(ctx.app, ctx.principal.jti, ctx.principal.exp)
      return { status = 204 }
    end,
  },
  {
    verb = "POST", path = "/api/v1/auth/register", guard = "admin", audit = "user.create",
    summary = "Makes a user; without a password, one that has to be changed at the first sign-in.",
    input = {
      type = "object", required = { "email", "name", "role" },
      properties = {
        email = user_schema.email, name = user_schema.fields.name,
        role = user_schema.fields.role, password = user_schema.password,
        agent_languages = user_schema.fields.agent_languages,
        agent_primary_language = user_schema.fields.agent_primary_language,
      },
    },
    status = 201, errors = { "rank", "duplicate" },
    output = user_schema.output_with({ temporary_password = { type = "string" } }),
    example = { email = "asha@example.org", name = "Asha", role = "agent" },
    handler = register,
  },
  {
    verb = "GET", path = "/api/v1/auth/me", guard = "any", output = me_output,
    summary = "Who is signed in.",
    handler = function(ctx)
      local user, err = own_record(ctx)
      return user and show_me(user), err
    end,
  },
  {
    verb = "PUT", path = "/api/v1/auth/me", guard = "any", audit = "user.update",
    summary = "Changes one's own name, languages and preferences.",
    input = schema.partial(my_fields), output = me_output,
    example = { name = "Asha", prefs = { theme = "dark" } },
    handler = function(ctx)
      local user, err = documents.patch(ctx, "users", ctx.principal.id, "user", ctx.body, my_fields)
      if not user then
        return nil, err
      end
      ctx.audit = { target = { type = "user", id = user._id, name = user.email } }
      return show_me(user)
    end,
  },
  {
    verb = "PUT", path = "/api/v1/auth/me/password", guard = "any", audit = "user.password",
    summary = "Changes one's own password; other sessions end.", status = 204, versioned = false,
    input = {
      type = "object", required = { "current_password", "new_password" },
      properties = {
        current_password = user_schema.password, new_password = user_schema.password,
      },
    },
    errors = { "wrong_password" }, handler = change_password,
  },
  {
    verb = "GET", path = "/api/v1/auth/bootstrap", guard = "open", limit = "sign_in",
    summary = "Whether the first administrator is still to be made.",
    output = { type = "object", properties = { needed = { type = "boolean" } } },
    handler = function(ctx)
      local any, err = users.any(ctx.app.store)
      if any == nil then
        return nil, errors.of_store(err)
      end
      return { body = { needed = not any } }
    end,
  },
  {
    verb = "POST", path = "/api/v1/auth/bootstrap", guard = "open", limit = "sign_in",
    audit = "auth.bootstrap", status = 201,
    summary = "Makes the first administrator for who holds the setup token.",
    input = {
      type = "object", required = { "token", "email", "name", "password" },
      properties = {
        token = { type = "string", minLength = 1, maxLength = 128 }, email = user_schema.email,
        name = user_schema.fields.name, password = user_schema.password,
      },
    },
    output = session_output, errors = { "bad_setup_token", "already_bootstrapped" },
    handler = function(ctx)
      ctx.audit = { target = attempted(ctx.body.email), changes = {} }
      local user, err = first_admin.claim(ctx.app, ctx.body)
      if not user then
        return nil, err
      end
      ctx.principal = users.principal(user)
      ctx.audit.target.id = user._id
      return session(ctx, user)
    end,
  },
}
