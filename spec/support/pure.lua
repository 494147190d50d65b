-- For unit specs that run on plain luajit too: the Lua path, and the fake host of cxb.testing.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path

return require("cxb.testing.host")
