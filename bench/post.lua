-- wrk -s post.lua URL -- FILE: each request carries the JSON in FILE, and as many spaces as no request
-- of the last 255 had: chats differ in length, and so do the heads that say it.
local requests = {}
local turn = 0

function init(args)
  local file = assert(io.open(args[1], "rb"))
  local body = file:read("*a")
  file:close()
  wrk.headers["Content-Type"] = "application/json"
  for spaces = 0, 255 do
    requests[spaces] = wrk.format("POST", nil, nil, body .. string.rep(" ", spaces))
  end
end

function request()
  turn = (turn + 1) % 256
  return requests[turn]
end
