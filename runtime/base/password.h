/* Passwords: argon2id made and checked, bcrypt of migrated users checked. Slow on purpose (tens of
 * milliseconds, 19 MiB): never on a loop's thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define CXB_PASSWORD_HASH_LEN 128

/* The PHC string of a password with a fresh salt: argon2id, m=19456 KiB, t=2, p=1. CXB_ENOMEM. */
int cxb_password_hash(const char *text, size_t len, char out[CXB_PASSWORD_HASH_LEN]);
/* Whether `hash` ("$argon2id$…" or bcrypt's "$2a$", "$2b$", "$2y$") was made of this password.
 * false for what is neither, and for a password with a NUL against bcrypt. text[len] is NUL. */
bool cxb_password_verify(const char *text, size_t len, const char *hash);
