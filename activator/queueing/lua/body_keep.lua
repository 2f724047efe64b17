-- A body that has been written becomes a record, or goes again.
-- KEYS: body, record, index, sum, sum of the jobs.
-- ARGV: member, ms until it lapses, bytes that the endpoint may have, fields of the record …
-- Returns {1, bytes} if it is kept, {0, bytes} if there is no room, {-1, bytes} without its body.
local member, ttl, room = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local size, now = size_of(member), now_ms()
local used = settle(KEYS[3], KEYS[4], 0, now)
local jobs = tonumber(redis.call('GET', KEYS[5]) or '0')

if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('STRLEN', KEYS[1]) ~= size then
  return {-1, used + jobs}
end
if used + jobs + size > room then
  redis.call('UNLINK', KEYS[1])
  return {0, used + jobs}
end

redis.call('HSET', KEYS[2], 'v', 1, 'kept', now, 'size', size, unpack(ARGV, 4))
redis.call('PEXPIRE', KEYS[2], ttl)
redis.call('ZADD', KEYS[3], now + ttl, member)
redis.call('INCRBY', KEYS[4], size)
for _, key in ipairs({KEYS[3], KEYS[4]}) do
  if redis.call('PTTL', key) < ttl then
    redis.call('PEXPIRE', key, ttl)
  end
end
return {1, used + jobs + size}
