-- How much of an endpoint's bodies there is: an index by when each of them lapses (ms of Redis's
-- clock), its members `ID:SIZE`, and their sum.

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function size_of(member)
  return tonumber(string.match(member, ':(%d+)$'))
end

-- whatever has lapsed is counted no more; with nothing left the sum is exact again in any case
local function settle(index, sum, freed, now)
  local lapsed = redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, 500)
  for _, member in ipairs(lapsed) do
    redis.call('ZREM', index, member)
    freed = freed + size_of(member)
  end
  if redis.call('EXISTS', index) == 0 then
    redis.call('DEL', sum)
    return 0
  end
  if freed > 0 then
    return redis.call('DECRBY', sum, freed)
  end
  return tonumber(redis.call('GET', sum) or '0')
end
