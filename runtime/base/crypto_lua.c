/* cxb.crypto */
#include <lauxlib.h>
#include <lua.h>
#include <stdlib.h>

#include "../host/host.h"
#include "../host/task.h"
#include "base64.h"
#include "crypto.h"
#include "err.h"
#include "password_lua.h"
#include "seal.h"

static int l_sha256(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  uint8_t out[32];
  cxb_sha256(data, len, out);
  lua_pushlstring(L, (char *)out, sizeof out);
  return 1;
}

static int l_hmac(lua_State *L) {
  size_t key_len, len;
  const char *key = luaL_checklstring(L, 1, &key_len), *data = luaL_checklstring(L, 2, &len);
  uint8_t out[CXB_HMAC_MAX];
  size_t n = cxb_hmac(lua_tostring(L, lua_upvalueindex(1)), key, key_len, data, len, out);
  lua_pushlstring(L, (char *)out, n);
  return 1;
}

static int l_hkdf(lua_State *L) {
  size_t len;
  const char *secret = luaL_checklstring(L, 1, &len), *label = luaL_checkstring(L, 2);
  lua_Integer want = luaL_checkinteger(L, 3);
  uint8_t out[512];
  luaL_argcheck(L, want > 0 && want <= (lua_Integer)sizeof out, 3, "1 to 512 bytes");
  cxb_hkdf_sha256(secret, len, label, out, (size_t)want);
  lua_pushlstring(L, (char *)out, (size_t)want);
  return 1;
}

static int l_rs256(lua_State *L) {
  size_t pem_len, len, out_len = 2048;
  const char *pem = luaL_checklstring(L, 1, &pem_len), *data = luaL_checklstring(L, 2, &len);
  uint8_t out[2048];
  if (cxb_rs256_sign(pem, pem_len, data, len, out, &out_len) != 0)
    return cxb_push_error(L, CXB_EINVAL, "expected an RSA private key in PEM");
  lua_pushlstring(L, (char *)out, out_len);
  return 1;
}

static const uint8_t *check_seal_key(lua_State *L) {
  size_t len;
  const char *key = luaL_checklstring(L, 1, &len);
  luaL_argcheck(L, len == CXB_SEAL_KEY, 1, "a key of 32 bytes");
  return (const uint8_t *)key;
}

static int l_seal(lua_State *L) {
  size_t len;
  const uint8_t *key = check_seal_key(L);
  const char *text = luaL_checklstring(L, 2, &len);
  uint8_t *out = malloc(len + CXB_SEAL_EXTRA);
  if (!out)
    return luaL_error(L, "out of memory");
  cxb_seal(key, text, len, out);
  lua_pushlstring(L, (char *)out, len + CXB_SEAL_EXTRA);
  free(out);
  return 1;
}

static int l_unseal(lua_State *L) {
  size_t len;
  const uint8_t *key = check_seal_key(L);
  const char *sealed = luaL_checklstring(L, 2, &len);
  char *out = malloc(len + 1);
  if (!out)
    return luaL_error(L, "out of memory");
  if (cxb_unseal(key, (const uint8_t *)sealed, len, out) == 0)
    lua_pushlstring(L, out, len - CXB_SEAL_EXTRA);
  else
    lua_pushnil(L);
  free(out);
  return 1;
}

static int l_equal(lua_State *L) {
  size_t a_len, b_len;
  const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);
  lua_pushboolean(L, cxb_equal(a, a_len, b, b_len));
  return 1;
}

static int l_random(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  uint8_t out[4096];
  luaL_argcheck(L, n > 0 && n <= (lua_Integer)sizeof out, 1, "1 to 4096 bytes");
  cxb_random(out, (size_t)n);
  lua_pushlstring(L, (char *)out, (size_t)n);
  return 1;
}

static int l_uuid4(lua_State *L) {
  char out[CXB_UUID_LEN];
  cxb_uuid4(out);
  lua_pushstring(L, out);
  return 1;
}

static int l_uuid5(lua_State *L) {
  size_t len;
  const char *name = luaL_checklstring(L, 1, &len);
  char out[CXB_UUID_LEN];
  cxb_uuid5(name, len, out);
  lua_pushstring(L, out);
  return 1;
}

static int l_uuid7(lua_State *L) {
  char out[CXB_UUID_LEN];
  cxb_uuid7(out);
  lua_pushstring(L, out);
  return 1;
}

static int l_hex(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  luaL_Buffer b;
  luaL_buffinit(L, &b);
  for (size_t i = 0; i < len; i++) {
    luaL_addchar(&b, digits[(uint8_t)data[i] >> 4]);
    luaL_addchar(&b, digits[(uint8_t)data[i] & 15]);
  }
  luaL_pushresult(&b);
  return 1;
}

static int l_base64(lua_State *L) {
  size_t len;
  const char *data = luaL_checklstring(L, 1, &len);
  char *out = malloc(CXB_BASE64_LEN(len) + 1);
  if (!out)
    return luaL_error(L, "out of memory");
  size_t n = lua_toboolean(L, lua_upvalueindex(1)) ? cxb_base64url_encode(out, data, len)
                                                   : cxb_base64_encode(out, data, len);
  lua_pushlstring(L, out, n);
  free(out);
  return 1;
}

static int l_unbase64(lua_State *L) {
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  char *out = malloc(len / 4 * 3 + 3);
  if (!out)
    return luaL_error(L, "out of memory");
  long n = cxb_base64_decode(out, text, len, lua_toboolean(L, lua_upvalueindex(1)));
  if (n < 0)
    lua_pushnil(L);
  else
    lua_pushlstring(L, out, (size_t)n);
  free(out);
  return 1;
}

static void add(lua_State *L, const char *name, lua_CFunction fn, int flag) {
  lua_pushboolean(L, flag);
  lua_pushcclosure(L, fn, 1);
  lua_setfield(L, -2, name);
}

static void add_hmac(lua_State *L, const char *digest) {
  lua_pushfstring(L, "hmac_%s", digest);
  lua_pushstring(L, digest);
  lua_pushcclosure(L, l_hmac, 1);
  lua_settable(L, -3);
}

static void open_crypto(lua_State *L, cxb_generation *gen) {
  (void)gen;
  static const luaL_Reg fns[] = {{"sha256", l_sha256},
                                 {"hkdf_sha256", l_hkdf},
                                 {"equal", l_equal},
                                 {"random", l_random},
                                 {"uuid4", l_uuid4},
                                 {"uuid5", l_uuid5},
                                 {"uuid7", l_uuid7},
                                 {"hex", l_hex},
                                 {"rs256", l_rs256},
                                 {"seal", l_seal},
                                 {"unseal", l_unseal},
                                 {"password_hash", cxb_l_password_hash},
                                 {"password_verify", cxb_l_password_verify},
                                 {NULL, NULL}};
  lua_newtable(L);
  luaL_register(L, NULL, fns);
  add_hmac(L, "sha1");
  add_hmac(L, "sha256");
  add_hmac(L, "sha384");
  add_hmac(L, "sha512");
  add(L, "base64", l_base64, 0);
  add(L, "base64url", l_base64, 1);
  add(L, "unbase64", l_unbase64, 0);
  add(L, "unbase64url", l_unbase64, 1);
  lua_setfield(L, -2, "crypto");
}

const cxb_module cxb_crypto_module = {.name = "crypto", .open = open_crypto};
