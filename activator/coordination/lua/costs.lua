-- One entry of the book of costs, as `core.usage` has it: what lies before the moment until which the
-- month is booked is in it already, so an entry may be booked again, and by somebody else.
--
-- KEYS  month  HASH  'until' -> Unix time; 'DD:figure' -> sum
-- ARGV  day (two digits), began, ended, seconds the month is kept, then figure, amount ...

local month, day = KEYS[1], ARGV[1]
local booked = tonumber(redis.call('HGET', month, 'until') or '0')
local began, ended = tonumber(ARGV[2]), tonumber(ARGV[3])

if ended <= booked then return 0 end

local share = 1
if began < booked then share = (ended - booked) / (ended - began) end

for at = 5, #ARGV, 2 do
  local figure, amount = ARGV[at], ARGV[at + 1]
  if share < 1 then
    local part = tonumber(amount) * share
    if figure == 'cold_starts' then part = math.floor(part + 0.5) end
    amount = string.format('%.17g', part)
  end
  if tonumber(amount) ~= 0 then
    redis.call('HINCRBYFLOAT', month, day .. ':' .. figure, amount)
  end
end
redis.call('HSET', month, 'until', ARGV[3])
redis.call('EXPIRE', month, ARGV[4])
return 1
