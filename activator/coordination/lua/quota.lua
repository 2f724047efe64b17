-- One more of a day's quota, unless it is used up; an answer of -1 says so.
--
-- KEYS  day  STRING  how many were taken
-- ARGV  the most, seconds the day is kept

local taken = tonumber(redis.call('GET', KEYS[1]) or '0')
if taken >= tonumber(ARGV[1]) then return -1 end
taken = redis.call('INCR', KEYS[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return taken
