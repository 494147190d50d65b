std = "luajit"
max_line_length = 100
codes = true
read_globals = { "cxb" }
exclude_files = { "build*", "node_modules", "**/node_modules", ".run", ".state", ".cache" }
-- self of a stub or a handler that has no use for it
self = false

files["lua/types"] = { globals = { "cxb" }, ignore = { "2..", "6.." } }
files["spec"] = { std = "+busted", max_line_length = 120 }
files["lua/cxb/cache/scripts"] = { read_globals = { "redis", "KEYS", "ARGV" } }
