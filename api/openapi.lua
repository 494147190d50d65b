-- Prints the OpenAPI document of the API's routes: `cxbrt api/openapi.lua`. It opens nothing.
local pipeline = require("services.web.pipeline")

local routes = pipeline.routes()
pipeline.server({}, routes)
cxb.process.print(require("services.web.openapi").document(routes))
return 0
