-- wrk -s varied.lua URL: no request is like another; each has a query and a trace of its own.
local before, after
local turn = 0

function init(args)
  before = "GET " .. wrk.path .. "?turn="
  after = " HTTP/1.1\r\nHost: " .. wrk.headers["Host"] .. "\r\ntraceparent: 00-%032x-%016x-01\r\n\r\n"
end

function request()
  turn = turn + 1
  return before .. turn .. string.format(after, turn, turn)
end
