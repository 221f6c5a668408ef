-- What wrk sends: an API's clients, each with a token of its own, reading, searching and ordering.
-- wrk ... -s mirror.lua -- PAUSE_MS

local pause_ms, thread, count = 0, "", 0
local threads = 0

function setup(one)
  threads = threads + 1
  one:set("number", threads)
end

function init(arguments)
  pause_ms = tonumber(arguments[1] or "0")
  thread = tostring(number)
  math.randomseed(number)
end

function delay()
  return pause_ms
end

local agents = {
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
  "okhttp/4.12.0",
}
local sorts = { "-starts_at", "name", "price", "-created_at" }
local words = { "open", "day", "late", "show", "garden", "market", "choir", "dance", "night", "river" }

local function hex(seed, digits)
  local made = {}
  for position = 1, digits do
    seed = (seed * 1103515245 + 12345) % 2147483648
    made[position] = string.format("%x", math.floor(seed / 65536) % 16)
  end
  return table.concat(made)
end

function request()
  count = count + 1
  local client = math.random(5000)
  local headers = {
    ["Host"] = "api.example.com",
    ["User-Agent"] = agents[client % 3 + 1],
    ["Accept"] = "application/json",
    ["Accept-Encoding"] = "gzip, deflate, br",
    ["Accept-Language"] = "en-GB,en;q=0.9",
    ["Authorization"] = "Bearer tok_" .. hex(client, 32),
    ["Cookie"] = "theme=dark; session=" .. hex(client + 7, 32),
    ["X-Forwarded-For"] = "198.51.100." .. client % 250,
    ["X-Request-Id"] = string.format("%s-%09d", thread, count),
  }
  local kind = math.random(10)
  local event = math.random(20000)
  if kind <= 4 then
    return wrk.format("GET", "/v2/events/" .. event, headers)
  elseif kind <= 6 then
    local page = math.random(50)
    return wrk.format("GET", "/v2/events?sort=" .. sorts[client % 4 + 1] .. "&page=" .. page .. "&size=20", headers)
  elseif kind <= 8 then
    local sought = words[math.random(10)] .. "+" .. words[math.random(10)]
    return wrk.format("GET", "/v2/search?q=" .. sought .. "&from=" .. math.random(1000), headers)
  end
  headers["Content-Type"] = "application/json"
  local body = string.format(
    '{"event_id": %d, "seats": [%d, %d], "note": "%s %s", "customer": {"name": "Client %d", "email": "c%d@example.com"}, "price": %d.50}',
    event, math.random(300), math.random(300), words[math.random(10)], words[math.random(10)], client, client, math.random(90)
  )
  return wrk.format("POST", "/v2/events/" .. event .. "/orders", headers, body)
end
