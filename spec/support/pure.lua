-- For unit specs of what needs no host: the Lua path, and the fake host of cxb.testing.
package.path = "lua/?.lua;lua/?/init.lua;" .. package.path

return require("cxb.testing.host")
