-- What keys have used of an endpoint at one activator, as `core.key_usage` has it: booked once,
-- however often it is tried. An activator's entries come in the order of their numbers.
--
-- KEYS  month  HASH  'until:ACTIVATOR' -> number; 'DD:figure:key' -> sum
-- ARGV  day (two digits), activator, number, seconds the month is kept, fields at most, key of the
--       others, then figure, key, amount ...

local month, day, by, number = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local most, others = tonumber(ARGV[5]), ARGV[6]

local booked = redis.call('HGET', month, 'until:' .. by)
if booked and tonumber(booked) >= tonumber(number) then return 0 end

for at = 7, #ARGV, 3 do
  local figure, key, amount = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if tonumber(amount) ~= 0 then
    local field = day .. ':' .. figure .. ':' .. key
    if redis.call('HEXISTS', month, field) == 0 and redis.call('HLEN', month) >= most then
      field = day .. ':' .. figure .. ':' .. others
    end
    redis.call('HINCRBYFLOAT', month, field, amount)
  end
end
redis.call('HSET', month, 'until:' .. by, number)
redis.call('EXPIRE', month, ARGV[4])
return 1
