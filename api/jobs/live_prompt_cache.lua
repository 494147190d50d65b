-- Prompts that providers keep are made in the morning and forgotten at night: a look a minute.
return {
  name = "live_prompt_cache", every_ms = 60000,
  run = function(app)
    return require("services.bots.prompt_cache_day").run(app)
  end,
}
