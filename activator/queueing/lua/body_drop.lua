-- A body and its record leave. KEYS: body, record, index, sum, sum of the jobs. ARGV: member.
-- Returns the endpoint's bytes.
local freed = 0
if redis.call('ZREM', KEYS[3], ARGV[1]) == 1 then
  freed = size_of(ARGV[1])
end
redis.call('UNLINK', KEYS[1], KEYS[2])
local used = settle(KEYS[3], KEYS[4], freed, now_ms())
return used + tonumber(redis.call('GET', KEYS[5]) or '0')
